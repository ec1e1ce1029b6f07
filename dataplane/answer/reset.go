package answer

import (
	"encoding/binary"

	"turnout/classifier/packet"
)

const tcpHeader = 20

// Reset writes into dst the TCP reset that a host answers with when it has no
// such connection (RFC 9293, 3.10.7.1), from orig's destination to its source.
// orig is as it came and v what Decode made of it; a super-packet counts as
// one long segment. It returns the length of the reset, or 0: never about a
// reset, a later fragment, or what was not for one host.
func Reset(dst, orig []byte, v *packet.View) int {
	if v.Proto != packet.TCP || !v.HasPorts || v.Flags&packet.RST != 0 || !toOne(v) {
		return 0
	}
	if v.Frag != packet.Whole && v.Flags&packet.ACK == 0 {
		return 0 // its length is not known
	}
	total := header4 + tcpHeader
	if v.Version == 6 {
		total = header6 + tcpHeader
	}
	if len(dst) < total || len(orig) < int(v.L4)+tcpHeader {
		return 0
	}
	in := orig[v.L4:]
	b := dst[:total]
	n := putHeader(b, v.Dst, v.Src, packet.TCP, 0, total)
	if v.Version == 4 {
		b[6] = 0x40 // DF: it can never need to be cut, and so needs no number (RFC 6864)
	}
	h := b[n:]
	clear(h)
	binary.BigEndian.PutUint16(h, v.DstPort)
	binary.BigEndian.PutUint16(h[2:], v.SrcPort)
	h[12], h[13] = tcpHeader/4<<4, packet.RST
	if v.Flags&packet.ACK != 0 {
		copy(h[4:8], in[8:12]) // SEQ = SEG.ACK
	} else {
		binary.BigEndian.PutUint32(h[8:], binary.BigEndian.Uint32(in[4:])+segmentLen(v))
		h[13] |= packet.ACK
	}
	finish(b, n, 16, v.Dst, v.Src, packet.TCP)
	return total
}

// segmentLen is SEG.LEN: the data, and one for SYN and for FIN.
func segmentLen(v *packet.View) uint32 {
	n := uint32(v.Len - v.Payload)
	if v.Flags&packet.SYN != 0 {
		n++
	}
	if v.Flags&packet.FIN != 0 {
		n++
	}
	return n
}
