package conf

import (
	"net/netip"
	"strings"
)

// A rawAccept is one item of accept, before the tunnels that its [[tunnel]]
// stands for are known.
type rawAccept struct {
	Accept
	from, to setting
	broken   bool           // a tunnel of its [[tunnel]] has errors of its own
	placed   bool           // a tunnel takes it
	allowed  []netip.Prefix // to the tunnels of its [[tunnel]]
}

// accepts reads accept = [...] of a [[tunnel]].
func (l *loader) accepts(t *table) (out []*rawAccept) {
	var list []any
	switch v := t.get("accept").(type) {
	case nil:
	case string:
		list = []any{v}
	case []any:
		list = v
	case []map[string]any:
		for i := range v {
			list = append(list, v[i])
		}
	default:
		l.failf(t.pos("accept"), "accept is %s; a list of prefixes and of tables such as {from = \"10.0.0.0/8\", ports = 22} is wanted", kindOf(v))
	}
	if len(list) > maxAccepts {
		l.failf(t.pos("accept"), "accept has %d items; up to %d are allowed", len(list), maxAccepts)
		return nil
	}
	for i := range list {
		if a := l.acceptItem(t, i, list[i]); a != nil {
			out = append(out, a)
		}
	}
	return out
}

// acceptItem reads one item: a prefix as text, or a table. Nil after an error.
func (l *loader) acceptItem(t *table, i int, item any) *rawAccept {
	before := l.failures()
	n := t.place.child("accept")
	if n != nil && n.list {
		n = n.item(i)
	}
	sub := t.sub("accept", nil, n)
	a := &rawAccept{Accept: Accept{Pos: sub.at, Text: acceptText(sub)}}
	switch item := item.(type) {
	case string:
		a.from = setting{key: "accept", text: item, pos: sub.at}
	case map[string]any:
		sub.vals = item
		l.acceptTable(sub, a)
	default:
		l.failf(sub.at, "accept holds %s; a prefix in quotes or a table such as {from = \"10.0.0.0/8\", ports = 22} is wanted", kindOf(item))
	}
	if a.from.given() {
		a.From = l.acceptPrefix(a.from)
	}
	if a.to.given() {
		a.To = l.acceptPrefix(a.to)
	}
	if l.failures() > before {
		return nil
	}
	return a
}

// acceptText is the item as written; under a header of its own, the whole table.
func acceptText(t *table) string {
	switch {
	case t.place == nil:
		return t.what
	case t.place.end == 0:
		return "[[tunnel.accept]]" + strings.TrimPrefix(tableText(t), t.what)
	}
	return t.what + " = " + oneLine(t.src[t.place.start:t.place.end])
}

// acceptTable reads {from, to, proto, ports, nat}.
func (l *loader) acceptTable(t *table, a *rawAccept) {
	if s, ok := t.one("from"); ok {
		a.from = s
	} else if !t.has("from") {
		l.failf(t.at, "accept has an item without from; the far hosts are wanted, such as from = \"10.0.0.0/8\"")
	}
	if s, ok := t.one("to"); ok {
		a.to = s
	}
	a.Protos = l.protos(t, func(word string) ([]uint8, error) { return parseProto(word, v4) })
	a.Ports = l.ports(t, "ports")
	if s, ok := t.one("nat"); ok {
		a.Masquerade = s.text == "masquerade"
		if !a.Masquerade && s.text != "none" {
			l.failf(s.pos, "nat = %s; \"none\" and \"masquerade\" are allowed", show(s.text))
		}
	}
	t.unknown()
	l.emptyLists(t, "proto", "ports")
	if len(a.Ports) > 0 {
		a.Protos = l.portProtos(t, a.Protos)
	}
}

// acceptPrefix reads from or to.
func (l *loader) acceptPrefix(s setting) netip.Prefix {
	p, err := parseNetwork(s.text, true)
	if err == nil && !p.Addr().Is4() {
		err = errIPv6
	}
	if err != nil {
		l.failf(s.pos, "%s = %s; %v", s.key, show(s.text), err)
	}
	return p
}

// placeAccepts gives each item of accept to the tunnels of its [[tunnel]] whose
// peers may send from there. WireGuard drops what AllowedIPs as written do not
// cover: widening is for where policy sends, not for who may speak.
func (l *loader) placeAccepts(d *draft) {
	for i := range d.cfg.Tunnels {
		t := &d.cfg.Tunnels[i]
		c := newCoverage(t.allowed())
		for _, a := range d.raw[i].accept {
			a.broken = a.broken || d.tunnels[i].broken
			if c.holds(a.From) {
				t.Accept = append(t.Accept, a.Accept)
				a.placed = true
			}
			a.allowed = append(a.allowed, t.allowed()...)
		}
	}
	for _, a := range d.accepts {
		if !a.placed && !a.broken {
			l.failf(a.from.pos, "%s = %s is not within the AllowedIPs of the tunnel, which are %s; WireGuard drops all others",
				a.from.key, show(a.from.text), prefixList(a.allowed))
		}
		l.acceptLAN(a, &d.cfg.LAN)
	}
}

// acceptLAN refuses far hosts with addresses that are all of this side, and
// targets that the kernel's own routes serve. Of a larger network, such as
// 10.0.0.0/8 around a LAN of 10.1.0.0/16, the data path leaves the LAN's out.
func (l *loader) acceptLAN(a *rawAccept, lan *LAN) {
	if p, ok := holder(lan.Prefixes, a.From.Addr()); ok && p.Bits() <= a.From.Bits() {
		l.failf(a.from.pos, "%s = %s is in the LAN's own %s, and a LAN host does not come out of a tunnel; name the far networks alone", a.from.key, show(a.from.text), p)
	} else if p, ok := holder(lan.Local, a.From.Addr()); ok && p.Bits() <= a.From.Bits() {
		l.failf(a.from.pos, "%s = %s is in %s of [lan] local, where the kernel's own routes lead, past all tunnels; name the far networks alone", a.from.key, show(a.from.text), p)
	}
	if !a.To.IsValid() || newCoverage(lan.Prefixes).holds(a.To) {
		return
	}
	if p, ok := holder(lan.Local, a.To.Addr()); ok && p.Bits() <= a.To.Bits() {
		l.failf(a.to.pos, "to = %s is in %s of [lan] local, where the kernel's own routes lead, past all tunnels; name the LAN's own networks", show(a.to.text), p)
	}
}

// acceptTargets warns about what far hosts may ask for without an answer: what
// is neither of the LAN nor behind another tunnel, or another peer of this one.
// Where the LAN's prefixes are the interfaces' own nothing is known.
func (l *loader) acceptTargets(c *Config) {
	for i := range c.Tunnels {
		for _, a := range c.Tunnels[i].Accept {
			if !a.To.IsValid() || len(c.LAN.Prefixes) == 0 {
				continue
			}
			if !newCoverage(c.LAN.Prefixes, c.behindOthers(i)).holds(a.To) {
				l.warnf(a.Pos, "accept lets far hosts of tunnel %s reach %s, which is neither the LAN's nor within the AllowedIPs of another tunnel", c.Tunnels[i].Name, a.To)
			}
		}
	}
}

// behindOthers lists what a host behind a tunnel may reach by tunnels.
func (c *Config) behindOthers(tunnel int) (out []netip.Prefix) {
	for i := range c.Tunnels {
		t := &c.Tunnels[i]
		switch {
		case i == tunnel && len(t.Peers) == 1:
		case t.Widened4:
			return []netip.Prefix{everything(v4)}
		default:
			out = append(out, t.allowed()...)
		}
	}
	return out
}
