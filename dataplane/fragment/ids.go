package fragment

import (
	"hash/maphash"
	"math/rand/v2"
	"sync/atomic"

	"turnout/classifier/packet"
)

// IDs hands out IPv4 identifications for datagrams whose source was translated
// to an address that others share. Hosts number their datagrams without
// knowing of each other, and a receiver that got one number from two of them
// at a time would mix their fragments (RFC 6864, 5.3.1).
//
// A destination and protocol have one of a fixed number of counters, which
// they share with others, so a number comes again after 65,535 datagrams at
// the earliest if they were all for the same counter. Which one it is, and
// where it began, cannot be told from outside.
type IDs struct {
	seed     maphash.Seed
	counters [2048]atomic.Uint32 // the next identification
}

// NewIDs returns counters that begin at random.
func NewIDs() *IDs {
	s := &IDs{seed: maphash.MakeSeed()}
	for i := range s.counters {
		s.counters[i].Store(1 + rand.Uint32N(maxID))
	}
	return s
}

const maxID = 65535

// Next reserves n identifications in a row (1 to 65,535) for datagrams of proto
// to dst and returns the first. Neither 0, which says elsewhere in this package
// that there is none, nor a turn from the highest to the lowest is among them.
// It may be called from any goroutine.
func (s *IDs) Next(dst packet.Addr, proto uint8, n int) uint16 {
	h := maphash.Comparable(s.seed, struct {
		dst   packet.Addr
		proto uint64
	}{dst, uint64(proto)})
	counter := &s.counters[h%uint64(len(s.counters))]
	for {
		next := counter.Load()
		first := next
		if first+uint32(n)-1 > maxID {
			first = 1
		}
		if counter.CompareAndSwap(next, first+uint32(n)) {
			return uint16(first)
		}
	}
}
