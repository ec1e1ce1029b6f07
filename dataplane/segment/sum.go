package segment

import (
	"encoding/binary"
	"math/bits"
)

// The Internet checksum (RFC 1071) is a sum of 16-bit words in which carries
// are added back. Such a sum may be made of wider words and in either byte
// order, as long as the carries come back and the result is swapped. Headers
// are summed word by word as a plain number, so that single fields can be
// taken out again; payloads in blocks of 64 bytes, in vectors where the
// processor has them: half of what a segment costs is this sum.

const block = 64

// words returns the plain sum of the big-endian 16-bit words of b, a header or
// a part of one, of even length.
func words(b []byte) (sum uint64) {
	for ; len(b) >= 2; b = b[2:] {
		sum += uint64(b[0])<<8 | uint64(b[1])
	}
	return sum
}

// word returns the 16-bit word at b[i:], as words counts it.
func word(b []byte, i int) uint64 { return uint64(binary.BigEndian.Uint16(b[i:])) }

// fold brings a sum to 16 bits, carries added back.
func fold(sum uint64) uint16 {
	sum = sum>>32 + sum&0xffffffff
	sum = sum>>32 + sum&0xffffffff
	sum = sum>>16 + sum&0xffff
	sum = sum>>16 + sum&0xffff
	return uint16(sum)
}

// copySum copies src to dst, which must have room, and returns the sum of its
// big-endian 16-bit words, folded; an odd last byte counts as if a zero
// followed.
func copySum(dst, src []byte) uint64 {
	dst = dst[:len(src)]
	n := len(src) &^ (block - 1)
	s := copySumBlocks(dst[:n], src[:n])
	copy(dst[n:], src[n:])
	return uint64(bits.ReverseBytes16(fold(addTail(s, src[n:]))))
}

// sum is copySum without the copy.
func sum(b []byte) uint64 {
	n := len(b) &^ (block - 1)
	return uint64(bits.ReverseBytes16(fold(addTail(sumBlocks(b[:n]), b[n:]))))
}

// addTail adds less than a block to a sum in little-endian words.
func addTail(s uint64, b []byte) uint64 {
	var c uint64
	for len(b) >= 8 {
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(b), 0)
		s += c
		b = b[8:]
	}
	var t uint64
	if len(b) >= 4 {
		t = uint64(binary.LittleEndian.Uint32(b))
		b = b[4:]
	}
	if len(b) >= 2 {
		t += uint64(binary.LittleEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		t += uint64(b[0])
	}
	s, c = bits.Add64(s, t, 0)
	return s + c
}

// sumBlocksPortable sums whole blocks as little-endian 64-bit words, carries
// added back. There are two chains of carries, because each is as slow as its
// longest path.
func sumBlocksPortable(b []byte) uint64 {
	var s, t, c uint64
	for len(b) >= block {
		w := (*[block]byte)(b)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(w[0:]), 0)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(w[8:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(w[16:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(w[24:]), c)
		s += c
		t, c = bits.Add64(t, binary.LittleEndian.Uint64(w[32:]), 0)
		t, c = bits.Add64(t, binary.LittleEndian.Uint64(w[40:]), c)
		t, c = bits.Add64(t, binary.LittleEndian.Uint64(w[48:]), c)
		t, c = bits.Add64(t, binary.LittleEndian.Uint64(w[56:]), c)
		t += c
		b = b[block:]
	}
	s, c = bits.Add64(s, t, 0)
	return s + c
}
