package classifier

import (
	"cmp"
	"net/netip"
	"slices"

	"turnout/classifier/packet"
)

// A span is the addresses from lo to hi, both included, of one family.
type span struct{ lo, hi packet.Addr }

// spanOf returns the addresses of a prefix.
func spanOf(p netip.Prefix) span {
	lo, hi := packet.Ends(p)
	return span{lo, hi}
}

// everySpan returns all addresses of a family.
func everySpan(v4 bool) span { return spanOf(everything(v4)) }

// next and prev return the neighbour of an address; the highest and the lowest
// of all are each other's.
func next(a packet.Addr) packet.Addr {
	a.Lo++
	if a.Lo == 0 {
		a.Hi++
	}
	return a
}

func prev(a packet.Addr) packet.Addr {
	if a.Lo == 0 {
		a.Hi--
	}
	a.Lo--
	return a
}

func compareSpan(a, b span) int {
	return cmp.Or(compareAddr(a.lo, b.lo), compareAddr(a.hi, b.hi))
}

// join sorts spans and joins those that overlap or touch.
func join(list []span) []span {
	slices.SortFunc(list, compareSpan)
	out := list[:0]
	for _, s := range list {
		// next of the highest address of all is the lowest, and joins nothing
		// that it should not: what follows it would overlap it.
		if n := len(out); n > 0 && (compareAddr(s.lo, out[n-1].hi) <= 0 || s.lo == next(out[n-1].hi)) {
			if compareAddr(out[n-1].hi, s.hi) < 0 {
				out[n-1].hi = s.hi
			}
			continue
		}
		out = append(out, s)
	}
	return out
}

// without returns what is in list and not in not; both are as join leaves them.
func without(list, not []span) []span {
	if len(not) == 0 {
		return list
	}
	var out []span
	i := 0
	for _, s := range list {
		for i < len(not) && compareAddr(not[i].hi, s.lo) < 0 {
			i++
		}
		rest := true
		for j := i; rest && j < len(not) && compareAddr(not[j].lo, s.hi) <= 0; j++ {
			if compareAddr(s.lo, not[j].lo) < 0 {
				out = append(out, span{s.lo, prev(not[j].lo)})
			}
			if rest = compareAddr(not[j].hi, s.hi) < 0; rest {
				s.lo = next(not[j].hi)
			}
		}
		if rest {
			out = append(out, s)
		}
	}
	return out
}

// bounds returns the smallest span that holds all of list, which is not empty.
func bounds(list []span) span { return span{list[0].lo, list[len(list)-1].hi} }
