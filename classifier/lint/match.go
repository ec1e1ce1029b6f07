package lint

import (
	"net/netip"
	"slices"

	"turnout/classifier"
)

// A side is what an entry says of the destination, or of the source.
type side struct {
	in      []netip.Prefix
	sets    []int
	not     []netip.Prefix
	notSets []int
}

func dst(e *classifier.Entry) side { return side{e.To, e.ToSets, e.NotTo, e.NotToSets} }
func src(e *classifier.Entry) side { return side{e.From, e.FromSets, e.NotFrom, e.NotFromSets} }

// any reports whether no address is named.
func (s side) any() bool { return len(s.in)+len(s.sets) == 0 }

var (
	all4 = netip.MustParsePrefix("0.0.0.0/0")
	all6 = netip.MustParsePrefix("::/0")
)

// maxAtoms bounds how many prefixes of one entry are looked at, where looking
// at a part is enough.
const maxAtoms = 64

// atoms are the prefixes that s names, a part of them when they are many.
func (l *checker) atoms(s side) []netip.Prefix {
	if s.any() {
		return []netip.Prefix{all4, all6}
	}
	if len(s.sets) == 0 {
		return s.in[:min(len(s.in), maxAtoms)]
	}
	out := slices.Clone(s.in)
	for _, set := range s.sets {
		list := l.Sets[set].Prefixes
		out = append(out, list[:min(len(list), maxAtoms)]...)
	}
	return out[:min(len(out), maxAtoms)]
}

// contains reports whether entry i matches all that entry j matches; false
// where that would be hard to tell.
func (l *checker) contains(i, j int32) bool {
	f, e := &l.Entries[i], &l.Entries[j]
	return l.index.hulls[i].holds(&l.index.hulls[j]) &&
		subset(f.Protos, e.Protos) && subset(f.DSCP, e.DSCP) && subset(f.Tags, e.Tags) &&
		portSubset(f.Ports, e.Ports) && portSubset(f.FromPorts, e.FromPorts) &&
		l.holds(dst(f), dst(e)) && l.holds(src(f), src(e))
}

// subset reports whether list has all of part; an empty one is everything.
func subset[T comparable](list, part []T) bool {
	if len(list) == 0 {
		return true
	}
	for _, v := range part {
		if !slices.Contains(list, v) {
			return false
		}
	}
	return len(part) > 0
}

func portSubset(list, part []classifier.PortRange) bool {
	if len(list) == 0 {
		return true
	}
	if len(part) == 0 {
		return false
	}
	merged := merge(list)
	for _, r := range part {
		if !slices.ContainsFunc(merged, func(m classifier.PortRange) bool { return m.Lo <= r.Lo && r.Hi <= m.Hi }) {
			return false
		}
	}
	return true
}

// holds reports whether f matches every address that e matches.
func (l *checker) holds(f, e side) bool {
	return l.named(f.in, f.sets, e) && l.spares(f, e)
}

// named reports whether the prefixes and sets, everything if there are none,
// hold every address that e names.
func (l *checker) named(in []netip.Prefix, sets []int, e side) bool {
	if len(in)+len(sets) == 0 {
		return true
	}
	if e.any() {
		return l.inOne(in, sets, all4) && l.inOne(in, sets, all6)
	}
	for _, p := range e.in {
		if !l.inOne(in, sets, p) {
			return false
		}
	}
	for _, s := range e.sets {
		if slices.Contains(sets, s) {
			continue
		}
		for _, p := range l.Sets[s].Prefixes {
			l.work--
			if !l.inOne(in, sets, p) {
				return false
			}
		}
	}
	return true
}

// inOne reports whether one of the prefixes, also of the sets, holds p.
func (l *checker) inOne(in []netip.Prefix, sets []int, p netip.Prefix) bool {
	return slices.ContainsFunc(in, func(q netip.Prefix) bool { return within(q, p) }) || l.index.has(sets, p.Masked())
}

// spares reports whether f excludes nothing that e matches.
func (l *checker) spares(f, e side) bool {
	for _, q := range f.not {
		if l.touchesSide(e, q) && !l.inOne(e.not, e.notSets, q) {
			return false
		}
	}
	for _, s := range f.notSets {
		apart := len(e.in) > 0 && len(e.sets) == 0 && !slices.ContainsFunc(e.in, func(p netip.Prefix) bool {
			return l.index.touches([]int{s}, p.Masked(), true)
		})
		if !apart && !slices.Contains(e.notSets, s) {
			return false
		}
	}
	return true
}

// touchesSide reports whether s names an address of q; true where it may.
func (l *checker) touchesSide(s side, q netip.Prefix) bool {
	return s.any() || len(s.sets) > 0 || slices.ContainsFunc(s.in, q.Overlaps)
}

// excludesAll reports whether s takes away all that it names.
func (l *checker) excludesAll(s side) bool {
	return len(s.not)+len(s.notSets) > 0 && l.named(s.not, s.notSets, s)
}

// meets reports whether entries i and j have a packet in common; false where
// that would be hard to tell.
func (l *checker) meets(i, j int32) bool {
	f, e := &l.Entries[i], &l.Entries[j]
	return common(f.Protos, e.Protos) && common(f.DSCP, e.DSCP) && common(f.Tags, e.Tags) &&
		portsMeet(f.Ports, e.Ports) && portsMeet(f.FromPorts, e.FromPorts) &&
		l.sidesMeet(dst(f), dst(e)) && l.sidesMeet(src(f), src(e))
}

func common[T comparable](a, b []T) bool {
	return len(a) == 0 || len(b) == 0 || slices.ContainsFunc(a, func(v T) bool { return slices.Contains(b, v) })
}

func portsMeet(a, b []classifier.PortRange) bool {
	if len(a) == 0 || len(b) == 0 {
		return true
	}
	return slices.ContainsFunc(a, func(r classifier.PortRange) bool {
		return slices.ContainsFunc(b, func(s classifier.PortRange) bool { return r.Lo <= s.Hi && s.Lo <= r.Hi })
	})
}

// sidesMeet looks for an address that both name and neither excludes.
func (l *checker) sidesMeet(f, e side) bool {
	if f.any() && e.any() {
		return true
	}
	if e.any() {
		f, e = e, f
	}
	for _, p := range l.atoms(e) {
		if l.inOne(e.not, e.notSets, p) || l.inOne(f.not, f.notSets, p) {
			continue
		}
		if f.any() || l.inOne(f.in, f.sets, p) || l.index.touches(f.sets, p.Masked(), false) {
			return true
		}
		for _, q := range f.in {
			if within(p, q) && !l.inOne(e.not, e.notSets, q) && !l.inOne(f.not, f.notSets, q) {
				return true
			}
		}
	}
	return false
}

// compare holds entry i against those before it: it returns one that takes all
// that i matches, -1 if there is none, and remembers in overlaps some that
// have packets in common with it.
func (l *checker) compare(i int32) (cover int32) {
	l.overlaps, cover = l.overlaps[:0], -1
	mine := &l.index.hulls[i]
	try := func(j int32) bool {
		l.work--
		if l.seen[j] == i+1 || !l.index.hulls[j].meets(mine) {
			return true
		}
		l.seen[j] = i + 1
		l.work -= 8
		if l.contains(j, i) {
			cover = j
			return false
		}
		if len(l.overlaps) < maxOverlaps && l.meets(j, i) {
			l.overlaps = append(l.overlaps, j)
		}
		return l.work > 0
	}
	for _, j := range l.index.any {
		if j >= i || !try(j) {
			break
		}
	}
	for _, p := range l.atoms(dst(&l.Entries[i])) {
		for j := range l.index.before(i, p.Masked()) {
			if cover >= 0 || !try(j) {
				break
			}
		}
	}
	slices.Sort(l.overlaps)
	return cover
}
