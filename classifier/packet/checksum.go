package packet

import (
	"encoding/binary"
	"math/bits"
)

// Checksum returns the ones-complement sum of b's 16-bit words (RFC 1071),
// folded, not inverted, starting from initial; an odd last byte counts as the
// high half of a word. What a header carries is its complement.
func Checksum(b []byte, initial uint64) uint16 {
	// The sum is the same in either byte order but for a swap at the end
	// (RFC 1071, 2.B). Halves of 32 bits cannot overflow their sums, so
	// nothing waits for a carry.
	var s0, s1, s2, s3 uint64
	for len(b) >= 32 {
		s0 += uint64(binary.LittleEndian.Uint32(b))
		s1 += uint64(binary.LittleEndian.Uint32(b[4:]))
		s2 += uint64(binary.LittleEndian.Uint32(b[8:]))
		s3 += uint64(binary.LittleEndian.Uint32(b[12:]))
		s0 += uint64(binary.LittleEndian.Uint32(b[16:]))
		s1 += uint64(binary.LittleEndian.Uint32(b[20:]))
		s2 += uint64(binary.LittleEndian.Uint32(b[24:]))
		s3 += uint64(binary.LittleEndian.Uint32(b[28:]))
		b = b[32:]
	}
	for len(b) >= 4 {
		s0 += uint64(binary.LittleEndian.Uint32(b))
		b = b[4:]
	}
	if len(b) >= 2 {
		s1 += uint64(binary.LittleEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		s2 += uint64(b[0])
	}
	s := bits.ReverseBytes16(fold(s0 + s1 + s2 + s3))
	return fold(uint64(s) + uint64(fold(initial)))
}

// PseudoSum returns the sum of v's pseudo-header (RFC 9293 3.1, RFC 8200 8.1)
// for l4len bytes of transport header and payload: what Checksum starts from.
func PseudoSum(v *View, l4len int) uint64 {
	return words(v.Src) + words(v.Dst) + uint64(v.Proto) + uint64(l4len>>16) + uint64(l4len&0xffff)
}

// words sums the eight 16-bit words of an address. The 0xffff that a mapped
// IPv4 address has in front is the ones-complement zero.
func words(a Addr) uint64 { return words64(a.Hi) + words64(a.Lo) }

func words64(x uint64) uint64 {
	return x>>48 + x>>32&0xffff + x>>16&0xffff + x&0xffff
}

// fold adds the carries back in until 16 bits are left. Only 0 gives 0.
func fold(s uint64) uint16 {
	s = s>>32 + s&0xffffffff
	s = s>>16 + s&0xffff
	s = s>>16 + s&0xffff
	s = s>>16 + s&0xffff
	return uint16(s)
}

// VerifyHeader checks what Decode does not: the checksum of an IPv4 header,
// and that of a whole ICMP message. The transport checksums of TCP and UDP
// are for the far end. It is for packets out of a tunnel, which no kernel has
// looked at.
func VerifyHeader(b []byte, v *View) Reason {
	b = b[:v.Len]
	if v.Version == 4 && Checksum(b[:v.L4], 0) != 0xffff {
		return BadChecksum
	}
	if v.Frag != Whole {
		return OK
	}
	var initial uint64
	switch {
	case v.Version == 4 && v.Proto == ICMP:
	case v.Version == 6 && v.Proto == ICMPv6:
		initial = PseudoSum(v, len(b)-int(v.L4))
	default:
		return OK
	}
	if Checksum(b[v.L4:], initial) != 0xffff {
		return BadChecksum
	}
	return OK
}
