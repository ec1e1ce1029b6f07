package classifier

import (
	"math"
	"math/bits"
	"slices"
)

// A builder makes the tree of a plane from boxes.
type builder struct {
	boxes     []box // in order of priority
	out       *plane
	limits    limits
	hasExtras bool
	leaves    leafIndex
	levels    []*level // scratch, by depth
}

// A subtree is what building one returned.
type subtree struct {
	way
	compared int32 // entries compared on its worst path
	depth    int32 // decisions on its worst path
}

var emptyTree = subtree{way: way{min: nothing}}

// A level is the scratch memory of one split, kept for the next at its depth.
type level struct {
	one, two sweep
	list     []int32
	full     []bool  // by box: it matches all that reaches it through this split
	active   []int32 // boxes of the interval, as positions in list, in order
	before   []int32 // the memory of the interval before
	ended    []bool  // by box
	child    []int32
	rest     []int32
	cuts     []cut
	made     map[uint64]made
	lists    []int32
}

// made remembers the list that a subtree was built from.
type made struct {
	from, to int // in level.lists
	subtree
}

// shortList is how many boxes are asked one by one in the time of a node.
const shortList = 8

// build builds the tree of list, which is in order of priority, for the
// packets in r. copies is how many entries each box may become.
func (b *builder) build(list []int32, r *region, copies float64, depth int) subtree {
	list = b.reduce(list, r)
	if len(list) == 0 {
		return emptyTree
	}
	if len(list) <= b.limits.leaf {
		return b.leaf(list)
	}
	l := b.level(depth)
	s := l.choose(b.boxes, list, r, int(copies*float64(len(list)))+b.limits.slack, b.limits.kept)
	if s == nil {
		return b.leaf(list)
	}
	return b.split(l, s, list, r, copies, depth)
}

func (b *builder) level(depth int) *level {
	for len(b.levels) <= depth {
		b.levels = append(b.levels, &level{})
	}
	return b.levels[depth]
}

// reduce drops boxes that cannot win in r: those after one that matches
// everything, and in a short list those that another hides. It may change list.
func (b *builder) reduce(list []int32, r *region) []int32 {
	for i, n := range list {
		if b.boxes[n].covers(r) {
			list = list[:i+1]
			break
		}
	}
	if len(list) > b.limits.hide {
		return list
	}
	out := list[:0]
next:
	for _, n := range list {
		for _, m := range out {
			if b.boxes[m].hides(&b.boxes[n], r) {
				continue next
			}
		}
		out = append(out, n)
	}
	return out
}

// choose sweeps each dimension, and returns the sweep of the one that is best
// to split by; nil if none is worth it. room is how many entries the split may
// make, and one in kept boxes must not be left to the rest.
func (l *level) choose(boxes []box, list []int32, r *region, room, kept int) *sweep {
	trial, best := &l.one, &l.two
	cost := float64(len(list)) / shortList // of asking them one by one
	found := false
	for d := range dims {
		if !trial.measure(boxes, list, r, d, room) {
			continue
		}
		if c := 1 + steps(trial.typed) + steps(float64(trial.rest)); c < cost && trial.rest <= len(list)-(len(list)+kept-1)/kept {
			cost, found = c, true
			trial, best = best, trial
		}
	}
	if !found {
		return nil
	}
	return best
}

// steps estimates what a lookup among n boxes costs, in units of a node.
func steps(n float64) float64 {
	n /= shortList
	if n <= 1 {
		return n
	}
	return min(n, 2+math.Log2(n)/2)
}

// split makes a node of list by the intervals of s, and builds what hangs on it.
func (b *builder) split(l *level, s *sweep, list []int32, r *region, copies float64, depth int) subtree {
	out := subtree{depth: 1}
	l.list = append(l.list[:0], list...)
	l.full = grown(l.full, len(list))
	l.rest = l.rest[:0]
	inside := *r // what is left to decide once the interval is known
	inside.lo[s.dim], inside.hi[s.dim] = math.MaxUint32, 0
	for i, n := range l.list {
		l.full[i] = b.boxes[n].covers(&inside)
		if !s.stays(i) {
			l.rest = append(l.rest, n)
		}
	}
	left := max(1, copies*float64(len(list)-len(l.rest))/float64(max(1, s.kept)))
	worst := b.children(l, s, &inside, left, depth)

	n := node{dim: s.dim}
	b.index(&n, l.cuts)
	out.min = nothing
	for _, c := range l.cuts {
		out.min = min(out.min, c.min)
	}
	rest := b.build(l.rest, r, copies, depth) // l is free again
	n.rest, out.min = rest.way, min(out.min, rest.min)
	out.compared, out.depth = worst.compared+rest.compared, 1+worst.depth+rest.depth
	out.ref = uint32(len(b.out.nodes)) | isNode
	b.out.nodes = append(b.out.nodes, n)
	return out
}

// children builds the subtree of each interval of s and leaves the cuts in l.
// What it returns has the worst figures of all.
func (b *builder) children(l *level, s *sweep, inside *region, copies float64, depth int) (worst subtree) {
	l.cuts, l.active, l.lists = l.cuts[:0], l.active[:0], l.lists[:0]
	l.made = map[uint64]made{}
	l.ended = grown(l.ended, s.n)
	clear(l.ended)
	for i := range s.n {
		if s.stays(i) && s.first[i] == 0 {
			l.active = append(l.active, int32(i))
		}
	}
	e := 0
	for _, at := range s.at {
		from := e
		for e < len(s.events) && uint32(s.events[e]>>32) == at {
			e++
		}
		l.advance(s, s.events[from:e])
		t := b.child(l, inside, copies, depth)
		worst.compared, worst.depth = max(worst.compared, t.compared), max(worst.depth, t.depth)
		if n := len(l.cuts); n == 0 || l.cuts[n-1].way != t.way {
			l.cuts = append(l.cuts, cut{at, t.way})
		}
	}
	return worst
}

// advance brings active from one interval to the next, by what happens between
// the two. Its time is what stays in the intervals, however much ends in one place.
func (l *level) advance(s *sweep, events []uint64) {
	if len(events) == 0 {
		return
	}
	for _, e := range events {
		if e&1 != 0 {
			l.ended[uint32(e)>>1] = true
		}
	}
	now, k := l.before[:0], 0
	keep := func(below int32) {
		for ; k < len(l.active) && l.active[k] < below; k++ {
			if !l.ended[l.active[k]] {
				now = append(now, l.active[k])
			}
		}
	}
	for _, e := range events { // those of one place are in order of priority
		if i := int32(uint32(e) >> 1); e&1 == 0 && s.stays(int(i)) {
			keep(i)
			now = append(now, i)
		}
	}
	keep(math.MaxInt32)
	l.active, l.before = now, l.active
}

// child returns the subtree of the active boxes, built now or before.
func (b *builder) child(l *level, inside *region, copies float64, depth int) subtree {
	l.child = l.child[:0]
	hash := uint64(14695981039346656037)
	for _, i := range l.active {
		l.child = append(l.child, l.list[i])
		hash = (hash ^ uint64(i)) * 1099511628211
		if l.full[i] {
			break
		}
	}
	if len(l.child) == 0 {
		return emptyTree
	}
	if len(l.child) <= b.limits.leaf {
		return b.build(l.child, inside, copies, depth+1)
	}
	if m, ok := l.made[hash]; ok && slices.Equal(l.lists[m.from:m.to], l.child) {
		return m.subtree
	}
	m := made{from: len(l.lists)}
	l.lists = append(l.lists, l.child...)
	m.to = len(l.lists)
	m.subtree = b.build(l.child, inside, copies, depth+1)
	l.made[hash] = m
	return m.subtree
}

// index writes the cuts of n and the buckets that lead to them.
func (b *builder) index(n *node, cuts []cut) {
	first := uint32(len(b.out.cuts))
	b.out.cuts = append(b.out.cuts, cuts...)
	n.root = uint32(len(b.out.roots))
	b.out.roots = append(b.out.roots, first)
	if len(cuts) > 1 {
		n.base = cuts[1].at
		width := cuts[len(cuts)-1].at - n.base
		n.shift = uint8(max(0, bits.Len32(width)-bits.Len32(uint32(len(cuts)))))
		n.last = width >> n.shift
		at := 0
		for k := uint32(1); k <= n.last; k++ {
			for at+1 < len(cuts) && cuts[at+1].at <= n.base+k<<n.shift {
				at++
			}
			b.out.roots = append(b.out.roots, first+uint32(at))
		}
	}
	b.out.roots = append(b.out.roots, first+uint32(len(cuts))-1)
}
