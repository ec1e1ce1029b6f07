package conf

import (
	"net/netip"
	"slices"

	"turnout/classifier"
)

// A coverage is the union of prefixes: ranges in order that neither overlap
// nor touch.
type coverage []addrRange

type addrRange struct{ first, last netip.Addr }

// newCoverage joins the prefixes of all lists.
func newCoverage(lists ...[]netip.Prefix) coverage {
	var all coverage
	for _, p := range slices.Concat(lists...) {
		all = append(all, rangeOf(p))
	}
	slices.SortFunc(all, func(a, b addrRange) int { return a.first.Compare(b.first) })
	out := all[:0]
	for _, r := range all {
		if n := len(out); n > 0 && out[n-1].reaches(r.first) {
			if out[n-1].last.Less(r.last) {
				out[n-1].last = r.last
			}
			continue
		}
		out = append(out, r)
	}
	return out
}

// reaches reports whether a, which does not come before r, is in r or next to it.
func (r addrRange) reaches(a netip.Addr) bool {
	return r.first.Is4() == a.Is4() && (!r.last.Less(a) || r.last.Next() == a)
}

// holds reports whether all of p is covered.
func (c coverage) holds(p netip.Prefix) bool {
	r := rangeOf(p)
	i, found := slices.BinarySearchFunc(c, r.first, func(c addrRange, a netip.Addr) int { return c.first.Compare(a) })
	if !found {
		i--
	}
	return i >= 0 && c[i].first.Is4() == r.first.Is4() && !c[i].last.Less(r.last)
}

func rangeOf(p netip.Prefix) addrRange {
	first := p.Masked().Addr()
	b := first.AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	last, _ := netip.AddrFromSlice(b)
	return addrRange{first, last}
}

// A reach knows what each tunnel's AllowedIPs cover. It remembers, because a
// policy asks for the same tunnels and sets again and again.
type reach struct {
	cfg     *Config
	sets    []classifier.Set
	tunnels map[classifier.ExitID]coverage
	outside map[reachKey]netip.Prefix
}

type reachKey struct {
	tunnel classifier.ExitID
	set    int
	family family
}

func (r *reach) of(id classifier.ExitID) coverage {
	c, ok := r.tunnels[id]
	if !ok {
		c = newCoverage(r.cfg.Tunnels[id-classifier.FirstNamed].allowed())
		r.tunnels[id] = c
	}
	return c
}

// beyond returns the first prefix of a set that the tunnel does not cover, of
// the families in f; the zero Prefix when it covers all.
func (r *reach) beyond(id classifier.ExitID, set int, f family) netip.Prefix {
	key := reachKey{id, set, f}
	p, known := r.outside[key]
	if known {
		return p
	}
	c := r.of(id)
	for _, q := range r.sets[set].Prefixes {
		if familyOf(q)&f != 0 && !c.holds(q) {
			p = q
			break
		}
	}
	r.outside[key] = p
	return p
}

// inside reports whether a tunnel covers every destination of one family that
// an entry matches. What the entry excludes is not looked at.
func (r *reach) inside(id classifier.ExitID, e *classifier.Entry, f family) bool {
	c := r.of(id)
	if c.holds(everything(f)) {
		return true
	}
	for _, p := range e.To {
		if familyOf(p) == f && !c.holds(p) {
			return false
		}
	}
	for _, s := range e.ToSets {
		if r.beyond(id, s, f).IsValid() {
			return false
		}
	}
	return len(e.To)+len(e.ToSets) > 0
}
