package classifier

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"turnout/classifier/packet"
)

// Verify asks the compiled table and a plain walk through the policy about n
// packets at the corners of its entries, and returns an error that shows the
// first packet about which they differ. The packets follow from the seed. What
// Tags knows must not change meanwhile.
//
// A table that fails must not be used: it is a fault of this package.
func (t *Table) Verify(n int, seed uint64) error {
	views := corners(t.policy, n, seed)
	for i, want := range t.policy.winners(views, t.tags) {
		if got := t.Lookup(&views[i]); got != t.verdict(&views[i], want) {
			return fmt.Errorf("the compiled policy answers %+v for %v to %v, protocol %d, ports %d to %d, where the policy as written says %+v; keep the table in use and report this with the policy (seed %d)",
				got, views[i].Src, views[i].Dst, views[i].Proto, views[i].SrcPort, views[i].DstPort, t.verdict(&views[i], want), seed)
		}
	}
	return nil
}

// winners returns for each packet the first entry that matches it, or nothing.
// It goes through the policy once: for each entry, the packets whose
// destination is among the entry's are asked, which are neighbours when the
// packets are in order of destination.
func (p *Policy) winners(views []packet.View, tags *Tags) []int32 {
	g := newGroup(p, views, tags)
	won := make([]int32, len(views))
	for i := range won {
		won[i] = nothing
	}
	for i := range p.Entries {
		e := &p.Entries[i]
		ask := func(k int) {
			if won[k] == nothing && g.walks[k].fails(e) == none {
				won[k] = int32(i)
			}
		}
		if len(e.ToSets) > 0 || len(e.To) == 0 {
			g.undecided = slices.DeleteFunc(g.undecided, func(k int) bool { return won[k] != nothing })
			for _, k := range g.undecided {
				ask(k)
			}
			continue
		}
		for _, q := range e.To {
			for _, k := range g.within(0, spanOf(q)) {
				ask(k)
			}
		}
	}
	return won
}

// A group is many packets that are asked together.
type group struct {
	walks     []*walk
	order     [2][]int // the packets in order of destination, and of source
	undecided []int
}

func newGroup(p *Policy, views []packet.View, tags *Tags) *group {
	g := &group{walks: make([]*walk, len(views))}
	for k := range views {
		g.walks[k] = p.walk(&views[k], tags)
		g.undecided = append(g.undecided, k)
	}
	for side := range g.order {
		g.order[side] = slices.Clone(g.undecided)
		slices.SortFunc(g.order[side], func(a, b int) int { return compareAddr(g.addr(side, a), g.addr(side, b)) })
	}
	// Whether an address is in a set, for all addresses and sets at once.
	for i := range p.Sets {
		for side := range g.order {
			for _, w := range g.walks {
				w.in[side][i] = outside
			}
			for _, q := range p.Sets[i].Prefixes {
				g.mark(side, i, q)
			}
		}
	}
	return g
}

// mark notes which addresses on one side are in a set by one of its prefixes.
func (g *group) mark(side, set int, q netip.Prefix) {
	for _, k := range g.within(side, spanOf(q)) {
		w := g.walks[k]
		a := w.dst
		if side == 1 {
			a = w.src
		}
		// The numbers of IPv4 addresses are among those of IPv6: ask again.
		if q.Contains(a) {
			w.in[side][set] = inside
		}
	}
}

func (g *group) addr(side, k int) packet.Addr {
	if side == 0 {
		return g.walks[k].v.Dst
	}
	return g.walks[k].v.Src
}

// within returns the packets whose address on one side is in s.
func (g *group) within(side int, s span) []int {
	list := g.order[side]
	lo, _ := slices.BinarySearchFunc(list, s.lo, func(k int, a packet.Addr) int { return compareAddr(g.addr(side, k), a) })
	hi := lo
	for hi < len(list) && compareAddr(g.addr(side, list[hi]), s.hi) <= 0 {
		hi++
	}
	return list[lo:hi]
}

func compareAddr(a, b packet.Addr) int {
	return cmp.Or(cmp.Compare(a.Hi, b.Hi), cmp.Compare(a.Lo, b.Lo))
}
