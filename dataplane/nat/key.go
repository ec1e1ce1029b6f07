package nat

import (
	"crypto/rand"
	"encoding/binary"
	"math/bits"

	"turnout/classifier/packet"
)

// A key is what a mapping or a fragment is found by: two endpoints and a tag.
// Each table has its own use of it, told where the key is built.
type key struct {
	a, b  packet.Addr
	ports uint32 // a's port in the upper half, b's in the lower
	tag   uint32 // protocol, and an exit or binding in the bits above
}

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
// its maps where there is no AES. maphash takes 11 to 20 ns for these 40 bytes,
// this takes 2. The parts come one by one, in registers: a key put together in
// memory and read back in wider pieces stalls for longer than the hash takes.
func (s *secret) hash(a, b packet.Addr, ports, tag uint32) uint64 {
	x := fold(a.Hi^s[0], a.Lo^s[1])
	y := fold(b.Hi^s[2], b.Lo^s[3])
	x = fold(x^uint64(ports)^s[2], uint64(tag)^s[0])
	return fold(x^s[1], y^s[3])
}

func (k *key) hash(s *secret) uint64 { return s.hash(k.a, k.b, k.ports, k.tag) }

func fold(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}
