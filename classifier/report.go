package classifier

import "unsafe"

// A Report is what a table costs. The worst path is over all packets of both
// families that there can be: a real packet may never see it.
type Report struct {
	Entries  int // lines of the policy
	Boxes    int // combinations of their lists, of both families
	Nodes    int // decisions in the table
	Bytes    int // memory of the table, without the policy itself and Tags
	Compared int // entries compared on the worst path
	Depth    int // decisions taken on the worst path
}

// Report says what the table costs.
func (t *Table) Report() Report {
	r := Report{
		Entries: len(t.policy.Entries),
		Boxes:   t.v4.boxes + t.v6.boxes,
		Nodes:   len(t.v4.nodes) + len(t.v6.nodes),
		Bytes:   size(t.outcomes) + t.v4.bytes() + t.v6.bytes() + size(t.v4.portSets),
	}
	for i := range t.covers {
		c := &t.covers[i]
		r.Bytes += size(c.v4.in) + c.v4.bytes() + size(c.v6.in) + c.v6.bytes()
	}
	r.Compared, r.Depth = max(t.v4.compared, t.v6.compared), max(t.v4.depth, t.v6.depth)
	return r
}

// bytes returns the memory of a plane, without the port sets, which both share.
func (p *plane) bytes() int {
	n := size(p.nodes) + size(p.roots) + size(p.cuts) + size(p.entries) + size(p.extraOf) + size(p.extras) +
		p.dst.bytes() + p.src.bytes() + p.sets.bytes() + size(p.tags)
	for _, b := range p.bits {
		n += size(b)
	}
	return n
}

func (x *axis) bytes() int { return size(x.roots) + size(x.edges) }

// size returns the memory behind a slice.
func size[T any](list []T) int {
	var one T
	return cap(list) * int(unsafe.Sizeof(one))
}
