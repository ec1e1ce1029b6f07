package segment

import (
	"encoding/binary"
	"math/bits"
)

// The Internet checksum (RFC 1071) is a sum of 16-bit words in which carries
// are added back. Such a sum may be made of wider words and in either byte
// order, as long as the carries come back and the result is swapped. Headers
// are summed word by word as a plain number, so that single fields can be
// taken out again; payloads eight bytes at a time.

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
// 16-bit words, folded; src counts from an even offset of what is summed.
func copySum(dst, src []byte) uint64 {
	copy(dst, src)
	return sum(src)
}

// sum returns the sum of the big-endian 16-bit words of b, folded; an odd last
// byte counts as if a zero followed.
func sum(b []byte) uint64 {
	var s, t uint64
	for len(b) >= 64 {
		w := (*[64]byte)(b)
		var c, d uint64
		// Two chains of carries, because each is as slow as its longest path.
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(w[0:]), 0)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(w[8:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(w[16:]), c)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(w[24:]), c)
		s += c
		t, d = bits.Add64(t, binary.LittleEndian.Uint64(w[32:]), 0)
		t, d = bits.Add64(t, binary.LittleEndian.Uint64(w[40:]), d)
		t, d = bits.Add64(t, binary.LittleEndian.Uint64(w[48:]), d)
		t, d = bits.Add64(t, binary.LittleEndian.Uint64(w[56:]), d)
		t += d
		b = b[64:]
	}
	s, c := bits.Add64(s, t, 0)
	s += c
	for len(b) >= 8 {
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(b), 0)
		s += c
		b = b[8:]
	}
	if len(b) > 0 {
		var tail [8]byte
		copy(tail[:], b)
		s, c = bits.Add64(s, binary.LittleEndian.Uint64(tail[:]), 0)
		s += c
	}
	return uint64(bits.ReverseBytes16(fold(s)))
}
