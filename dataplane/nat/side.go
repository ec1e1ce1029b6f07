package nat

import "turnout/classifier/packet"

// ICMP and ICMPv6 types that the table knows (RFC 792, RFC 4443).
const (
	echoRequest4, echoReply4 = 8, 0
	echoRequest6, echoReply6 = 128, 129
)

// knowsPorts reports whether flows of a protocol are told apart by numbers in
// the transport header, which later fragments do not have.
func knowsPorts(proto uint8) bool {
	switch proto {
	case packet.TCP, packet.UDP, packet.ICMP, packet.ICMPv6:
		return true
	}
	return false
}

func isRequest(v *packet.View) bool {
	return v.Proto == packet.ICMP && v.Type == echoRequest4 || v.Proto == packet.ICMPv6 && v.Type == echoRequest6
}

func isReply(v *packet.View) bool {
	return v.Proto == packet.ICMP && v.Type == echoReply4 || v.Proto == packet.ICMPv6 && v.Type == echoReply6
}

// Echoes have one identifier for both ends, which goes with the near host. In
// the place of the other end's port stands who began: pings of both ends to
// each other that happen to share an identifier are two flows.
const (
	askedByNear = 0
	askedByFar  = 1
)

// outPorts returns the numbers that name the flow of a packet from the near
// side. An ICMP message that is neither echo nor error belongs to no flow.
func outPorts(v *packet.View) (lan, remote uint16, ok bool) {
	switch v.Proto {
	case packet.TCP, packet.UDP:
		return v.SrcPort, v.DstPort, v.HasPorts || v.Frag == packet.Later
	case packet.ICMP, packet.ICMPv6:
		if isReply(v) {
			return v.SrcPort, askedByFar, true
		}
		return v.SrcPort, askedByNear, isRequest(v)
	}
	return 0, 0, true
}

// inPorts is the same for a packet from the far side.
func inPorts(v *packet.View) (port, far uint16, ok bool) {
	switch v.Proto {
	case packet.TCP, packet.UDP:
		return v.DstPort, v.SrcPort, v.HasPorts || v.Frag == packet.Later
	case packet.ICMP, packet.ICMPv6:
		if isRequest(v) {
			return v.DstPort, askedByFar, true
		}
		return v.DstPort, askedByNear, isReply(v)
	}
	return 0, 0, true
}

// carried reports whether an ICMP error is of a kind that a NAT must carry:
// unreachable, too big, time exceeded, parameter problem. Redirects and source
// quench are not for strangers to send.
func carried(v *packet.View) bool {
	if v.Proto == packet.ICMPv6 {
		return v.Type >= 1 && v.Type <= 4
	}
	return v.Type == 3 || v.Type == 11 || v.Type == 12
}
