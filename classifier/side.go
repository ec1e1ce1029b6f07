package classifier

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

// A side is the addresses of one family that an entry takes, as its source or
// as its destination: spans in order that do not touch. They may be shared and
// must not be changed.
type side struct {
	spans []span
	key   string // the same for the same lists and named sets; "": one span, or none
}

// A sideMaker makes the sides of one family. It knows those that named sets
// make, so that a set of 100,000 prefixes is read once, however many entries
// use it.
type sideMaker struct {
	p     *Policy
	v4    bool
	every []span            // all addresses of the family
	named [][]span          // by number of the named set; nil: not asked for yet
	known map[string][]span // by key
}

func newSideMaker(p *Policy, v4 bool) sideMaker {
	return sideMaker{p, v4, []span{everySpan(v4)}, make([][]span, len(p.Sets)), map[string][]span{}}
}

// A choice is how an entry names addresses: those in a list or in a set, all
// when there is neither.
type choice struct {
	list []netip.Prefix
	sets []int
}

func (e *Entry) to() (in, not choice) { return choice{e.To, e.ToSets}, choice{e.NotTo, e.NotToSets} }
func (e *Entry) from() (in, not choice) {
	return choice{e.From, e.FromSets}, choice{e.NotFrom, e.NotFromSets}
}

func (c choice) empty() bool { return len(c.list)+len(c.sets) == 0 }

// side returns what is in and not in not.
func (m *sideMaker) side(in, not choice) side {
	if not.empty() && len(in.list) <= 1 && len(in.sets) == 0 { // nearly every one
		return side{spans: m.make(in, not)}
	}
	key := m.key(in, not)
	spans, ok := m.known[key]
	if !ok {
		spans = m.make(in, not)
		m.known[key] = spans
	}
	return side{spans, key}
}

func (m *sideMaker) make(in, not choice) []span {
	if in.empty() {
		return without(m.every, m.union(not))
	}
	return without(m.union(in), m.union(not))
}

// union returns the addresses of a list and of named sets.
func (m *sideMaker) union(c choice) []span {
	switch {
	case len(c.list) == 0 && len(c.sets) == 1:
		return m.set(c.sets[0])
	case len(c.list) == 1 && len(c.sets) == 0 && c.list[0].Addr().Is4() == m.v4:
		return []span{spanOf(c.list[0])}
	}
	var out []span
	for _, q := range c.list {
		if q.Addr().Is4() == m.v4 {
			out = append(out, spanOf(q))
		}
	}
	for _, n := range c.sets {
		out = append(out, m.set(n)...)
	}
	return join(out)
}

// set returns the addresses of a named set.
func (m *sideMaker) set(n int) []span {
	if m.named[n] == nil {
		m.named[n] = append([]span{}, m.union(choice{list: m.p.Sets[n].Prefixes})...)
	}
	return m.named[n]
}

// key returns the same string for the same prefixes and sets in any order.
func (m *sideMaker) key(choices ...choice) string {
	var b []byte
	for _, c := range choices {
		numbers := slices.Clone(c.sets)
		slices.Sort(numbers)
		b = binary.AppendUvarint(b, uint64(len(numbers)))
		for _, n := range numbers {
			b = binary.AppendUvarint(b, uint64(n))
		}
		spans := make([]span, len(c.list))
		for i, q := range c.list {
			spans[i] = spanOf(q)
		}
		slices.SortFunc(spans, compareSpan)
		b = binary.AppendUvarint(b, uint64(len(spans)))
		for _, s := range spans {
			for _, n := range [...]uint64{s.lo.Hi, s.lo.Lo, s.hi.Hi, s.hi.Lo} {
				b = binary.BigEndian.AppendUint64(b, n)
			}
		}
	}
	return string(b)
}
