package classifier

import (
	"cmp"
	"net/netip"
	"slices"

	"turnout/classifier/packet"
)

// rank orders entries: the smaller rank stands first, equal ranks keep the
// order in which they are listed.
type rank struct {
	by       By
	prefix   int // minus the bits: the longest destination first
	protocol int // 0: named, 1: any
	ports    int // fewer first
}

func (r rank) compare(o rank) int {
	return cmp.Or(
		cmp.Compare(r.by, o.by),
		cmp.Compare(r.prefix, o.prefix),
		cmp.Compare(r.protocol, o.protocol),
		cmp.Compare(r.ports, o.ports),
	)
}

// Sort brings the entries into the order in which they are tried: rules as
// listed; routes by the longest destination prefix, then a named protocol
// before any, then the fewer destination ports, then as listed; AllowedIPs by
// the longest prefix, then as listed; the default last.
//
// "Most specific wins, else fall through" is first match in this order: a
// longer matching prefix stands earlier, and a line whose protocol or ports
// fail is passed over.
func (p *Policy) Sort() {
	type ranked struct {
		rank
		Entry
	}
	list := make([]ranked, len(p.Entries))
	for i := range p.Entries {
		list[i] = ranked{p.Entries[i].rank(), p.Entries[i]}
	}
	slices.SortStableFunc(list, func(a, b ranked) int { return a.rank.compare(b.rank) })
	for i := range list {
		p.Entries[i] = list[i].Entry
	}
}

func (e *Entry) rank() rank {
	r := rank{by: e.By}
	switch e.By {
	case ByRoute:
		r.prefix = -longest(e.To)
		r.ports = countPorts(e.Ports)
		if !e.namesProtocol() {
			r.protocol = 1
		}
	case ByAllowedIPs:
		r.prefix = -longest(e.To)
	}
	return r
}

// namesProtocol reports whether e is about one protocol. TCP together with
// UDP is what "any" comes to as soon as there are ports.
func (e *Entry) namesProtocol() bool {
	return len(e.Protos) > 0 &&
		!(slices.Contains(e.Protos, packet.TCP) && slices.Contains(e.Protos, packet.UDP))
}

func longest(list []netip.Prefix) int {
	bits := 0
	for _, p := range list {
		bits = max(bits, p.Bits())
	}
	return bits
}

// countPorts counts the ports of the merged list; no list means all 65,536.
func countPorts(list []PortRange) int {
	if len(list) == 0 {
		return 65536
	}
	n := 0
	for _, r := range merge(list) {
		n += int(r.Hi) - int(r.Lo) + 1
	}
	return n
}

// merge returns the ranges sorted, with those that touch or overlap joined.
func merge(list []PortRange) []PortRange {
	sorted := slices.Clone(list)
	slices.SortFunc(sorted, func(a, b PortRange) int { return cmp.Compare(a.Lo, b.Lo) })
	out := sorted[:0]
	for _, r := range sorted {
		if n := len(out); n > 0 && int(r.Lo) <= int(out[n-1].Hi)+1 {
			out[n-1].Hi = max(out[n-1].Hi, r.Hi)
			continue
		}
		out = append(out, r)
	}
	return out
}
