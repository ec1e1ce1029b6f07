package kerneltest

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
)

// Packets are built and judged here by slow and obvious code that shares
// nothing with the one under test.

const (
	icmp = 1
	tcp  = 6
	udp  = 17
	gre  = 47
)

func be16(b []byte) uint16 { return binary.BigEndian.Uint16(b) }
func be32(b []byte) uint32 { return binary.BigEndian.Uint32(b) }

func ip4(s string) uint32 {
	a := netip.MustParseAddr(s).As4()
	return be32(a[:])
}

// An ip is an IPv4 packet to be. body is the transport header, its checksum
// still 0, and what follows it.
type ip struct {
	src, dst uint32
	proto    uint8
	id       uint16
	tos      uint8
	df       bool
	options  []byte
	body     []byte
	noSum    bool // UDP without a checksum (RFC 768)
}

const ttl = 64

func (p ip) bytes() []byte {
	n := 20 + len(p.options)
	b := make([]byte, n+len(p.body))
	b[0], b[1], b[8], b[9] = 4<<4|uint8(n/4), p.tos, ttl, p.proto
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	binary.BigEndian.PutUint16(b[4:], p.id)
	if p.df {
		b[6] = 0x40
	}
	binary.BigEndian.PutUint32(b[12:], p.src)
	binary.BigEndian.PutUint32(b[16:], p.dst)
	copy(b[20:], p.options)
	copy(b[n:], p.body)
	putSum(b[10:], sum(b[:n]))
	if at := sumAt(p.proto); at >= 0 && !p.noSum && len(p.body) >= at+2 {
		c := b[n+at:]
		putSum(c, l4sum(b))
		if p.proto == udp && be16(c) == 0 {
			c[0], c[1] = 0xff, 0xff
		}
	}
	return b
}

// sum is the ones-complement sum of RFC 1071.
func sum(b []byte) uint16 {
	s := uint32(0)
	for i, c := range b {
		s += uint32(c) << (8 * (1 - i&1))
		s = s&0xffff + s>>16
	}
	return uint16(s)
}

func putSum(b []byte, s uint16) { binary.BigEndian.PutUint16(b, ^s) }

func add(a, b uint16) uint16 {
	s := uint32(a) + uint32(b)
	return uint16(s&0xffff + s>>16)
}

// l4sum sums transport header, data and, of TCP and UDP, pseudo-header: 0xffff
// when the checksum is true.
func l4sum(b []byte) uint16 {
	n := headerLen(b)
	s := sum(b[n:])
	if p := protoOf(b); p == tcp || p == udp {
		s = add(s, add(sum(b[12:20]), add(uint16(p), uint16(len(b)-n))))
	}
	return s
}

func headerLen(b []byte) int { return int(b[0]&15) * 4 }
func protoOf(b []byte) uint8 { return b[9] }

// sumAt is where a transport header has its checksum; -1: it has none.
func sumAt(proto uint8) int {
	switch proto {
	case icmp:
		return 2
	case tcp:
		return 16
	case udp:
		return 6
	}
	return -1
}

func isError(b []byte) bool {
	return protoOf(b) == icmp && slices.Contains([]uint8{3, 4, 5, 11, 12}, b[headerLen(b)])
}

// quote returns the packet that an ICMP error is about, cut as it may be.
func quote(b []byte) []byte { return b[headerLen(b)+8:] }

// check says which checksum of a whole packet is wrong.
func check(b []byte) error {
	n := headerLen(b)
	switch at := sumAt(protoOf(b)); {
	case int(be16(b[2:])) != len(b):
		return fmt.Errorf("length %d of a packet of %d bytes", be16(b[2:]), len(b))
	case sum(b[:n]) != 0xffff:
		return fmt.Errorf("wrong IP checksum")
	case at < 0, protoOf(b) == udp && be16(b[n+at:]) == 0:
	case l4sum(b) != 0xffff:
		return fmt.Errorf("wrong transport checksum")
	}
	if !isError(b) {
		return nil
	}
	q := quote(b)
	if sum(q[:headerLen(q)]) != 0xffff {
		return fmt.Errorf("wrong IP checksum in the quote")
	}
	if int(be16(q[2:])) == len(q) {
		if err := check(q); err != nil {
			return fmt.Errorf("in the quote: %w", err)
		}
	}
	return nil
}

// external is where the port stands that a NAT chose: the source of what
// leaves, or the quoted destination of an error that leaves; 0: nowhere.
func external(b []byte) int {
	if isError(b) {
		if at := portAt(quote(b), 2); at > 0 {
			return len(b) - len(quote(b)) + at
		}
		return 0
	}
	return portAt(b, 0)
}

// portAt is where in b a port stands, or the identifier of an echo.
func portAt(b []byte, side int) int {
	switch n := headerLen(b); {
	case protoOf(b) == icmp:
		return n + 4
	case sumAt(protoOf(b)) > 0:
		return n + side
	}
	return 0
}

// plain returns b without what may differ between two NATs: the external port,
// with its share of the checksum taken out, and which of its two zeros a
// checksum has. What has wrong checksums stays wrong by the same amount.
func plain(b []byte, at int) []byte {
	b = slices.Clone(b)
	port := uint16(0)
	if at > 0 {
		port = be16(b[at:])
		b[at], b[at+1] = 0, 0
	}
	if !isError(b) {
		discount(b, port)
		return b
	}
	// The whole of an error has no share of the port: what changed in the quote,
	// changed in the quoted checksum too, unless that was cut off. It is judged
	// by check, and taken out here.
	n := headerLen(b)
	discount(b[n+8:], port)
	b[n+2], b[n+3] = 0, 0
	return b
}

// discount takes port out of the checksum of b, if b has one.
func discount(b []byte, port uint16) {
	n, at := headerLen(b), sumAt(protoOf(b))
	if at < 0 || n+at+2 > len(b) {
		return
	}
	c := b[n+at:]
	if protoOf(b) == udp && be16(c) == 0 {
		return
	}
	if s := add(be16(c), port); s != 0 {
		binary.BigEndian.PutUint16(c, s)
		return
	}
	c[0], c[1] = 0xff, 0xff
}

// cutChecksum is where an ICMP error quotes the checksum of a TCP header, and
// not the whole header; else 0.
func cutChecksum(b []byte) int {
	if !isError(b) {
		return 0
	}
	q := quote(b)
	n := headerLen(q)
	if protoOf(q) != tcp || len(q) < n+18 || len(q) >= n+20 {
		return 0
	}
	return len(b) - len(q) + n + 16
}

// quoted sums what a NAT changes in the quoted packet of such an error: with a
// checksum that is kept true, the sum stays.
func quoted(b []byte) uint16 {
	q := quote(b)
	t := q[headerLen(q):]
	return add(sum(q[12:20]), add(sum(t[:4]), be16(t[16:])))
}
