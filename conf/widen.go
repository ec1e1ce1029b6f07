package conf

import (
	"net/netip"
	"slices"

	"turnout/classifier"
)

// WireGuard drops in silence what a peer's AllowedIPs do not cover. So a tunnel
// with one peer that policy names is widened to everything of the families that
// policy may send there. A tunnel with several peers never is, since its
// AllowedIPs tell the peers apart: what they do not cover is an error where the
// policy says so in as many words, and is rejected otherwise.

// widen sets Widened4 and Widened6, and objects to what no device can carry.
func (l *loader) widen(d *draft, p *classifier.Policy) {
	warned := map[classifier.ExitID]family{}
	for i := range p.Entries {
		e := &p.Entries[i]
		if e.By == classifier.ByAllowedIPs {
			continue
		}
		for _, id := range tunnelsBehind(p, e.Exit) {
			n := id - classifier.FirstNamed
			switch t := &d.cfg.Tunnels[n]; {
			case d.tunnels[n].broken:
			case len(t.Peers) == 1:
				l.widenOne(t, e, id, warned)
			default:
				l.covered(t, e)
			}
		}
	}
}

// setCovers tells the exits what they can carry. A group carries what its first
// member does, which is the one to carry.
func setCovers(c *Config, p *classifier.Policy) {
	for i := range c.Tunnels {
		p.Exits[tunnelExit(i)].Covers = c.Tunnels[i].covers()
	}
	for i := range p.Exits {
		if p.Exits[i].Kind == classifier.KindGroup {
			p.Exits[i].Covers = p.Exits[firstTunnel(p, classifier.ExitID(i))].Covers
		}
	}
}

// firstTunnel follows first members down to a tunnel.
func firstTunnel(p *classifier.Policy, id classifier.ExitID) classifier.ExitID {
	for p.Exits[id].Kind == classifier.KindGroup {
		id = p.Exits[id].Members[0]
	}
	return id
}

// tunnelsBehind lists the tunnels that an exit may turn out to be.
func tunnelsBehind(p *classifier.Policy, id classifier.ExitID) (out []classifier.ExitID) {
	seen := map[classifier.ExitID]bool{}
	var visit func(classifier.ExitID)
	visit = func(id classifier.ExitID) {
		if seen[id] {
			return
		}
		seen[id] = true
		if p.Exits[id].Kind == classifier.KindTunnel {
			out = append(out, id)
		}
		for _, m := range p.Exits[id].Members {
			visit(m)
		}
	}
	visit(id)
	return out
}

// wants gives the families of the packets that an entry may send to t. Where
// the entry does not say, it is the families that t has addresses of.
func wants(t *Tunnel, e *classifier.Entry) family {
	f := families(e.To) & families(e.From)
	if f != both || len(e.To)+len(e.From) > 0 {
		return f
	}
	if own := families(t.Addresses); own != 0 {
		return own
	}
	return both
}

// widenOne widens a tunnel, and says so once per family where it changes what
// the tunnel carries.
func (l *loader) widenOne(t *Tunnel, e *classifier.Entry, id classifier.ExitID, warned map[classifier.ExitID]family) {
	f := wants(t, e)
	for _, one := range []family{v4, v6} {
		if f&one == 0 || covers(t.allowed(), everything(one)) {
			continue
		}
		t.Widened4 = t.Widened4 || one == v4
		t.Widened6 = t.Widened6 || one == v6
		if warned[id]&one != 0 || allCovered(t.allowed(), targets(e, one)) {
			continue
		}
		warned[id] |= one
		l.warnf(e.Pos, "tunnel %s is widened to %s: %s may send it what its AllowedIPs do not cover", t.Name, everything(one), entryName(e))
	}
}

// covered objects when policy sends a tunnel of several peers what none of them
// takes.
func (l *loader) covered(t *Tunnel, e *classifier.Entry) {
	allowed := t.allowed()
	for _, to := range e.To {
		if !covers(allowed, to) {
			l.failf(e.Pos, "%s sends %s to tunnel %s, whose peers allow only %s; name what they cover", entryName(e), to, t.Name, prefixList(allowed))
			return
		}
	}
	if f := wants(t, e); len(e.To) == 0 && !(f&v4 == 0 || covers(allowed, everything(v4))) {
		l.warnf(e.Pos, "%s sends everything to tunnel %s, whose peers allow only %s; the rest is rejected", entryName(e), t.Name, prefixList(allowed))
	}
}

// targets are the destinations of one family that an entry matches.
func targets(e *classifier.Entry, f family) (out []netip.Prefix) {
	for _, p := range e.To {
		if familyOf(p) == f {
			out = append(out, p)
		}
	}
	if len(e.To) == 0 {
		out = append(out, everything(f))
	}
	return out
}

// entryName names an entry in a message.
func entryName(e *classifier.Entry) string {
	switch {
	case e.By == classifier.ByRule && e.Name != "":
		return "rule " + show(e.Name)
	case e.By == classifier.ByRule:
		return "this rule"
	case e.By == classifier.ByRoute:
		return "this Route"
	}
	return "the default"
}

// allowed lists the AllowedIPs of all peers.
func (t *Tunnel) allowed() (out []netip.Prefix) {
	for i := range t.Peers {
		out = append(out, t.Peers[i].AllowedIPs...)
	}
	return out
}

// covers lists the destinations that the tunnel's device carries; nil when it
// carries all of both families.
func (t *Tunnel) covers() []netip.Prefix {
	out := append([]netip.Prefix{}, t.allowed()...)
	if t.Widened4 {
		out = append(out, everything(v4))
	}
	if t.Widened6 {
		out = append(out, everything(v6))
	}
	if slices.Contains(out, everything(v4)) && slices.Contains(out, everything(v6)) {
		return nil
	}
	slices.SortFunc(out, netip.Prefix.Compare)
	return slices.Compact(out)
}

func allCovered(list, targets []netip.Prefix) bool {
	for _, p := range targets {
		if !covers(list, p) {
			return false
		}
	}
	return true
}

// covers reports whether the union of list holds all of target. It halves the
// target as long as something of the list lies inside it.
func covers(list []netip.Prefix, target netip.Prefix) bool {
	var inside []netip.Prefix
	for _, p := range list {
		if !p.Overlaps(target) {
			continue
		}
		if p.Bits() <= target.Bits() {
			return true
		}
		inside = append(inside, p)
	}
	if len(inside) < 2 {
		return false
	}
	low, high := halves(target)
	return covers(inside, low) && covers(inside, high)
}

// halves cuts a prefix, which is longer than nothing, in two.
func halves(p netip.Prefix) (low, high netip.Prefix) {
	bits := p.Bits() + 1
	low = netip.PrefixFrom(p.Addr(), bits)
	b := p.Addr().AsSlice()
	b[(bits-1)/8] |= 0x80 >> ((bits - 1) % 8)
	addr, _ := netip.AddrFromSlice(b)
	return low, netip.PrefixFrom(addr, bits)
}
