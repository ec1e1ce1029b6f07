package classifier

import (
	"net/netip"
	"slices"

	"turnout/classifier/packet"
)

// A Near explains packets of one table by the entries that have the packet's
// destination, found through an index instead of a walk through the policy. It
// is for many packets, about which nobody reads everything that lost. It may be
// used by any number of goroutines.
type Near struct {
	table   *Table
	users   map[netip.Prefix][]int32 // entries in order, and sets as -1 less their index
	bySet   [][]int32                // entries that name a set as destination, in order
	any     []int32                  // entries that name no destination, in order
	lengths [2][]int                 // of the prefixes of IPv4, IPv6
}

// NewNear indexes the policy of t.
func NewNear(t *Table) *Near {
	p := t.policy
	n := &Near{table: t, users: map[netip.Prefix][]int32{}, bySet: make([][]int32, len(p.Sets))}
	for s := range p.Sets {
		for _, q := range p.Sets[s].Prefixes {
			n.add(q, -1-int32(s))
		}
	}
	for i := range p.Entries {
		e := &p.Entries[i]
		for _, q := range e.To {
			n.add(q, int32(i))
		}
		for _, s := range e.ToSets {
			n.bySet[s] = append(n.bySet[s], int32(i))
		}
		if len(e.To)+len(e.ToSets) == 0 {
			n.any = append(n.any, int32(i))
		}
	}
	return n
}

func (n *Near) add(q netip.Prefix, id int32) {
	q = q.Masked()
	n.users[q] = append(n.users[q], id)
	lengths := &n.lengths[familyIndex(q.Addr())]
	if !slices.Contains(*lengths, q.Bits()) {
		*lengths = append(*lengths, q.Bits())
	}
}

func familyIndex(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

// Table returns the table that n explains.
func (n *Near) Table() *Table { return n.table }

// Explain gives the verdict of Lookup and, as Table.Explain would give them,
// the first most of the losers that have v's destination; more is how many
// other entries lost.
func (n *Near) Explain(v *packet.View, most int) (x Explanation, more int) {
	p := n.table.policy
	x.Verdict = n.table.Lookup(v)
	w := p.walk(v, n.table.tags)
	found := n.find(w)
	for rest := n.any; len(x.Considered) < most && len(found)+len(rest) > 0; {
		var i int32
		if len(rest) == 0 || len(found) > 0 && found[0] < rest[0] {
			i, found = found[0], found[1:]
		} else {
			i, rest = rest[0], rest[1:]
		}
		if i != x.Entry {
			x.Considered = append(x.Considered, Lost{i, w.fails(&p.Entries[i]).String()})
		}
	}
	more = len(p.Entries) - len(x.Considered)
	if x.Entry >= 0 {
		more--
	}
	return x, more
}

// find returns the entries that name the destination of w, in order, and tells
// w which sets its addresses are in.
func (n *Near) find(w *walk) (entries []int32) {
	for side, a := range []netip.Addr{w.dst, w.src} {
		for s := range w.in[side] {
			w.in[side][s] = outside
		}
		for _, bits := range n.lengths[familyIndex(a)] {
			q, err := a.Prefix(bits)
			if err != nil {
				continue
			}
			for _, id := range n.users[q] {
				switch {
				case id < 0:
					w.in[side][-1-id] = inside
				case side == 0:
					entries = append(entries, id)
				}
			}
		}
	}
	for s, is := range w.in[0] {
		if is == inside {
			entries = append(entries, n.bySet[s]...)
		}
	}
	slices.Sort(entries)
	return slices.Compact(entries)
}
