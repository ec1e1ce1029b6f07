package packet_test

import "turnout/classifier/packet"

// obvious reads the headers of a packet that decodes in the simplest way, and
// says what contradicts the view, or should have kept it from decoding.
func obvious(b []byte, v *packet.View) string {
	word := func(i int) int { return int(b[i])<<8 | int(b[i+1]) }
	l4, proto, first, whole := 0, byte(0), true, true
	switch b[0] >> 4 {
	case 4:
		l4, proto = int(b[0]&15)*4, b[9]
		frag := word(6)
		first, whole = frag&0x1fff == 0, frag&0x3fff == 0
		switch {
		case l4 < 20 || word(2) != len(b) || b[8] == 0 || frag&0x8000 != 0 || frag&0x6000 == 0x6000:
			return "its IPv4 header is malformed"
		case b[12] == 0 || b[12] == 127 || b[12] >= 224 || b[16] == 0 || b[16] == 127:
			return "its addresses are for no wire"
		case !options(b[20:l4], 131, 137):
			return "its IPv4 options are malformed"
		case !whole && l4+frag&0x1fff*8+len(b)-l4 > 65535:
			return "it ends beyond all packets"
		}
	case 6:
		if word(4)+40 != len(b) || b[7] == 0 || b[8] == 0xff || b[24] == 0xfe && b[25]&0xc0 == 0x80 {
			return "its IPv6 header is malformed"
		}
		l4, proto, first, whole = walk(b)
		if l4 < 0 {
			return "its extension headers are malformed"
		}
	default:
		return "it has no version"
	}
	if proto != v.Proto || l4 != int(v.L4) || first != (v.Frag != packet.Later) || whole != (v.Frag == packet.Whole) {
		return "its transport header is another, or stands elsewhere"
	}
	if !first {
		return ""
	}
	return transport(b[l4:], proto, b[0]>>4, whole)
}

// options reports whether the options of a header are well formed and none of
// the kinds that must not be there.
func options(o []byte, not ...byte) bool {
	for i := 0; i < len(o) && o[i] != 0; {
		for _, kind := range not {
			if o[i] == kind {
				return false
			}
		}
		if o[i] == 1 {
			i++
			continue
		}
		if i+1 >= len(o) || o[i+1] < 2 || i+int(o[i+1]) > len(o) {
			return false
		}
		i += int(o[i+1])
	}
	return true
}

// walk follows the extension headers of IPv6, to -1 where they go wrong.
func walk(b []byte) (l4 int, proto byte, first, whole bool) {
	at, next, first, whole := 40, b[6], true, true
	for n := 0; next == 0 || next == 43 || next == 44 || next == 60; n++ {
		if at+8 > len(b) || n == 8 || next == 0 && at != 40 || next == 43 && b[at+2] == 0 {
			return -1, 0, false, false
		}
		size := 8
		if next == 44 {
			whole = b[at+2]|b[at+3]&0xf9 == 0
			first = b[at+2]|b[at+3]&0xf8 == 0
		} else {
			size += int(b[at+1]) * 8
		}
		next, at = b[at], at+size
		if !first {
			return at, next, first, whole
		}
	}
	if at > len(b) || at > 40+256 || next == 59 {
		return -1, 0, false, false
	}
	return at, next, first, whole
}

// transport reads a transport header.
func transport(t []byte, proto, version byte, whole bool) string {
	word := func(i int) int { return int(t[i])<<8 | int(t[i+1]) }
	switch {
	case proto == packet.TCP:
		const fin, syn, rst, ack = packet.FIN, packet.SYN, packet.RST, packet.ACK
		if len(t) < 20 || t[12]>>4 < 5 || int(t[12]>>4)*4 > len(t) || word(0) == 0 || word(2) == 0 {
			return "its TCP header is malformed"
		}
		f := t[13]
		if f&syn != 0 && f&(fin|rst) != 0 || f&(syn|rst|ack) == 0 || f&fin != 0 && f&(ack|rst) != ack || !options(t[20:int(t[12]>>4)*4]) {
			return "its TCP flags or options are impossible"
		}
	case proto == packet.UDP:
		if len(t) < 8 || word(0) == 0 || word(2) == 0 || whole && word(4) != len(t) || version == 6 && word(6) == 0 {
			return "its UDP header is malformed"
		}
	case proto == packet.ICMP && version == 4, proto == packet.ICMPv6 && version == 6:
		if len(t) < 8 {
			return "its ICMP header is malformed"
		}
	}
	return ""
}
