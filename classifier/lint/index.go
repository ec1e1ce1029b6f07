package lint

import (
	"cmp"
	"iter"
	"net/netip"
	"slices"

	"turnout/classifier"
)

// An index finds the entries whose destinations may overlap a prefix. All
// prefixes of entries and of sets stand in pre-order, so that those inside a
// prefix follow it and those around it are its parents.
type index struct {
	users  []user
	groups []group
	any    []int32   // entries without a destination
	bySet  [][]int32 // entries that name a set as destination
	hulls  []hull    // by entry
}

// A user is an entry, or a set as -1 less its index, that names a prefix.
type user struct {
	prefix netip.Prefix
	id     int32
}

// A group is the users of one prefix, sets first, entries in order.
type group struct {
	first, end int32 // in users
	parent     int32 // the next shorter prefix around it; -1: none
}

func newIndex(p *classifier.Policy) *index {
	x := &index{bySet: make([][]int32, len(p.Sets)), hulls: make([]hull, len(p.Entries))}
	for i := range p.Entries {
		e := &p.Entries[i]
		x.hulls[i] = newHull(e)
		for _, q := range e.To {
			x.users = append(x.users, user{q.Masked(), int32(i)})
		}
		for _, s := range e.ToSets {
			x.bySet[s] = append(x.bySet[s], int32(i))
		}
		if dst(e).any() {
			x.any = append(x.any, int32(i))
		}
	}
	for s := range p.Sets {
		for _, q := range p.Sets[s].Prefixes {
			x.users = append(x.users, user{q.Masked(), -1 - int32(s)})
		}
	}
	slices.SortFunc(x.users, func(a, b user) int { return cmp.Or(treeOrder(a.prefix, b.prefix), cmp.Compare(a.id, b.id)) })
	x.group()
	return x
}

// treeOrder sorts a prefix before all prefixes inside it.
func treeOrder(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}

func (x *index) group() {
	around := int32(-1)
	for i := 0; i < len(x.users); {
		g := group{first: int32(i)}
		p := x.users[i].prefix
		for i < len(x.users) && x.users[i].prefix == p {
			i++
		}
		g.end = int32(i)
		for around >= 0 && !x.prefix(around).Contains(p.Addr()) {
			around = x.groups[around].parent
		}
		g.parent = around
		around = int32(len(x.groups))
		x.groups = append(x.groups, g)
	}
}

func (x *index) prefix(g int32) netip.Prefix { return x.users[x.groups[g].first].prefix }

// near returns the group of p, or else that of the longest prefix around it,
// -1 for none, and the first group behind p.
func (x *index) near(p netip.Prefix) (g, next int32) {
	n, found := slices.BinarySearchFunc(x.groups, p, func(g group, p netip.Prefix) int { return treeOrder(x.users[g.first].prefix, p) })
	if found {
		return int32(n), int32(n) + 1
	}
	for g = int32(n) - 1; g >= 0 && !within(x.prefix(g), p); {
		g = x.groups[g].parent
	}
	return g, int32(n)
}

// within reports whether all of b is in a.
func within(a, b netip.Prefix) bool { return a.Bits() <= b.Bits() && a.Contains(b.Addr()) }

// maxInside bounds how many prefixes inside one are looked at.
const maxInside = 256

// before gives the entries before limit that name no destination, p, a prefix
// around it, some of those inside it, or a set that has one of these. An entry
// may come several times.
func (x *index) before(limit int32, p netip.Prefix) iter.Seq[int32] {
	return func(yield func(int32) bool) {
		g, next := x.near(p)
		for ; g >= 0; g = x.groups[g].parent {
			if !x.each(g, limit, yield) {
				return
			}
		}
		for g = next; g < int32(len(x.groups)) && g < next+maxInside && within(p, x.prefix(g)); g++ {
			if !x.each(g, limit, yield) {
				return
			}
		}
	}
}

// each yields the entries of one group before limit.
func (x *index) each(g, limit int32, yield func(int32) bool) bool {
	for _, u := range x.users[x.groups[g].first:x.groups[g].end] {
		if u.id >= limit {
			return true
		}
		if u.id >= 0 {
			if !yield(u.id) {
				return false
			}
			continue
		}
		for _, i := range x.bySet[-1-u.id] {
			if i >= limit {
				break
			}
			if !yield(i) {
				return false
			}
		}
	}
	return true
}

// has reports whether one prefix of the sets holds all of p.
func (x *index) has(sets []int, p netip.Prefix) bool {
	if len(sets) == 0 {
		return false
	}
	g, _ := x.near(p)
	for ; g >= 0; g = x.groups[g].parent {
		if x.names(g, sets) {
			return true
		}
	}
	return false
}

// touches reports whether a prefix of the sets overlaps p; unsure is the answer
// when there are too many prefixes inside p to look at.
func (x *index) touches(sets []int, p netip.Prefix, unsure bool) bool {
	if len(sets) == 0 || x.has(sets, p) {
		return len(sets) > 0
	}
	_, next := x.near(p)
	for g := next; g < int32(len(x.groups)) && within(p, x.prefix(g)); g++ {
		if g == next+maxInside {
			return unsure
		}
		if x.names(g, sets) {
			return true
		}
	}
	return false
}

// names reports whether one of the sets has the prefix of a group.
func (x *index) names(g int32, sets []int) bool {
	for _, u := range x.users[x.groups[g].first:x.groups[g].end] {
		if u.id >= 0 {
			return false
		}
		if slices.Contains(sets, int(-1-u.id)) {
			return true
		}
	}
	return false
}
