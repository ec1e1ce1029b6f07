package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"turnout/classifier/packet"
	"turnout/conf"
	"turnout/dataplane"
	"turnout/dataplane/host"
)

// A lanInterface is a captured interface as the host has it.
type lanInterface struct {
	name     string
	mtu      int
	networks []dataplane.Network // IPv4, which is routed
	ipv6     []netip.Prefix      // refused, but not from one LAN host to another
}

func (l lanInterface) prefixes() []netip.Prefix {
	var all []netip.Prefix
	for _, n := range l.networks {
		all = append(all, n.Prefix)
	}
	return all
}

// surroundings are what the host has around the router. They change while it
// runs: an uplink fails over, a lease brings another prefix.
type surroundings struct {
	lan     []lanInterface
	uplinks []string
}

// lookAround reads them from the host.
func lookAround(cfg *conf.Config) (surroundings, error) {
	lan, err := findLAN(cfg)
	if err != nil {
		return surroundings{}, err
	}
	uplinks, err := findUplinks(cfg)
	return surroundings{lan, uplinks}, err
}

// same reports whether nothing has changed for the router.
func (a surroundings) same(b surroundings) bool {
	return slices.Equal(a.uplinks, b.uplinks) && slices.EqualFunc(a.lan, b.lan, lanInterface.same)
}

// lanMTU is the TUN device's MTU: the largest of the LAN's, so that direct
// traffic is not shrunk.
func (a surroundings) lanMTU() int {
	mtu := 0
	for _, l := range a.lan {
		mtu = max(mtu, l.mtu)
	}
	return mtu
}

// gateway reports whether a is the gateway's own address on the LAN.
func (a surroundings) gateway(addr netip.Addr) bool {
	for _, l := range a.lan {
		for i := range l.networks {
			if l.networks[i].Gateway.Netip() == addr {
				return true
			}
		}
	}
	return false
}

// prefixes are those of all LAN interfaces, IPv4.
func (a surroundings) prefixes() []netip.Prefix {
	var all []netip.Prefix
	for _, l := range a.lan {
		all = append(all, l.prefixes()...)
	}
	return all
}

func (l lanInterface) same(m lanInterface) bool {
	return l.name == m.name && l.mtu == m.mtu &&
		slices.Equal(l.networks, m.networks) && slices.Equal(l.ipv6, m.ipv6)
}

// findLAN reads the LAN's interfaces from the host. Their own IPv4 prefixes are
// the LAN unless the configuration lists others.
func findLAN(cfg *conf.Config) ([]lanInterface, error) {
	if len(cfg.LAN.Interfaces) == 0 {
		return nil, fmt.Errorf("%s names no LAN: add [lan] interfaces = [\"eth1\"], or --lan eth1", cfg.File)
	}
	var lan []lanInterface
	for _, name := range cfg.LAN.Interfaces {
		l, err := readLAN(name)
		if err != nil {
			return nil, fmt.Errorf("reading the LAN interface %q: %w", name, err)
		}
		lan = append(lan, l)
	}
	if len(cfg.LAN.Prefixes) > 0 {
		list(lan, cfg.LAN.Prefixes)
	}
	return lan, nil
}

// readLAN reads one interface with the prefixes that it has itself.
func readLAN(name string) (lanInterface, error) {
	l := lanInterface{name: name}
	var err error
	if l.mtu, err = host.MTUOf(name); err != nil {
		return l, err
	}
	own, err := host.Addresses(name)
	if err != nil {
		return l, err
	}
	for _, p := range own {
		if p.Addr().Is4() {
			l.networks = append(l.networks, dataplane.NewNetwork(p, p.Addr(), l.mtu))
		} else {
			l.ipv6 = append(l.ipv6, p.Masked())
		}
	}
	if len(l.networks) == 0 {
		return l, errors.New("it has no IPv4 address: give it the LAN's gateway address first")
	}
	return l, nil
}

// list puts the listed prefixes in the place of the interfaces' own. Each goes
// to the interface that has an address in it; one that none has is behind
// another router of the first interface, which knows the gateway by its first
// address.
func list(lan []lanInterface, prefixes []netip.Prefix) {
	own := make([][]dataplane.Network, len(lan))
	for i := range lan {
		own[i], lan[i].networks = lan[i].networks, nil
	}
	for _, p := range prefixes {
		if !p.Addr().Is4() {
			continue
		}
		at, gateway := 0, own[0][0].Gateway
		for i := range own {
			for _, n := range own[i] {
				if p.Contains(n.Gateway.Netip()) {
					at, gateway = i, n.Gateway
				}
			}
		}
		lan[at].networks = append(lan[at].networks, dataplane.NewNetwork(p, gateway.Netip(), lan[at].mtu))
	}
}

// findUplinks returns the interfaces that lead out of the host.
func findUplinks(cfg *conf.Config) ([]string, error) {
	if len(cfg.Uplink.Interfaces) > 0 {
		return cfg.Uplink.Interfaces, nil
	}
	uplinks, err := host.DefaultUplinks()
	if err != nil {
		return nil, fmt.Errorf("looking for the uplink: %w", err)
	}
	return uplinks, nil
}

const (
	// outerOverhead is what WireGuard adds around an inner packet over IPv6:
	// 40 IP, 8 UDP, 16 header and 16 tag. Over IPv4 it is 20 less; the larger
	// one keeps a roaming endpoint working, as in wg-quick.
	outerOverhead = 80
	minMTU        = 1280 // RFC 8200, 5: the least that any IPv6 path takes
)

// tunnelMTU is the largest inner packet of a tunnel: as configured, or what fits
// into the tunnel that carries it, or into the uplink's packets.
func tunnelMTU(cfg *conf.Config, i int, uplinks []string) int {
	c := &cfg.Tunnels[i]
	switch {
	case c.MTU > 0:
		return c.MTU
	case c.Via >= 0:
		return dataplane.ConduitMTU(tunnelMTU(cfg, c.Via, uplinks))
	}
	outer := 0
	for _, name := range uplinks {
		if mtu, err := host.MTUOf(name); err == nil && (outer == 0 || mtu < outer) {
			outer = mtu
		}
	}
	if outer == 0 {
		outer = 1500
	}
	return max(outer-outerOverhead, minMTU)
}

// ownAddresses returns the tunnel's first address of each family, the source of
// what it masquerades; zero when it has none.
func ownAddresses(c *conf.Tunnel) (own4, own6 packet.Addr) {
	for _, p := range c.Addresses {
		a := packet.AddrFrom(p.Addr())
		switch {
		case a.Is4() && own4 == packet.Addr{}:
			own4 = a
		case !a.Is4() && own6 == packet.Addr{}:
			own6 = a
		}
	}
	return own4, own6
}
