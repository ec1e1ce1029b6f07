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
	w := widening{l, reach{d.cfg, p.Sets, map[classifier.ExitID]coverage{}, map[reachKey]netip.Prefix{}}, d, map[classifier.ExitID]family{}}
	for i := range p.Entries {
		e := &p.Entries[i]
		if e.By == classifier.ByAllowedIPs {
			continue
		}
		for _, id := range tunnelsBehind(p, e.Exit) {
			w.send(id, e, func() string { return entryName(e) })
		}
	}
	w.forwards()
	w.chains()
}

// A widening is the state of widen.
type widening struct {
	*loader
	reach
	draft  *draft
	warned map[classifier.ExitID]family // what a tunnel was said to be widened to
}

// send settles that e sends packets to a tunnel. sender names e in a message; few
// entries need one.
func (w *widening) send(id classifier.ExitID, e *classifier.Entry, sender func() string) {
	n := id - classifier.FirstNamed
	switch t := &w.cfg.Tunnels[n]; {
	case w.draft.tunnels[n].broken:
	case len(t.Peers) == 1:
		w.one(t, e, sender, id)
	default:
		w.covered(t, e, sender, id)
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
func (w *widening) wants(t *Tunnel, e *classifier.Entry) family {
	f := w.draft.sets.families(e.To, e.ToSets) & w.draft.sets.families(e.From, e.FromSets)
	if f != both || len(e.To)+len(e.ToSets)+len(e.From)+len(e.FromSets) > 0 {
		return f
	}
	if own := families(t.Addresses); own != 0 {
		return own
	}
	return both
}

// one widens a tunnel, and says so once per family where it changes what the
// tunnel carries.
func (w *widening) one(t *Tunnel, e *classifier.Entry, sender func() string, id classifier.ExitID) {
	f := w.wants(t, e)
	for _, one := range []family{v4, v6} {
		if f&one == 0 || w.of(id).holds(everything(one)) {
			continue
		}
		t.Widened4 = t.Widened4 || one == v4
		t.Widened6 = t.Widened6 || one == v6
		if w.warned[id]&one != 0 || w.inside(id, e, one) {
			continue
		}
		w.warned[id] |= one
		w.warnf(e.Pos, "tunnel %s is widened to %s: %s may send it what its AllowedIPs do not cover", t.Name, everything(one), sender())
	}
}

// covered objects when policy sends a tunnel of several peers what none of them
// takes. Where sets are excluded it stays silent: the packets will tell.
func (w *widening) covered(t *Tunnel, e *classifier.Entry, sender func() string, id classifier.ExitID) {
	if len(e.NotToSets) > 0 {
		return
	}
	c := w.of(id)
	if len(e.NotTo) > 0 {
		c = newCoverage(t.allowed(), e.NotTo)
	}
	for _, to := range e.To {
		if !c.holds(to) {
			w.failf(e.Pos, "%s sends %s to tunnel %s, whose peers allow only %s; name what they cover", sender(), to, t.Name, prefixList(t.allowed()))
			return
		}
	}
	for _, s := range e.ToSets {
		if p := w.beyond(id, s, both); p.IsValid() && len(e.NotTo) == 0 {
			w.failf(e.Pos, "%s sends %s of set @%s to tunnel %s, whose peers allow only %s; name what they cover",
				sender(), p, w.sets[s].Name, t.Name, prefixList(t.allowed()))
			return
		}
	}
	all := len(e.To)+len(e.ToSets) == 0
	if all && w.wants(t, e)&v4 != 0 && !c.holds(everything(v4)) {
		w.warnf(e.Pos, "%s sends everything to tunnel %s, whose peers allow only %s; the rest is rejected", sender(), t.Name, prefixList(t.allowed()))
	}
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
