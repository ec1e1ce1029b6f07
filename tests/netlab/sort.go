package netlab

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

type kind uint8

const (
	isLeak kind = iota
	isWireGuard
	isOwn
	isToLAN
)

const etherLen = 14

// sort says what an Ethernet frame on the uplink is, and describes it if it is
// none of the things that may be there.
func (l *Lab) sort(frame []byte) (kind, string) {
	if len(frame) < etherLen {
		return isLeak, fmt.Sprintf("a frame of %d bytes", len(frame))
	}
	payload := frame[etherLen:]
	switch typ := binary.BigEndian.Uint16(frame[12:]); typ {
	case unix.ETH_P_ARP:
		return isOwn, ""
	case unix.ETH_P_IP:
		return l.sort4(payload)
	case unix.ETH_P_IPV6:
		return l.sort6(payload)
	default:
		return isLeak, fmt.Sprintf("EtherType %#04x", typ)
	}
}

func (l *Lab) sort4(b []byte) (kind, string) {
	if len(b) < 20 || len(b) < int(b[0]&15)*4 {
		return isLeak, "a truncated IPv4 header"
	}
	src, dst := netip.AddrFrom4([4]byte(b[12:])), netip.AddrFrom4([4]byte(b[16:]))
	header := int(b[0]&15) * 4
	var sport, dport uint16
	if len(b) >= header+4 {
		sport, dport = binary.BigEndian.Uint16(b[header:]), binary.BigEndian.Uint16(b[header+2:])
	}
	if b[9] == unix.IPPROTO_UDP && src == l.UplinkAddr() && l.isEndpoint(netip.AddrPortFrom(dst, dport)) {
		return isWireGuard, ""
	}
	if l.Options.Layout == Stick && LAN.Contains(dst) {
		return isToLAN, ""
	}
	if b[9] == unix.IPPROTO_ICMP && src == l.UplinkAddr() && l.refusesWireGuard(b[header:]) {
		return isOwn, ""
	}
	return isLeak, fmt.Sprintf("IPv4 protocol %d %s port %d to %s port %d, TTL %d", b[9], src, sport, dst, dport, b[8])
}

// refusesWireGuard says whether an ICMP message tells a server that its tunnel's
// port is closed, as the kernel does once the router is gone. What it quotes is
// encrypted.
func (l *Lab) refusesWireGuard(b []byte) bool {
	const unreachable, port = 3, 3
	if len(b) < 8+20 || b[0] != unreachable || b[1] != port {
		return false
	}
	quoted := b[8:]
	header := int(quoted[0]&15) * 4
	if quoted[9] != unix.IPPROTO_UDP || len(quoted) < header+4 {
		return false
	}
	from := netip.AddrPortFrom(netip.AddrFrom4([4]byte(quoted[12:])), binary.BigEndian.Uint16(quoted[header:]))
	to := netip.AddrFrom4([4]byte(quoted[16:]))
	return l.isEndpoint(from) && to == l.UplinkAddr()
}

func (l *Lab) isEndpoint(a netip.AddrPort) bool {
	for _, s := range l.Servers {
		if s.Endpoint == a {
			return true
		}
	}
	return false
}

func (l *Lab) sort6(b []byte) (kind, string) {
	if len(b) < 40 {
		return isLeak, "a truncated IPv6 header"
	}
	src, dst := netip.AddrFrom16([16]byte(b[8:])), netip.AddrFrom16([16]byte(b[24:]))
	next, rest := b[6], b[40:]
	if next == 0 && len(rest) >= 8 { // hop-by-hop options, as MLD has them
		next, rest = rest[0], rest[min(len(rest), int(rest[1])*8+8):]
	}
	// Router and neighbour discovery 133 to 137, multicast listeners 130 to 132 and 143:
	// messages that no router forwards.
	if next == unix.IPPROTO_ICMPV6 && len(rest) > 0 && (rest[0] >= 130 && rest[0] <= 137 || rest[0] == 143) && !LAN6.Contains(src) {
		return isOwn, ""
	}
	if l.Options.Layout == Stick && (LAN6.Contains(dst) || dst.IsLinkLocalUnicast() || dst.IsMulticast()) {
		return isToLAN, ""
	}
	return isLeak, fmt.Sprintf("IPv6 protocol %d %s to %s, hop limit %d", next, src, dst, b[7])
}
