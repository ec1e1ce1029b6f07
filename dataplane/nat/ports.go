package nat

import (
	"math/bits"
	"math/rand/v2"

	"turnout/classifier/packet"
)

// A portSet says which ports, or ICMP identifiers, of one address are in use.
type portSet [1 << 16 / 64]uint64

func (s *portSet) has(p uint16) bool { return s[p>>6]>>(p&63)&1 != 0 }
func (s *portSet) set(p uint16)      { s[p>>6] |= 1 << (p & 63) }
func (s *portSet) clear(p uint16)    { s[p>>6] &^= 1 << (p & 63) }

// A span is a set of ports to choose from: whole 64-port words, first to last,
// and in each of them the ports of mask.
type span struct {
	first, last uint16
	mask        uint64
}

const (
	anyParity = ^uint64(0)
	even      = anyParity / 3 // 0x5555…
	odd       = even << 1
	system    = 1024 / 64 // words of the ports below 1024
	words     = 1 << 16 / 64
)

// Where to look for a port when the wanted one is taken, in this order: the
// same parity and the same side of 1024 come first (RFC 4787, REQ-3a and
// REQ-4). A port from above never falls below 1024.
var (
	evenHigh = []span{{system, words - 1, even}, {system, words - 1, odd}}
	oddHigh  = []span{{system, words - 1, odd}, {system, words - 1, even}}
	evenLow  = append([]span{{0, system - 1, even}, {0, system - 1, odd}}, evenHigh...)
	oddLow   = append([]span{{0, system - 1, odd}, {0, system - 1, even}}, oddHigh...)
	echo     = []span{{0, words - 1, anyParity}}
)

// spans returns where to look for a port in place of want.
func spans(proto uint8, want uint16) []span {
	switch {
	case proto == packet.ICMP || proto == packet.ICMPv6:
		return echo
	case want >= 1024 && want%2 == 0:
		return evenHigh
	case want >= 1024:
		return oddHigh
	case want%2 == 0:
		return evenLow
	}
	return oddLow
}

// random returns a port of sp to start at, unpredictable to an outsider
// (RFC 6056).
func (sp span) random() uint16 {
	n := uint32(sp.last-sp.first+1) * 64
	return uint16(uint32(sp.first)*64 + rand.Uint32N(n))
}

// free finds a port of sp that nobody has, the next at or after start, turning
// round at the end. It reads each word at most twice.
func (p *portTable) free(sp span, start uint16) (uint16, bool) {
	w := start >> 6
	usable := sp.mask &^ (1<<(start&63) - 1)
	for range int(sp.last-sp.first) + 2 {
		if left := ^(p.used[w] | p.reserved[w]) & usable; left != 0 {
			return w<<6 | uint16(bits.TrailingZeros64(left)), true
		}
		usable = sp.mask
		if w++; w > sp.last {
			w = sp.first
		}
	}
	return 0, false
}

// pick returns want if it is free, else another port near in kind.
func (p *portTable) pick(proto uint8, want uint16) (uint16, bool) {
	if !p.used.has(want) && !p.reserved.has(want) {
		return want, true
	}
	for _, sp := range spans(proto, want) {
		if port, ok := p.free(sp, sp.random()); ok {
			return port, true
		}
	}
	return 0, false
}
