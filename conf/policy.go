package conf

import (
	"net/netip"

	"turnout/classifier"
)

// finish looks names up and builds the policy from the draft.
func (l *loader) finish(d *draft) {
	l.tunnels(d)
	x := l.exits(d)
	l.cycles(x, d.groups)
	p := &classifier.Policy{Sets: d.sets.list, Entries: d.rules}
	for i := range d.rules {
		d.rules[i].Exit = l.exit(x, d.vias[i])
	}
	for i := range d.tunnels {
		p.Entries = append(p.Entries, d.tunnels[i].entries(tunnelExit(i))...)
	}
	p.Entries = append(p.Entries, l.defaults(x, d)...)
	p.Exits = x.list
	l.chains(x, d)
	l.placeForwards(x, d)
	l.placeAccepts(d)
	l.widen(d, p)
	l.sharedPorts(d.cfg)
	if len(l.errs) > 0 {
		return // a policy with holes is no policy
	}
	setCovers(d.cfg, p)
	l.warn(d, p)
	p.Sort()
	d.cfg.Policy = p
}

// tunnelExit is the exit of the i-th tunnel.
func tunnelExit(i int) classifier.ExitID { return classifier.FirstNamed + classifier.ExitID(i) }

// exit looks an exit up; Reject stands in for one that is unknown.
func (l *loader) exit(x *exits, s setting) classifier.ExitID {
	id, ok := x.ids[s.text]
	if !ok {
		if s.text != "" {
			l.failf(s.pos, "%s = %s is no exit; there are %s", s.key, show(s.text), x.names(classifier.Direct))
		}
		return classifier.Reject
	}
	return id
}

// entries are a tunnel's Route lines and the AllowedIPs longer than /0.
func (t *policyTunnel) entries(id classifier.ExitID) (out []classifier.Entry) {
	for _, r := range t.routes {
		out = append(out, r.entry(classifier.ByRoute, id))
	}
	for _, a := range t.allowed {
		if t.routed && a.to.Bits() > 0 {
			out = append(out, a.entry(classifier.ByAllowedIPs, id))
		}
	}
	return out
}

func (p policyLine) entry(by classifier.By, id classifier.ExitID) classifier.Entry {
	return classifier.Entry{
		By: by, Exit: id, Text: p.line, Pos: p.pos,
		To: []netip.Prefix{p.to}, Protos: p.protos, Ports: p.ports,
	}
}

// defaults is the default as written; without one the first tunnel that allows
// everything of a family takes that family, with its AllowedIPs as the line.
func (l *loader) defaults(x *exits, d *draft) (out []classifier.Entry) {
	if d.def.given() {
		if d.def.text == "" {
			l.failf(d.def.pos, "default is empty; a tunnel, a group, direct, drop or reject is wanted")
		}
		return []classifier.Entry{{By: classifier.ByDefault, Exit: l.exit(x, d.def), Text: d.def.line, Pos: d.def.pos}}
	}
	for _, f := range []family{v4, v6} {
		if a, i, ok := d.allowsAll(f); ok {
			out = append(out, a.entry(classifier.ByDefault, tunnelExit(i)))
		}
	}
	return out
}

// allowsAll finds the first tunnel that allows everything of a family.
func (d *draft) allowsAll(f family) (policyLine, int, bool) {
	for i, t := range d.tunnels {
		for _, a := range t.allowed {
			if a.to == everything(f) {
				return a, i, true
			}
		}
	}
	return policyLine{}, 0, false
}
