package answer

import (
	"encoding/binary"

	"turnout/classifier/packet"
)

const (
	header4 = 20
	header6 = 40
	ttl     = 64
)

// putHeader writes an IP header of src's family for total bytes of packet, and
// returns its length. For IPv4, df with a zero identification makes the
// packet atomic (RFC 6864, 4.1).
func putHeader(b []byte, src, dst packet.Addr, proto uint8, tos uint8, total int) int {
	if !src.Is4() {
		clear(b[:header6])
		b[0], b[1] = 6<<4|tos>>4, tos<<4
		binary.BigEndian.PutUint16(b[4:], uint16(total-header6))
		b[6], b[7] = proto, ttl
		putAddr(b[8:], src)
		putAddr(b[24:], dst)
		return header6
	}
	clear(b[:header4])
	b[0], b[1] = 4<<4|header4/4, tos
	binary.BigEndian.PutUint16(b[2:], uint16(total))
	b[8], b[9] = ttl, proto
	binary.BigEndian.PutUint32(b[12:], src.V4())
	binary.BigEndian.PutUint32(b[16:], dst.V4())
	return header4
}

func putAddr(b []byte, a packet.Addr) {
	binary.BigEndian.PutUint64(b, a.Hi)
	binary.BigEndian.PutUint64(b[8:], a.Lo)
}

// finish fills in the checksums of the packet b, whose header is n bytes long
// and whose transport checksum stands at bytes after it.
func finish(b []byte, n, at int, src, dst packet.Addr, proto uint8) {
	if n == header4 {
		binary.BigEndian.PutUint16(b[10:], ^packet.Checksum(b[:n], 0))
	}
	var initial uint64
	if proto != packet.ICMP { // of IPv4, which has no pseudo-header
		v := packet.View{Src: src, Dst: dst, Proto: proto}
		initial = packet.PseudoSum(&v, len(b)-n)
	}
	binary.BigEndian.PutUint16(b[n+at:], ^packet.Checksum(b[n:], initial))
}

// toOne reports whether v is for one host: nothing else is ever answered, or
// one packet would raise a storm.
func toOne(v *packet.View) bool {
	if v.Version == 6 {
		return v.Dst.Hi>>56 != 0xff
	}
	return v.Dst.V4() < 224<<24 // neither multicast nor 255.255.255.255
}
