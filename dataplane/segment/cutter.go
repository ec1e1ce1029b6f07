package segment

import (
	"encoding/binary"

	"turnout/classifier/packet"
)

// Offsets inside the headers that differ from segment to segment.
const (
	ip4Len, ip4ID, ip4Sum = 2, 4, 10
	ip6Len                = 4
	tcpSeq, tcpFlags      = 4, 13
	tcpSum                = 16
	udpLen, udpSum        = 4, 6

	ip4Header, ip6Header = 20, 40 // without options and extensions
	tcpHeader, udpHeader = 20, 8

	flagCWR = 0x80 // RFC 3168: congestion window reduced
)

// A Cutter writes the packets that a super-packet stands for, one by one: the
// lengths, the IPv4 identification, the sequence number, the flags that belong
// to one end only, and all checksums are those of a sender without offload.
// A packet that is no super-packet comes out as it is, with its checksum
// completed if need be. The zero Cutter has nothing to cut.
type Cutter struct {
	pkt  []byte // borrowed: from Start until Next returned the last packet
	next int    // offset in pkt of the payload that is not cut yet
	size int    // payload of each segment but the last
	left int    // packets still to come

	l4, payload int    // offsets as in packet.View
	kind        uint8  // GSONone, GSOTCPv4 for both families, GSOUDP
	v4          bool   // IPv4
	sumAt       int    // GSONone: where a checksum is to be completed, or 0
	sumFrom     int    // and from where it counts
	id          uint16 // of the next segment
	seq         uint32 // of the next segment
	flags       uint8  // TCP flags of the super-packet
	ipWords     uint64 // the IPv4 header without length, ID and checksum
	l4Words     uint64 // pseudo-header and L4 header without what differs
}

// Start begins with a packet that v describes as it is now; what an earlier
// one left is forgotten. pkt is borrowed until Next returned the last of Left
// packets, and must not change meanwhile. It returns packet.OK, or
// packet.BadOffload when header, view and packet contradict one another: then
// there is nothing to cut.
func (c *Cutter) Start(h Header, pkt []byte, v *packet.View) packet.Reason {
	*c = Cutter{}
	l4, payload, end := int(v.L4), int(v.Payload), int(v.Len)
	if end == 0 || end > len(pkt) || l4 > payload || payload > end || pkt[0]>>4 != v.Version {
		return packet.BadOffload
	}
	pkt = pkt[:end]
	if h.GSOType == GSONone {
		return c.startWhole(h, pkt, v)
	}
	if !plausible(h, pkt, v) {
		return packet.BadOffload
	}
	c.pkt, c.l4, c.payload, c.next = pkt, l4, payload, payload
	c.v4 = v.Version == 4
	c.size = int(h.GSOSize)
	c.left = max(1, (end-payload+c.size-1)/c.size)
	c.prepare(v.Proto)
	return packet.OK
}

// startWhole begins with a packet that is just one.
func (c *Cutter) startWhole(h Header, pkt []byte, v *packet.View) packet.Reason {
	if h.Flags&NeedsChecksum != 0 {
		c.sumFrom = int(h.CsumStart)
		c.sumAt = c.sumFrom + int(h.CsumOffset)
		if v.Frag != packet.Whole || c.sumAt+2 > len(pkt) || !completable(h, v) {
			return packet.BadOffload
		}
	}
	c.pkt, c.left = pkt, 1
	return packet.OK
}

// completable reports whether a checksum can be where h says that one is to be
// completed: in its place in the transport header, or somewhere behind the
// headers, because the kernel leaves the checksum inside an encapsulation to us
// as well.
func completable(h Header, v *packet.View) bool {
	switch {
	case h.CsumStart >= v.Payload:
		return true
	case h.CsumStart != v.L4:
		return false
	case v.Proto == packet.TCP:
		return h.CsumOffset == tcpSum
	}
	return v.Proto == packet.UDP && h.CsumOffset == udpSum
}

// plausible reports whether the packet can be the super-packet that h says it
// is. pkt ends where the packet does, and the offsets of v lie inside.
func plausible(h Header, pkt []byte, v *packet.View) bool {
	l4, sum := int(v.L4), 0
	switch {
	case h.GSOType&^GSOECN == GSOTCPv4 && v.Version == 4 && v.Proto == packet.TCP,
		h.GSOType&^GSOECN == GSOTCPv6 && v.Version == 6 && v.Proto == packet.TCP:
		if int(v.Payload)-l4 < tcpHeader {
			return false
		}
		sum = tcpSum
	case h.GSOType == GSOUDP && v.Proto == packet.UDP:
		if int(v.Payload)-l4 != udpHeader {
			return false
		}
		sum = udpSum
	default:
		return false
	}
	if h.Flags&NeedsChecksum != 0 && (h.CsumStart != v.L4 || int(h.CsumOffset) != sum) {
		return false
	}
	if v.Version == 4 && l4 < ip4Header || v.Version == 6 && l4 < ip6Header {
		return false
	}
	return h.GSOSize > 0 && v.Frag == packet.Whole
}

// prepare sums up once what every segment's headers have in common.
func (c *Cutter) prepare(proto uint8) {
	ip, l4 := c.pkt[:c.l4], c.pkt[c.l4:c.payload]
	if c.v4 {
		c.id = uint16(word(ip, ip4ID))
		c.ipWords = words(ip) - word(ip, ip4Len) - word(ip, ip4ID) - word(ip, ip4Sum)
		c.l4Words = words(ip[12:20])
	} else {
		c.l4Words = words(ip[8:40])
	}
	c.l4Words += uint64(proto) + words(l4)
	if proto == packet.UDP {
		c.kind = GSOUDP
		c.l4Words -= word(l4, udpLen) + word(l4, udpSum)
		return
	}
	c.kind = GSOTCPv4
	c.seq = binary.BigEndian.Uint32(l4[tcpSeq:])
	c.flags = l4[tcpFlags]
	c.l4Words -= word(l4, tcpSeq) + word(l4, tcpSeq+2) + word(l4, tcpSum) + uint64(c.flags)
}

// Left returns how many packets are still to come.
func (c *Cutter) Left() int { return c.left }

// Next writes the next packet to the start of dst and returns its length. It
// returns 0 when there is none left, and also when dst is too small for it
// (Left tells): Header.Largest says how much room is enough.
func (c *Cutter) Next(dst []byte) int {
	if c.left == 0 {
		return 0
	}
	if c.kind == GSONone {
		return c.whole(dst)
	}
	n := min(c.size, len(c.pkt)-c.next)
	total := c.payload + n
	if len(dst) < total {
		return 0
	}
	dst = dst[:total]
	copy(dst, c.pkt[:c.payload])
	data := copySum(dst[c.payload:], c.pkt[c.next:c.next+n])
	c.next += n
	c.left--

	c.network(dst)
	if c.kind == GSOUDP {
		c.udp(dst[c.l4:], data)
	} else {
		c.tcp(dst[c.l4:], data, n)
	}
	if c.left == 0 {
		c.pkt = nil
	}
	return total
}

// whole writes the one packet that is no super-packet.
func (c *Cutter) whole(dst []byte) int {
	n := len(c.pkt)
	if len(dst) < n {
		return 0
	}
	copy(dst, c.pkt)
	if c.sumAt != 0 {
		// The field holds the sum of the pseudo-header, so it counts itself.
		putSum(dst[c.sumAt:], c.sumAt-c.sumFrom, sum(dst[c.sumFrom:n]))
	}
	c.pkt, c.left = nil, 0
	return n
}

// network sets what differs in the IP header of a segment that is all of b.
func (c *Cutter) network(b []byte) {
	if !c.v4 {
		binary.BigEndian.PutUint16(b[ip6Len:], uint16(len(b)-ip6Header))
		return
	}
	binary.BigEndian.PutUint16(b[ip4Len:], uint16(len(b)))
	binary.BigEndian.PutUint16(b[ip4ID:], c.id)
	binary.BigEndian.PutUint16(b[ip4Sum:], ^fold(c.ipWords+uint64(len(b))+uint64(c.id)))
	c.id++
}

// tcp sets what differs in the TCP header of a segment b with n bytes of
// payload, whose words sum up to data.
func (c *Cutter) tcp(b []byte, data uint64, n int) {
	flags := c.flags
	if c.left > 0 {
		flags &^= packet.FIN | packet.PSH
	}
	binary.BigEndian.PutUint32(b[tcpSeq:], c.seq)
	b[tcpFlags] = flags
	putSum(b[tcpSum:], tcpSum, c.l4Words+data+uint64(len(b))+uint64(flags)+uint64(c.seq>>16)+uint64(c.seq&0xffff))
	c.seq += uint32(n)
	c.flags &^= flagCWR
}

// udp sets what differs in the UDP header of a datagram b, whose payload's
// words sum up to data. The length counts twice: in the pseudo-header too.
func (c *Cutter) udp(b []byte, data uint64) {
	binary.BigEndian.PutUint16(b[udpLen:], uint16(len(b)))
	putSum(b[udpSum:], udpSum, c.l4Words+data+2*uint64(len(b)))
}

// putSum writes the checksum over a sum; offset is that of the field in its
// header. UDP's zero means that there is none (RFC 768), so it takes the other
// form of zero.
func putSum(field []byte, offset int, sum uint64) {
	s := ^fold(sum)
	if s == 0 && offset == udpSum {
		s = 0xffff
	}
	binary.BigEndian.PutUint16(field, s)
}
