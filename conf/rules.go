package conf

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"turnout/classifier"
)

// rules reads all [[rule]]s. There may be very many, so what was read is
// forgotten at once: values and places take ten times the room of the text.
func (l *loader) rules(t *table, d *draft) {
	if n := t.place.child("rule"); n != nil {
		d.rules = slices.Grow(d.rules, len(n.kids))
		d.vias = slices.Grow(d.vias, len(n.kids))
	}
	for sub := range t.each("rule") {
		e, via := l.rule(sub, &d.sets)
		d.rules = append(d.rules, e)
		d.vias = append(d.vias, via)
	}
}

// rule reads a [[rule]], but for its exit, which has still to be looked up.
// Its text is all its lines, joined by "; ".
func (l *loader) rule(t *table, known *sets) (classifier.Entry, setting) {
	e := classifier.Entry{By: classifier.ByRule, Pos: t.at, Text: tableText(t)}
	if s, ok := t.one("name"); ok {
		if err := checkLabel(s.text); err != nil {
			l.failf(s.pos, "name = %s; %v", show(s.text), err)
		}
		e.Name = s.text
	}
	e.From, e.FromSets = l.addresses(t, "from", known)
	e.To, e.ToSets = l.addresses(t, "to", known)
	e.NotFrom, e.NotFromSets = l.addresses(t, "not_from", known)
	e.NotTo, e.NotToSets = l.addresses(t, "not_to", known)
	kinds := known.families(e.To, e.ToSets) & known.families(e.From, e.FromSets)
	e.Protos = l.protos(t, func(word string) ([]uint8, error) { return parseProto(word, kinds) })
	e.FromPorts = l.ports(t, "from_ports")
	e.Ports = l.ports(t, "ports")
	e.DSCP = l.dscp(t)
	via, ok := t.one("via")
	t.unknown()
	if !t.has("via") {
		l.failf(t.at, "the rule has no via; it names the exit: a tunnel, a group, direct, drop or reject")
	} else if ok && via.text == "" {
		l.failf(via.pos, "via is empty; it names the exit: a tunnel, a group, direct, drop or reject")
	}
	l.emptyLists(t, "from", "to", "proto", "ports", "from_ports", "dscp")
	if kinds == 0 {
		l.failf(t.at, "from and to are of different families; no packet has IPv4 and IPv6 at once")
	}
	if len(e.Ports)+len(e.FromPorts) > 0 {
		e.Protos = l.portProtos(t, e.Protos)
	}
	return e, via
}

// portProtos settles what ports mean for the protocols that proto names: without
// proto TCP and UDP, and nothing that has no ports.
func (l *loader) portProtos(t *table, named []uint8) []uint8 {
	if len(named) == 0 && !t.has("proto") {
		return []uint8{protoTCP, protoUDP}
	}
	if slices.Contains(named, protoICMP) || slices.Contains(named, protoICMPv6) {
		l.failf(t.pos("proto"), "icmp has no ports; name tcp or udp, or leave the ports out")
	}
	return named
}

// emptyLists refuses a matcher without a value: it would match everything,
// which nobody means who writes it.
func (l *loader) emptyLists(t *table, keys ...string) {
	for _, key := range keys {
		if list, ok := t.vals[key].([]any); ok && len(list) == 0 {
			l.failf(t.pos(key), "%s is empty; leave it out to match everything", key)
		}
	}
}

// tableText is a whole [[rule]] or the like as written, on one line.
func tableText(t *table) string {
	if t.place == nil {
		return t.what
	}
	var parts []string
	for _, kid := range t.place.kids {
		parts = append(parts, t.written(kid.key))
	}
	return t.what + " " + strings.Join(parts, "; ")
}

// protos reads proto: a word, a comma list or a list. None: any.
func (l *loader) protos(t *table, parse func(word string) ([]uint8, error)) (out []uint8) {
	anything := false
	for _, s := range t.texts("proto") {
		for word := range strings.SplitSeq(s.text, ",") {
			list, err := parse(strings.TrimSpace(word))
			if err != nil {
				l.failf(s.pos, "proto = %s; %v", show(s.text), err)
				break
			}
			anything = anything || len(list) == 0
			for _, p := range list {
				if !slices.Contains(out, p) {
					out = append(out, p)
				}
			}
		}
	}
	if anything {
		return nil
	}
	return out
}

// ports reads ports or from_ports: a number, text or a list of these.
func (l *loader) ports(t *table, key string) (out []classifier.PortRange) {
	for _, s := range t.settings(key) {
		list, err := parsePorts(s.text)
		if err != nil {
			l.failf(s.pos, "%s = %s; %v", key, show(s.text), err)
			continue
		}
		out = append(out, list...)
	}
	return mergePorts(out)
}

// dscp reads code points, 0 to 63 (RFC 2474).
func (l *loader) dscp(t *table) (out []uint8) {
	for _, s := range t.settings("dscp") {
		n, err := parseNumber(s.text, 0, 63)
		if err != nil {
			l.failf(s.pos, "dscp = %s; %v", show(s.text), err)
			continue
		}
		if !slices.Contains(out, uint8(n)) {
			out = append(out, uint8(n))
		}
	}
	return out
}

// prefixList writes prefixes for a message, a few of them.
func prefixList(list []netip.Prefix) string {
	const few = 4
	if len(list) == 0 {
		return "nothing"
	}
	var parts []string
	for _, p := range list[:min(few, len(list))] {
		parts = append(parts, p.String())
	}
	if len(list) > few {
		parts = append(parts, fmt.Sprintf("%d more", len(list)-few))
	}
	return strings.Join(parts, ", ")
}
