package segment

import (
	"bytes"
	"encoding/binary"

	"turnout/classifier/packet"
)

// What may merge is what the kernel's own receive offload merges
// (tcp_gro_receive and inet_gro_receive in net/ipv4, and its self-test
// tools/testing/selftests/net/gro.c), so that a cut restores every header. One
// rule is the kernel's newest: the IPv4 identification matters only where
// fragments are allowed.

// mergeable reports whether a packet can be part of a run at all: payload and
// nothing unusual in the headers.
func mergeable(pkt []byte, v *packet.View) bool {
	l4, payload := int(v.L4), int(v.Payload)
	if payload >= len(pkt) {
		return false
	}
	switch {
	case v.Version == 4 && l4 == ip4Header:
	case v.Version == 6 && l4 == ip6Header:
	default:
		return false // options or extensions
	}
	if v.Proto == packet.UDP {
		// Checksum 0 is none, and a run has one.
		return payload == l4+udpHeader && word(pkt, l4+udpSum) != 0 &&
			int(word(pkt, l4+udpLen)) == len(pkt)-l4
	}
	return payload >= l4+tcpHeader && pkt[l4+tcpFlags]&^packet.PSH == packet.ACK
}

// begin makes a run of its first packet.
func (r *run) begin(pkt []byte, v *packet.View) {
	r.l4, r.payload = int(v.L4), int(v.Payload)
	r.size = len(pkt) - r.payload
	r.total = r.payload
	r.open = true
	if v.Proto == packet.TCP {
		r.seq = binary.BigEndian.Uint32(pkt[r.l4+tcpSeq:])
	}
	r.grow(pkt, v)
}

// grow accounts for a packet that was added. A short one is the last, and so
// is one that is to be pushed to the application.
func (r *run) grow(pkt []byte, v *packet.View) {
	n := len(pkt) - r.payload
	r.total += n
	r.seq += uint32(n)
	if v.Proto == packet.TCP && pkt[r.l4+tcpFlags]&packet.PSH != 0 {
		r.psh = true
	}
	most := int32(maxSegments)
	if v.Proto == packet.UDP {
		most = maxDatagrams
	}
	if n < r.size || r.psh || r.count == most {
		r.open = false
	}
}

// follows reports whether a packet of the same flow continues the run. When
// it does not, the run is over.
func (c *Coalescer) follows(r *run, pkt []byte, v *packet.View) bool {
	head := c.packets[r.first].pkt
	n := len(pkt) - int(v.Payload)
	return r.open && int(v.Payload) == r.payload && n <= r.size && r.total+n <= maxPacket &&
		r.sameNetwork(head, pkt, v) &&
		(v.Proto == packet.UDP || r.sameTCP(head, pkt)) &&
		r.trusted(head, v) && intact(pkt, v)
}

// sameNetwork compares the IP headers. ECN is part of the second byte: a mark
// of congestion must not be lost nor spread (RFC 3168, 5.3).
func (r *run) sameNetwork(head, pkt []byte, v *packet.View) bool {
	if v.Version == 6 {
		return [4]byte(head) == [4]byte(pkt) && head[7] == pkt[7] // class, label; hop limit
	}
	if head[1] != pkt[1] || head[6] != pkt[6] || head[8] != pkt[8] { // TOS, DF, TTL
		return false
	}
	return v.DF || uint16(word(pkt, ip4ID)) == uint16(word(head, ip4ID))+uint16(r.count)
}

// sameTCP compares the TCP headers. The window and the acknowledgement are
// part of it, because a run has only one of each.
func (r *run) sameTCP(head, pkt []byte) bool {
	head, pkt = head[r.l4:r.payload], pkt[r.l4:r.payload]
	return binary.BigEndian.Uint32(pkt[tcpSeq:]) == r.seq &&
		[5]byte(head[8:]) == [5]byte(pkt[8:]) && // acknowledgement, length
		[2]byte(head[14:]) == [2]byte(pkt[14:]) && // window
		bytes.Equal(head[18:], pkt[18:]) // urgent pointer, options
}

// trusted verifies the first packet of a run, once, when a second one comes.
func (r *run) trusted(head []byte, v *packet.View) bool {
	if !r.verified {
		r.verified = intact(head, v)
		r.open = r.verified
	}
	return r.verified
}

// intact verifies the transport checksum of a packet of the flow of v.
func intact(pkt []byte, v *packet.View) bool {
	l4 := int(v.L4)
	return fold(packet.PseudoSum(v, len(pkt)-l4)+sum(pkt[l4:])) == 0xffff
}

// seal makes the headers of a run's first packet those of the super-packet,
// and returns the virtio header that goes with it.
func (r *run) seal(head []byte) Header {
	h := Header{
		Flags:     NeedsChecksum,
		HdrLen:    uint16(r.payload),
		GSOSize:   uint16(r.size),
		CsumStart: uint16(r.l4),
	}
	l4len := r.total - r.l4
	pseudo := uint64(r.flow.proto) + uint64(l4len)
	if r.l4 == ip6Header {
		h.GSOType = GSOTCPv6
		binary.BigEndian.PutUint16(head[ip6Len:], uint16(r.total-ip6Header))
		pseudo += words(head[8:40])
	} else {
		h.GSOType = GSOTCPv4
		binary.BigEndian.PutUint16(head[ip4Len:], uint16(r.total))
		binary.BigEndian.PutUint16(head[ip4Sum:], 0)
		binary.BigEndian.PutUint16(head[ip4Sum:], ^fold(words(head[:ip4Header])))
		pseudo += words(head[12:20])
	}
	l4 := head[r.l4:r.payload]
	if r.flow.proto == packet.UDP {
		h.GSOType, h.CsumOffset = GSOUDP, udpSum
		binary.BigEndian.PutUint16(l4[udpLen:], uint16(l4len))
	} else {
		h.CsumOffset = tcpSum
		if r.psh {
			l4[tcpFlags] |= packet.PSH
		}
	}
	// Not inverted: who completes it sums up the field with the rest.
	binary.BigEndian.PutUint16(l4[h.CsumOffset:], fold(pseudo))
	return h
}
