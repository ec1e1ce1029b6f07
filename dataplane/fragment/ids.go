package fragment

import (
	"hash/maphash"
	"math/rand/v2"
	"sync/atomic"

	"turnout/classifier/packet"
)

// IDs hands out IPv4 identifications. Datagrams of several hosts that leave
// with one source address must not use one number towards one destination at
// the same time (RFC 6864, 5.3.1); a counter for each destination and protocol
// keeps them apart, and as Linux does it, many destinations share one. It is
// safe for concurrent use.
type IDs struct {
	seed     maphash.Seed
	counters [2048]atomic.Uint32
}

// NewIDs returns counters that start at random.
func NewIDs() *IDs {
	s := &IDs{seed: maphash.MakeSeed()}
	for i := range s.counters {
		s.counters[i].Store(rand.Uint32())
	}
	return s
}

// Next returns the first of n numbers in a row, modulo 65,536, for datagrams
// to dst.
func (s *IDs) Next(dst packet.Addr, proto uint8, n int) uint16 {
	h := maphash.Comparable(s.seed, struct {
		dst   packet.Addr
		proto uint8
	}{dst, proto})
	return uint16(s.counters[h%uint64(len(s.counters))].Add(uint32(n)) - uint32(n))
}
