package packet

import "encoding/binary"

// be16 and be32 read the network's byte order.
func be16(b []byte) uint16 { return binary.BigEndian.Uint16(b) }
func be32(b []byte) uint32 { return binary.BigEndian.Uint32(b) }

// Decode reads the headers of the IP packet at the start of b and says where
// things are. b may be longer than the packet: v.Len is what the packet's own
// header says, and the caller trims to it. Checksums are not verified; see
// VerifyHeader. When the answer is not OK, v holds nothing of use.
func (v *View) Decode(b []byte) Reason {
	*v = View{}
	if len(b) < 20 {
		return runt(b)
	}
	switch b[0] >> 4 {
	case 4:
		return v.decode4(b)
	case 6:
		return v.decode6(b)
	}
	return BadVersion
}

// runt names what is wrong with a packet that no IP header fits into.
func runt(b []byte) Reason {
	if len(b) > 0 && b[0]>>4 != 4 && b[0]>>4 != 6 {
		return BadVersion
	}
	return BadLength
}

// transport reads the header at l4 of b, which ends where the packet ends.
func (v *View) transport(b []byte, l4 int) Reason {
	v.L4, v.Payload = uint16(l4), uint16(l4)
	t := b[l4:]
	switch v.Proto {
	case TCP:
		return v.tcp(t)
	case UDP:
		return v.udp(t)
	case ICMP:
		if v.Version == 4 {
			return v.icmp(t)
		}
	case ICMPv6:
		if v.Version == 6 {
			return v.icmp(t)
		}
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

func (v *View) tcp(t []byte) Reason {
	if len(t) < 20 {
		return v.short(BadTCP)
	}
	v.SrcPort, v.DstPort = be16(t), be16(t[2:])
	v.Flags = t[13] & 0x3f
	if v.SrcPort == 0 || v.DstPort == 0 || legalFlags>>(v.Flags&(FIN|SYN|RST|ACK))&1 == 0 {
		return BadTCP
	}
	n := int(t[12]>>4) * 4
	if n < 20 || n > len(t) {
		return BadTCP
	}
	if n > 20 && !(n == 32 && be32(t[20:]) == timestamps) && !tcpOptions(t[20:n]) {
		return BadTCP
	}
	v.HasPorts = true
	v.Payload += uint16(n)
	return OK
}

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
