package nat

import (
	"crypto/rand"
	"encoding/binary"
	"math/bits"
)

func ports(a, b uint16) uint32 { return uint32(a)<<16 | uint32(b) }

// A secret keys the hash, so that nobody outside can choose packets that all
// fall into one place of an index.
type secret [4]uint64

func newSecret() (s secret) {
	var b [8 * len(s)]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	for i := range s {
		s[i] = binary.LittleEndian.Uint64(b[8*i:]) | 1
	}
	return s
}

// hash folds 64x64-bit products with the secret, as the Go runtime does for
// its maps where there is no AES; maphash takes 11 to 20 ns for 16 bytes. The
// parts come one by one, in registers: a key put together in memory and read
// back in wider pieces stalls for longer than the hash takes.
func (s *secret) hash(a, b, ports, tag uint32) uint64 {
	hi, lo := bits.Mul64((uint64(a)<<32|uint64(b))^s[0], (uint64(ports)<<32|uint64(tag))^s[1])
	return fold(lo^s[2], hi^s[3])
}

func fold(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}
