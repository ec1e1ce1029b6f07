package packet

import "encoding/binary"

// be16, be32 and be64 read the network's byte order.
func be16(b []byte) uint16 { return binary.BigEndian.Uint16(b) }
func be32(b []byte) uint32 { return binary.BigEndian.Uint32(b) }
func be64(b []byte) uint64 { return binary.BigEndian.Uint64(b) }

// Decode reads the headers of the IP packet at the start of b and says where
// things are. b may be longer than the packet: v.Len is what the packet's own
// header says, and the caller trims to it. Checksums are not verified; see
// VerifyHeader. When the answer is not OK, v holds nothing of use.
//
// What nearly every packet is, stands in this one function; what is rare is
// called at an end, so that nothing must be kept over the call. It takes as
// long as it has stores to make: numbers that are neighbours in v are put
// together first and stored at once.
func (v *View) Decode(b []byte) Reason {
	if len(b) < 20 {
		return runt(b)
	}
	*v = View{}

	// 1. The IP header: where the transport header stands, and which it is.
	var l4, total int
	var proto uint8
	w := be64(b)
	switch w >> 60 {
	case 4: // version, header length, TOS, total length, identification, fragment
		l4, total = int(w>>56&15)*4, int(w>>32&0xffff)
		if l4 < 20 || total < l4 || total > len(b) {
			return length4(l4, total, len(b))
		}
		x := be64(b[8:]) // TTL, protocol, checksum, source
		src, dst := uint32(x), be32(b[16:])
		if noSource[src>>24] || noDestination[dst>>24] || src == dst {
			return BadAddress
		}
		v.Src.Lo, v.Dst.Lo = v4Mapped|uint64(src), v4Mapped|uint64(dst)
		v.ID, v.Len = uint16(w>>16), uint16(w>>32)
		proto = uint8(x >> 48)
		v.kind(uint32(x>>48) | uint32(w>>48&0xff)<<16 | 4<<24)
		v.DF = w&flagDF != 0
		if x>>56 == 0 {
			return BadHeader
		}
		if w&(0xff<<56|0xffff&^flagDF) != 0x45<<56 {
			return v.rare4(b[:total], l4, uint16(w))
		}
	case 6: // version, traffic class, flow label, payload length, next header, hop limit
		// In int, because the sum of a hostile length and 40 wraps in 16 bits.
		l4, total = 40, 40+int(w>>16&0xffff)
		if total > len(b) || total > 65535 {
			return BadLength
		}
		src, dst := addr16(b[8:24]), addr16(b[24:40])
		if (odd6[src.Hi>>56] || odd6[dst.Hi>>56]) && bad6(src, dst) || src == dst {
			return BadAddress
		}
		v.Src, v.Dst = src, dst
		proto = uint8(w >> 8)
		v.kind(uint32(proto) | uint32(w&0xff)<<8 | uint32(w>>52&0xff)<<16 | 6<<24)
		v.Len = uint16(total)
		v.DF = true // no router fragments IPv6
		if uint8(w) == 0 {
			return BadHeader
		}
		if proto != TCP && proto != UDP && proto != ICMPv6 {
			return v.rare6(b[:total])
		}
	default:
		return BadVersion
	}

	// 2. The transport header: here, of a TCP segment like most.
	if proto == TCP && total-l4 >= 20 {
		t := b[l4:total:total]
		ports, z := be32(t), be16(t[12:])
		if possible(ports, z) && (z>>12 == 5 || z>>12 == 8 && len(t) >= 32 && be32(t[20:]) == timestamps) {
			v.segment(ports, z, l4)
			return OK
		}
	}
	return v.transport(b[l4:total], l4, proto)
}

// kind stores four numbers that are neighbours: protocol, TTL, TOS, version.
func (v *View) kind(all uint32) {
	v.Proto, v.TTL, v.TOS, v.Version = uint8(all), uint8(all>>8), uint8(all>>16), uint8(all>>24)
}

// at stores where the transport header and what follows it begin.
func (v *View) at(l4, payload int) {
	both := uint32(l4) | uint32(payload)<<16
	v.L4, v.Payload = uint16(both), uint16(both>>16)
}

// possible reports whether a TCP sends such ports, and such flags, which stand
// in z beside the header's length.
func possible(ports uint32, z uint16) bool {
	return ports>>16 != 0 && ports&0xffff != 0 && legalFlags>>(z&(FIN|SYN|RST|ACK))&1 != 0
}

// segment stores what the TCP header at l4 says.
func (v *View) segment(ports uint32, z uint16, l4 int) {
	v.DstPort, v.SrcPort = uint16(ports), uint16(ports>>16)
	v.Flags, v.HasPorts = uint8(z&0x3f), true
	v.at(l4, l4+int(z>>12)*4)
}

// tcp reads a TCP header of any kind.
func (v *View) tcp(t []byte, l4 int) Reason {
	if len(t) < 20 {
		return v.short(BadTCP)
	}
	ports, z := be32(t), be16(t[12:])
	if !possible(ports, z) {
		return BadTCP
	}
	v.segment(ports, z, l4)
	if n := int(z>>12) * 4; n < 20 || n > len(t) || !tcpOptions(t[20:n]) {
		return BadTCP
	}
	return OK
}

// runt names what is wrong with a packet that no IP header fits into. That it
// is called tells the compiler that it is rare, and keeps the way of good
// packets straight; length4 likewise.
//
//go:noinline
func runt(b []byte) Reason {
	if len(b) > 0 && b[0]>>4 != 4 && b[0]>>4 != 6 {
		return BadVersion
	}
	return BadLength
}

// transport reads the transport header at the start of t, which is l4 bytes
// into the packet.
func (v *View) transport(t []byte, l4 int, proto uint8) Reason {
	v.at(l4, l4)
	switch {
	case proto == TCP:
		return v.tcp(t, l4)
	case proto == UDP:
		return v.udp(t)
	case proto == ICMP && v.Version == 4, proto == ICMPv6 && v.Version == 6:
		return v.icmp(t)
	}
	return OK
}

// short is the reason for a transport header that does not fit: in a first
// fragment somebody is hiding ports from filters (RFC 1858, RFC 7112).
func (v *View) short(r Reason) Reason {
	if v.Frag == First {
		return BadFragment
	}
	return r
}

// legalFlags has a bit for each combination of FIN, SYN, RST and ACK that a
// TCP ever sends; the rest are scans (null, Xmas, SYN+FIN and so on). PSH,
// URG and the ECN bits go with any of them.
const legalFlags = 1<<SYN | 1<<(SYN|ACK) | 1<<ACK | 1<<(FIN|ACK) | 1<<RST | 1<<(RST|ACK)

// timestamps are the 4 bytes that lead the options of nearly every segment
// in the middle of a connection: NOP, NOP, kind 8, length 10 (RFC 7323, A).
const timestamps = 0x0101080a

func (v *View) udp(t []byte) Reason {
	if len(t) < 8 {
		return v.short(BadUDP)
	}
	v.SrcPort, v.DstPort = be16(t), be16(t[2:])
	n := int(be16(t[4:]))
	if v.SrcPort == 0 || v.DstPort == 0 || n < 8 {
		return BadUDP
	}
	if n != len(t) && (v.Frag == Whole || n < len(t)) {
		return BadUDP
	}
	if v.Version == 6 && t[6]|t[7] == 0 { // RFC 8200, 8.1
		return BadUDP
	}
	v.HasPorts = true
	v.Payload += 8
	return OK
}

func (v *View) icmp(t []byte) Reason {
	if len(t) < 8 {
		return v.short(BadICMP)
	}
	v.Type, v.Code = t[0], t[1]
	v.Payload += 8
	v.icmpKind(t)
	// A path too small for IPv6 is a lie that fragments everything (RFC 8201, 4).
	if v.Version == 6 && v.Type == 2 && be32(t[4:]) < 1280 {
		return BadICMP
	}
	return OK
}

// icmpKind tells errors and echoes from the rest. t holds 8 bytes or more.
func (v *View) icmpKind(t []byte) {
	if v.Version == 4 {
		const errors = 1<<3 | 1<<4 | 1<<5 | 1<<11 | 1<<12 // RFC 792, 1122 3.2.2
		v.IsError = v.Type < 32 && errors>>v.Type&1 != 0
	} else {
		v.IsError = v.Type < 128 // RFC 4443, 2.1
	}
	if v.IsEcho() {
		id := be16(t[4:])
		v.SrcPort, v.DstPort = id, id
	}
}

// IsEcho reports whether v is an ICMP echo request or reply whose identifier
// is in this packet.
func (v *View) IsEcho() bool {
	if v.Frag == Later {
		return false
	}
	switch v.Proto {
	case ICMP:
		return v.Version == 4 && (v.Type == 8 || v.Type == 0)
	case ICMPv6:
		return v.Version == 6 && (v.Type == 128 || v.Type == 129)
	}
	return false
}
