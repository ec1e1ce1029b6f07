package classifier

import (
	"math/bits"
	"slices"

	"turnout/classifier/packet"
)

// An axis numbers the intervals between the edges of address ranges of one
// family. A range whose edges it knows is an interval of its numbers, and so
// is every union of such ranges a set of numbers.
//
// The edges are found by a search of a bucket: the leading word of the address
// says which. Words of 64 bits keep one form for both families.
type axis struct {
	v4    bool
	base  uint64
	last  uint64
	shift uint8
	roots []uint32 // by bucket: the interval in which it begins
	edges []edge   // where intervals begin, the lowest address first
}

// An edge is an address, its leading 64 bits first. All of an IPv4 address is
// in lead.
type edge struct{ lead, tail uint64 }

func (x *axis) edge(a packet.Addr) edge {
	if x.v4 {
		return edge{lead: a.Lo}
	}
	return edge{a.Hi, a.Lo}
}

// find returns the number of the interval that holds a.
func (x *axis) find(a packet.Addr) uint32 {
	if len(x.edges) <= 1 {
		return 0
	}
	e := x.edge(a)
	b := min((max(e.lead, x.base)-x.base)>>x.shift, x.last)
	at, size := x.roots[b], x.roots[b+1]-x.roots[b]+1
	for size > 1 {
		half := size >> 1
		m := &x.edges[at+half]
		// at += half if m <= e, without a branch that nobody can predict.
		_, less := bits.Sub64(e.tail, m.tail, 0)
		_, less = bits.Sub64(e.lead, m.lead, less)
		at += half & (uint32(less) - 1)
		size -= half
	}
	return at
}

// newAxis returns the axis of the spans' edges, which it sorts.
func newAxis(v4 bool, spans []span) axis {
	x := axis{v4: v4}
	every := everySpan(v4)
	x.edges = append(make([]edge, 0, 2*len(spans)+1), x.edge(every.lo))
	for _, s := range spans {
		x.edges = append(x.edges, x.edge(s.lo))
		if s.hi != every.hi {
			x.edges = append(x.edges, x.edge(next(s.hi)))
		}
	}
	slices.SortFunc(x.edges, compareEdge)
	x.edges = slices.Clip(slices.Compact(x.edges))
	x.index()
	return x
}

func compareEdge(a, b edge) int {
	return compareAddr(packet.Addr{Hi: a.lead, Lo: a.tail}, packet.Addr{Hi: b.lead, Lo: b.tail})
}

// index makes buckets of equal width, about as many as edges, over all edges
// but the first, which is the lowest address that there is.
func (x *axis) index() {
	if len(x.edges) <= 1 {
		return
	}
	x.base = x.edges[1].lead
	width := x.edges[len(x.edges)-1].lead - x.base
	for width>>x.shift > uint64(2*len(x.edges)) {
		x.shift++
	}
	x.last = width >> x.shift
	x.roots = make([]uint32, x.last+2)
	n := uint32(0)
	for b := uint64(1); b <= x.last; b++ {
		start := edge{lead: x.base + b<<x.shift}
		for int(n)+1 < len(x.edges) && compareEdge(x.edges[n+1], start) <= 0 {
			n++
		}
		x.roots[b] = n
	}
	x.roots[x.last+1] = uint32(len(x.edges) - 1)
}

// interval returns the numbers of a span whose edges x knows.
func (x *axis) interval(s span) (lo, hi uint32) {
	return x.find(s.lo), x.find(s.hi)
}
