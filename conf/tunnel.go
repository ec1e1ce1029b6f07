package conf

import (
	"errors"
	"net/netip"
	"slices"
	"strings"

	"turnout/classifier"
	"turnout/conf/wgquick"
)

// Bounds of an inner packet: no less than every IPv4 host must accept
// (RFC 791), no more than a packet can be.
const (
	minMTU = 576
	maxMTU = 65535
)

// A draft is what the files say, checked line by line, before the policy is
// built from it.
type draft struct {
	cfg      *Config
	raw      []rawTunnel
	tunnels  []policyTunnel // beside cfg.Tunnels
	sets     sets
	rules    []classifier.Entry // whose exits stand in vias
	vias     []setting
	groups   []rawGroup
	forwards []rawForward
	accepts  []*rawAccept // of every [[tunnel]]
	def      setting      // default; not given: implicit
}

// add takes the tunnels of one file or one [[tunnel]].
func (d *draft) add(list []rawTunnel) {
	d.raw = append(d.raw, list...)
	if len(list) > 0 {
		d.accepts = append(d.accepts, list[0].accept...)
	}
}

// policyTunnel is what a tunnel contributes to the policy.
type policyTunnel struct {
	routes  []policyLine
	allowed []policyLine
	routed  bool // allowed takes part
	broken  bool // it has errors of its own; nothing more can be said about it
}

// policyLine is a route with the line that it came from.
type policyLine struct {
	route
	setting
}

// tunnels checks every tunnel and the names of all of them.
func (l *loader) tunnels(d *draft) {
	if len(d.raw) > maxTunnels {
		l.failf(classifier.Pos{File: l.main}, "%d tunnels; up to %d are allowed", len(d.raw), maxTunnels)
		d.accepts = nil
		return
	}
	for i := range d.raw {
		t, p := l.tunnel(&d.raw[i])
		d.cfg.Tunnels = append(d.cfg.Tunnels, t)
		d.tunnels = append(d.tunnels, p)
	}
}

func (l *loader) tunnel(raw *rawTunnel) (Tunnel, policyTunnel) {
	t := Tunnel{Name: raw.name.text, Pos: raw.pos, NAT: raw.nat, FullCone: raw.fullCone, Via: -1}
	before := l.failures()
	if err := checkName(t.Name); err != nil && raw.name.given() {
		l.failf(raw.name.pos, "%s = %s cannot name a tunnel; %v", raw.name.key, show(t.Name), err)
	}
	t.PrivateKey = l.privateKey(raw.iface, raw.pos)
	l.iface(&t, raw.iface)
	p := policyTunnel{routed: raw.routeAllowed}
	peers := raw.peers
	if !t.PrivateKey.IsZero() {
		peers = l.withoutSelf(t.PrivateKey.Public(), peers)
	}
	for _, s := range peers {
		t.Peers = append(t.Peers, l.peer(&p, s))
	}
	l.samePeers(&t, peers)
	allRead := len(t.Addresses) == len(raw.iface.values["Address"])
	if t.NAT == Masquerade && allRead && !t.hasIPv4() {
		l.failf(raw.pos, "the tunnel has no IPv4 Address; nat = \"masquerade\" needs one, only nat = \"none\" does without")
	}
	p.broken = l.failures() > before
	return t, p
}

// hasIPv4 reports whether the tunnel has an IPv4 address of its own.
func (t *Tunnel) hasIPv4() bool {
	return slices.ContainsFunc(t.Addresses, func(p netip.Prefix) bool { return p.Addr().Is4() })
}

// iface reads the keys of [Interface].
func (l *loader) iface(t *Tunnel, s section) {
	for _, a := range s.values["Address"] {
		p, err := parsePrefix(a.text)
		if err == nil && (p.Addr().IsUnspecified() || p.Addr().IsMulticast()) {
			err = errors.New("the tunnel's own address is wanted")
		}
		if err != nil {
			l.failf(a.pos, "%s = %s; %v", a.key, show(a.text), err)
			continue
		}
		t.Addresses = append(t.Addresses, p)
	}
	for _, d := range s.values["DNS"] {
		if addr, err := netip.ParseAddr(d.text); err == nil {
			t.DNS = append(t.DNS, addr)
		} else if hostName.MatchString(d.text) {
			t.DNSSearch = append(t.DNSSearch, d.text)
		} else {
			l.failf(d.pos, "%s = %s; addresses and search domains are allowed", d.key, show(d.text))
		}
	}
	t.ListenPort = uint16(l.count(s.one("ListenPort"), 0, 65535))
	t.MTU = int(l.count(s.one("MTU"), minMTU, maxMTU))
	l.fwMark(s.one("FwMark"))
	if save := s.one("SaveConfig"); save.given() {
		switch save.text {
		case "true":
			l.warnf(save.pos, "%s = true is ignored; Turnout never writes to its configuration", save.key)
		case "false":
		default:
			l.failf(save.pos, "%s = %s; true or false is wanted", save.key, show(save.text))
		}
	}
	for _, k := range wgquick.Interface {
		for _, h := range s.values[k.Name] {
			if strings.HasSuffix(k.Name, "Up") || strings.HasSuffix(k.Name, "Down") {
				t.ForeignHooks = append(t.ForeignHooks, k.Name+" = "+hideKeys(h.text))
				l.warnf(h.pos, "%s is listed, not run: %s; commands for Turnout stand in [hooks]", h.key, hideKeys(h.text))
			}
		}
	}
}

// count reads a whole number from lo to hi; 0 when s is not given.
func (l *loader) count(s setting, lo, hi uint64) uint64 {
	if !s.given() {
		return 0
	}
	n, err := parseNumber(s.text, lo, hi)
	if err != nil {
		l.failf(s.pos, "%s = %s; %v", s.key, show(s.text), err)
	}
	return n
}

// fwMark understands the key and says that it is of no use here.
func (l *loader) fwMark(s setting) {
	if !s.given() {
		return
	}
	n, err := parseMark(s.text)
	switch {
	case err != nil:
		l.failf(s.pos, "%s = %s; off or a 32-bit number, 0x… or decimal, is allowed", s.key, show(s.text))
	case n != 0:
		l.warnf(s.pos, "%s = %s is ignored; Turnout marks its sockets itself, see [host] mark", s.key, show(s.text))
	}
}
