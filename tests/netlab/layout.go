package netlab

import (
	"errors"
	"fmt"
	"net/netip"
)

// GatewayAddr is the gateway's address on the LAN.
func (l *Lab) GatewayAddr() netip.Addr {
	if l.Options.Layout == Stick {
		return lanAddr(2) // .1 is the home router
	}
	return lanAddr(1)
}

// UplinkAddr is the gateway's address towards the router.
func (l *Lab) UplinkAddr() netip.Addr {
	if l.Options.Layout == Stick {
		return l.GatewayAddr()
	}
	return netip.MustParseAddr("203.0.113.2")
}

// RouterAddr is the router's address towards the gateway.
func (l *Lab) RouterAddr() netip.Addr {
	if l.Options.Layout == Stick {
		return lanAddr(1)
	}
	return netip.MustParseAddr("203.0.113.1")
}

// LANInterface is the gateway's interface to the LAN.
func (l *Lab) LANInterface() string {
	if l.Options.Layout == Stick {
		return UplinkInterface
	}
	return "eth1"
}

// UplinkInterface is the gateway's interface to the router, in both layouts.
const UplinkInterface = "eth0"

// wireLAN joins hosts, gateway and, on a stick, the router by a switch.
func (l *Lab) wireLAN() error {
	var ports []string
	plug := func(n *Node, dev string) error {
		port := fmt.Sprintf("port%d", len(ports))
		ports = append(ports, port)
		if err := Cable(n, dev, l.switchboard, port); err != nil || l.Options.LANMTU == 0 {
			return err
		}
		return errors.Join(n.MTU(dev, l.Options.LANMTU), l.switchboard.MTU(port, l.Options.LANMTU))
	}
	var errs []error
	for _, h := range l.Hosts {
		errs = append(errs, plug(h.Node, "eth0"))
	}
	errs = append(errs, plug(l.Gateway.Node, l.LANInterface()))
	if l.Options.Layout == Stick {
		errs = append(errs, plug(l.Router.Node, "up0"))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := l.switchboard.Bridge("br0", ports...); err != nil {
		return err
	}
	return l.addressLAN()
}

func (l *Lab) addressLAN() error {
	lan := netip.PrefixFrom(l.GatewayAddr(), LAN.Bits())
	if err := l.Gateway.Address(l.LANInterface(), lan); err != nil {
		return err
	}
	if l.Options.IPv6 {
		if err := l.Gateway.Address(l.LANInterface(), at(LAN6, 1)); err != nil {
			return err
		}
	}
	for i, h := range l.Hosts {
		if err := h.Address("eth0", netip.PrefixFrom(h.Addr, LAN.Bits())); err != nil {
			return err
		}
		if err := h.Route(defaultRoute, l.GatewayAddr(), "eth0"); err != nil {
			return err
		}
		if l.Options.IPv6 {
			if err := h.Address("eth0", at(LAN6, byte(0x10+i))); err != nil {
				return err
			}
			if err := h.Route(defaultRoute6, at(LAN6, 1).Addr(), "eth0"); err != nil {
				return err
			}
		}
	}
	return nil
}

// wireUplink joins gateway and router, and gives the gateway its way out.
func (l *Lab) wireUplink() error {
	gw, router := l.Gateway.Node, l.Router.Node
	prefix := LAN
	if l.Options.Layout == TwoLegs {
		prefix = Uplink
		if err := Cable(gw, UplinkInterface, router, "up0"); err != nil {
			return err
		}
		if err := gw.Address(UplinkInterface, netip.PrefixFrom(l.UplinkAddr(), prefix.Bits())); err != nil {
			return err
		}
	}
	if err := router.Address("up0", netip.PrefixFrom(l.RouterAddr(), prefix.Bits())); err != nil {
		return err
	}
	if err := gw.Route(defaultRoute, l.RouterAddr(), UplinkInterface); err != nil {
		return err
	}
	if !l.Options.IPv6 {
		return nil
	}
	return errors.Join(
		gw.Address(UplinkInterface, at(Uplink6, 2)),
		router.Address("up0", at(Uplink6, 1)),
		gw.Route(defaultRoute6, at(Uplink6, 1).Addr(), UplinkInterface),
		router.Route(LAN6, at(Uplink6, 2).Addr(), "up0"),
		router.Address("lo", netip.PrefixFrom(Internet6, 128)),
	)
}

var (
	defaultRoute  = netip.MustParsePrefix("0.0.0.0/0")
	defaultRoute6 = netip.MustParsePrefix("::/0")
)

// at returns the address of a /64 that ends in last.
func at(p netip.Prefix, last byte) netip.Prefix {
	b := p.Addr().As16()
	b[15] = last
	return netip.PrefixFrom(netip.AddrFrom16(b), p.Bits())
}

// host returns an address as a prefix of its own.
func host(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }
