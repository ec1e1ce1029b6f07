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
	// (RFC 1071, 2.B), and the same for any width of word (2.C). Two sums that
	// do not wait for each other's carries are nearly twice as fast as one.
	var s0, s1, rest uint64
	for ; len(b) >= 64; b = b[64:] {
		p := b[:64:64]
		s0 = add32(s0, p[:32:32])
		s1 = add32(s1, p[32:])
	}
	for ; len(b) >= 4; b = b[4:] {
		rest += uint64(binary.LittleEndian.Uint32(b))
	}
	if len(b) >= 2 {
		rest += uint64(binary.LittleEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		rest += uint64(b[0])
	}
	s := fold(uint64(fold(s0)) + uint64(fold(s1)) + uint64(fold(rest)))
	return fold(uint64(bits.ReverseBytes16(s)) + uint64(fold(initial)))
}

// add32 adds 32 bytes to s, 64 bits at a time; carries go round.
func add32(s uint64, p []byte) uint64 {
	_ = p[31] // BCE
	x, c := bits.Add64(binary.LittleEndian.Uint64(p), binary.LittleEndian.Uint64(p[8:]), 0)
	x, c = bits.Add64(x, binary.LittleEndian.Uint64(p[16:]), c)
	x, c = bits.Add64(x, binary.LittleEndian.Uint64(p[24:]), c)
	s, c = bits.Add64(s, x, c)
	return s + c // cannot wrap: the first addition took no carry in, so no sum that carried is all ones
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
// that of a whole ICMP message, and what an ICMP error says. The transport
// checksums of TCP and UDP are for the far end.
func VerifyHeader(b []byte, v *View) Reason {
	b = b[:v.Len]
	if v.Version == 4 && Checksum(b[:v.L4], 0) != 0xffff {
		return BadChecksum
	}
	if v.Frag == Later {
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
	if v.Frag == Whole && Checksum(b[v.L4:], initial) != 0xffff {
		return BadChecksum
	}
	if v.IsError {
		return v.verifyError(b)
	}
	return OK
}
