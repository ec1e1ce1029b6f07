package conf

import (
	"net/netip"
	"slices"
	"strings"

	"turnout/classifier"
)

// A tunnel with via has its own WireGuard packets carried by another tunnel,
// which may itself have via, and so on to the uplink.

// hopBytes is what each tunnel of a chain takes from the MTU of the one that
// carries it: an IPv4 header, a UDP header and WireGuard's 32 bytes.
const hopBytes = 20 + 8 + 32

// chains looks up via, and objects to chains that cannot carry anything.
func (l *loader) chains(x *exits, d *draft) {
	for i := range d.cfg.Tunnels {
		s := d.raw[i].via
		if !s.given() {
			continue
		}
		if n, ok := l.tunnelNamed(x, s); ok {
			d.cfg.Tunnels[i].Via = n
		}
	}
	l.chainCycles(d)
	for i := range d.cfg.Tunnels {
		if d.cfg.Tunnels[i].Via >= 0 && !d.tunnels[i].broken {
			l.hop(d, i)
			l.chainMTU(d, i)
		}
	}
}

// chainCycles refuses chains that never reach the uplink, each circle once, and
// cuts them.
func (l *loader) chainCycles(d *draft) {
	tunnels := d.cfg.Tunnels
	done := make([]bool, len(tunnels))
	for i := range tunnels {
		var path []int
		for n := i; n >= 0 && !done[n]; n = tunnels[n].Via {
			if start := slices.Index(path, n); start >= 0 {
				l.circle(d, path[start:])
				tunnels[path[len(path)-1]].Via = -1
				break
			}
			path = append(path, n)
		}
		for _, n := range path {
			done[n] = true
		}
	}
}

func (l *loader) circle(d *draft, path []int) {
	s := d.raw[path[0]].via
	if len(path) == 1 {
		l.failf(s.pos, "via = %s is the tunnel itself; another one is wanted, or the uplink when via is left out", show(s.text))
		return
	}
	var names []string
	for _, n := range append(path, path[0]) {
		names = append(names, d.cfg.Tunnels[n].Name)
	}
	l.failf(s.pos, "via = %s leads in a circle: %s; a chain of tunnels ends at the uplink", show(s.text), strings.Join(names, " -> "))
}

// hop checks one tunnel against the one that carries it.
func (l *loader) hop(d *draft, i int) {
	t, s := &d.cfg.Tunnels[i], d.raw[i].via
	if by := &d.cfg.Tunnels[t.Via]; !d.tunnels[t.Via].broken && !by.hasIPv4() {
		l.failf(s.pos, "via = %s has no IPv4 Address; the tunnel that carries another one sends from it", show(s.text))
	}
	for j := range t.Peers {
		p := &t.Peers[j]
		addr, err := netip.ParseAddr(p.Endpoint.Host)
		switch {
		case p.Endpoint.IsZero():
			l.failf(s.pos, "via = %s, but the peer at %s has no Endpoint; who calls us comes by the uplink, through no other tunnel", show(s.text), p.Pos)
		case err == nil && !addr.Is4():
			l.failf(s.pos, "via = %s, but the Endpoint %s is IPv6, which tunnels do not carry yet; an IPv4 address or a name is wanted", show(s.text), p.Endpoint)
		}
	}
}

// chainMTU compares a tunnel with the next explicit MTU along its chain.
func (l *loader) chainMTU(d *draft, i int) {
	t, via, mtu := &d.cfg.Tunnels[i], d.raw[i].via, d.raw[i].iface.one("MTU")
	room := 0
	for n := t.Via; n >= 0; n = d.cfg.Tunnels[n].Via {
		room -= hopBytes
		by := &d.cfg.Tunnels[n]
		if by.MTU == 0 {
			continue
		}
		room += by.MTU
		switch {
		case room < minMTU:
			l.failf(via.pos, "via = %s leaves packets of %d bytes: tunnel %s has an MTU of %d, and each tunnel on it takes %d; at least %d is wanted",
				show(via.text), room, by.Name, by.MTU, hopBytes, minMTU)
		case t.MTU > room:
			l.failf(mtu.pos, "%s = %s does not fit: tunnel %s has an MTU of %d, and each tunnel on it takes %d; up to %d is allowed",
				mtu.key, show(mtu.text), by.Name, by.MTU, hopBytes, room)
		}
		return
	}
}

// chains widens the tunnels that carry others to the endpoints there.
func (w *widening) chains() {
	for i := range w.cfg.Tunnels {
		t := &w.cfg.Tunnels[i]
		if t.Via < 0 || w.draft.tunnels[i].broken {
			continue
		}
		for j := range t.Peers {
			w.endpoint(t, t.Peers[j].Endpoint, w.draft.raw[i].via.pos)
		}
	}
}

// endpoint settles that t's packets for e go by the tunnel that carries t.
// Where a name will lead nobody knows.
func (w *widening) endpoint(t *Tunnel, e Endpoint, at classifier.Pos) {
	to := everything(v4)
	addr, err := netip.ParseAddr(e.Host)
	if err == nil {
		to = netip.PrefixFrom(addr, addr.BitLen())
	}
	id := tunnelExit(t.Via)
	by := &w.cfg.Tunnels[t.Via]
	switch {
	case e.IsZero() || !to.Addr().Is4() || w.of(id).holds(to):
	case err != nil && len(by.Peers) > 1:
		w.warnf(at, "tunnel %s goes by tunnel %s, whose peers allow only %s; it works as long as %s resolves to one of these", t.Name, by.Name, prefixList(by.allowed()), show(e.Host))
	default:
		w.send(id, &classifier.Entry{Pos: at, To: []netip.Prefix{to}}, func() string { return "tunnel " + t.Name })
	}
}
