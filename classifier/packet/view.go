package packet

// IP protocol numbers that the router knows by name.
const (
	ICMP   = 1
	TCP    = 6
	UDP    = 17
	ICMPv6 = 58
)

// TCP flag bits, as in octet 13 of the header (RFC 9293, 3.1).
const (
	FIN = 1 << iota
	SYN
	RST
	PSH
	ACK
	URG
)

// Fragment says which part of a datagram a packet is.
type Fragment uint8

const (
	Whole Fragment = iota
	First          // offset 0, more to come: the transport header is here
	Later          // offset above 0: no ports in sight
)

// A View says where things are in one IP packet and what flow it belongs to.
// It is owned by the caller and reused from packet to packet; it holds
// offsets and numbers only, so it never keeps a packet alive. All numbers are
// in host byte order.
//
// The fields stand in the order that lets the compiler store neighbours of
// the header, which is in network byte order, with one instruction.
type View struct {
	Src, Dst Addr
	// TCP and UDP; for ICMP echo both are the identifier; else 0.
	DstPort, SrcPort uint16
	ID               uint16 // IPv4 identification (low half of IPv6's)
	Len              uint16 // bytes of the packet by its own header: 20 to 65,535
	L4               uint16 // offset of the transport header
	Payload          uint16 // offset of what follows the TCP, UDP or 8-byte ICMP header
	Proto            uint8  // the transport protocol, extension headers skipped
	TTL              uint8
	TOS              uint8 // DSCP is TOS>>2
	Version          uint8 // 4 or 6
	Flags            uint8 // TCP flag bits
	Type, Code       uint8 // ICMP
	Frag             Fragment
	DF               bool
	HasPorts         bool // TCP or UDP, and the ports are in this very packet
	IsError          bool // ICMP error (RFC 792, 4443): embeds the packet it is about
}
