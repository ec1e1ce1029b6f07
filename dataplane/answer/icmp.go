package answer

import (
	"encoding/binary"

	"turnout/classifier/packet"
)

// An error is no longer than what every host must be able to take.
const (
	max4 = 576  // RFC 1812, 4.3.2.3
	max6 = 1280 // RFC 4443, 2.4 (c)
)

// internetControl is the precedence of ICMP errors: they matter more than what
// they are about (RFC 1812, 4.3.2.5).
const internetControl = 6 << 5

const packetTooBig = 2 // of ICMPv6: the one error about multicast (RFC 4443, 2.4 (e.3))

// ICMPError writes into dst an ICMP error (of IPv6 when orig is) from the
// router's address src to the sender of orig, quoting as much of orig as fits.
// orig is as it came, v what Decode made of it; a super-packet is quoted by
// its head. mtu is what "fragmentation needed" and "packet too big" tell, in
// bytes, 0 for every other error. It returns the length of the error, or 0:
// never about an ICMP error, a later fragment, what was not for one host, or
// what claims to come from src itself.
func ICMPError(dst, orig []byte, v *packet.View, src packet.Addr, typ, code uint8, mtu uint16) int {
	if v.IsError || v.Frag == packet.Later || src.Is4() != (v.Version == 4) || src == v.Src {
		return 0
	}
	n, limit, proto := header4, max4, uint8(packet.ICMP)
	if v.Version == 6 {
		n, limit, proto = header6, max6, packet.ICMPv6
	}
	if !toOne(v) && !(v.Version == 6 && typ == packetTooBig) {
		return 0
	}
	if len(dst) < n+8 {
		return 0
	}
	quote := orig[:min(len(orig), int(v.Len))]
	quote = quote[:min(len(quote), limit-n-8, len(dst)-n-8)]
	if len(quote) < int(v.L4)+8 && len(quote) < int(v.Len) { // RFC 792: at least 8 bytes of transport
		return 0
	}
	b := dst[:n+8+len(quote)]
	putHeader(b, src, v.Src, proto, internetControl, len(b))
	if v.Version == 4 {
		// Not to be lost for its size: it may be fragmented, so it has a number.
		binary.BigEndian.PutUint16(b[4:], v.ID)
	}
	h := b[n:]
	h[0], h[1] = typ, code
	clear(h[2:8])
	binary.BigEndian.PutUint16(h[6:], mtu) // RFC 1191, 4; the low half of RFC 4443's, 3.2
	copy(h[8:], quote)
	finish(b, n, 2, src, v.Src, proto)
	return len(b)
}
