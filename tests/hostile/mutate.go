package hostile

import (
	"encoding/binary"

	"turnout/classifier/packet"
)

// Seeds returns what makes packets of a conversation to mutate: good ones of
// many shapes, then those of every case, the large ones apart.
func Seeds() (seeds []func(Talk) []byte) {
	for _, shape := range shapes {
		seeds = append(seeds, shape, func(t Talk) []byte { return shape(t.six()) })
	}
	for n := range uint32(4) { // which may merge
		seeds = append(seeds, func(t Talk) []byte {
			t.Seq += 100 * n
			return edit(t.tcp(packet.ACK, stamps, data(100)), 6, 0x40)
		})
	}
	for _, c := range append(Cases(), Datagrams()...) {
		pkts := c.make(example)
		if c.Class == 28 {
			pkts = nil
		}
		for i, b := range pkts {
			if len(b) <= 1600 {
				seeds = append(seeds, func(t Talk) []byte { return c.make(t)[i] })
			}
		}
	}
	return seeds
}

// Options of TCP as they are: in the middle of a connection, and in a SYN.
var (
	stamps = []byte{1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8}
	begin  = []byte{2, 4, 5, 180, 1, 3, 3, 7, 4, 2, 1, 1}
)

var shapes = []func(Talk) []byte{
	func(t Talk) []byte { return t.udp(data(24)) },
	func(t Talk) []byte { return t.tcp(packet.ACK, nil, data(24)) },
	func(t Talk) []byte { return t.echo(data(24)) },
	func(t Talk) []byte { return t.tcp(packet.ACK, stamps, data(24)) },
	func(t Talk) []byte { return t.tcp(packet.SYN, begin, nil) },
	func(t Talk) []byte { return t.exceeded(t.back().tcp(packet.ACK, stamps, data(24))) },
	func(t Talk) []byte { return t.exceeded(t.back().echo(data(24))) },
	func(t Talk) []byte { return t.udp(data(1421 - 28)) }, // a byte more than many tunnels take
	func(t Talk) []byte { return t.tcp(packet.ACK, nil, data(1421-40)) },
}

// bounds are numbers at which code goes wrong.
var bounds = []uint16{0, 1, 4, 7, 8, 9, 19, 20, 21, 28, 39, 40, 41, 60, 68, 127, 128, 255, 256, 576, 1280, 0x1fff, 0x2000, 0x7fff, 0x8000, 0xffd7, 0xffd8, 0xffff}

// protocols are those that decoders know, and some that they do not.
var protocols = []byte{0, 1, 2, 4, 6, 17, 41, 43, 44, 47, 50, 51, 58, 59, 60, 135, 253}

// Mutate makes another packet of pkt, in dst if it has room: up to four changes
// of the kinds that find faults in decoders, and checksums that are true again
// three times in four, so that more is looked at than those. What it does
// depends on the numbers of next alone; zeros leave the packet as it is.
func Mutate(dst, pkt []byte, next func() uint32) []byte {
	b := append(dst[:0], pkt...)
	n := func(below int) int { return int(uint64(next()) * uint64(below) >> 32) }
	for range n(5) {
		if len(b) == 0 {
			break
		}
		head := min(len(b), 80)
		switch n(11) {
		case 0:
			b[n(head)] = byte(next())
		case 1:
			b[n(head)] ^= 1 << n(8)
		case 2:
			if at := n(head) &^ 1; at+2 <= len(b) {
				binary.BigEndian.PutUint16(b[at:], bounds[n(len(bounds))])
			}
		case 3:
			if b = b[:n(len(b)+1)]; n(2) == 0 {
				setLength(b)
			}
		case 4:
			b = append(b, byte(next()), byte(next()), byte(next()))[:len(b)+n(4)]
		case 5: // a length that is off by a little
			if at := 2 + n(2)*2; at+2 <= len(b) {
				binary.BigEndian.PutUint16(b[at:], binary.BigEndian.Uint16(b[at:])+uint16(n(9))-4)
			}
		case 6: // half a byte: header lengths, versions
			at := n(head)
			b[at] = b[at]&0x0f | byte(n(16))<<4
			if n(2) == 0 {
				b[at] = b[at]>>4 | b[at]<<4
			}
		case 7:
			if at := 6 + n(2)*3; at < len(b) {
				b[at] = protocols[n(len(protocols))]
			}
		case 8: // flags and offset of a fragment
			if len(b) >= 8 {
				binary.BigEndian.PutUint16(b[6:], uint16(n(8))<<13|bounds[n(len(bounds))]&0x1fff)
			}
		case 9: // addresses, ports, headers in place of others
			from, to := n(len(b))&^3, n(head)&^3
			copy(b[to:min(to+4<<n(3), len(b))], b[from:])
		case 10: // an extension header, or eight bytes of anything, in between
			if at := 20 + n(2)*20; at <= len(b) && len(b) < 2000 {
				b = append(b, 0, 0, 0, 0, 0, 0, 0, 0)
				copy(b[at+8:], b[at:len(b)-8])
				b[at], b[at+1] = protocols[n(len(protocols))], byte(n(3))
			}
		}
	}
	if n(4) > 0 {
		Mend(b)
	}
	return b
}

// setLength has the IP header say how long the packet is.
func setLength(b []byte) {
	switch {
	case len(b) >= 20 && b[0]>>4 == 4:
		binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	case len(b) >= 40 && b[0]>>4 == 6:
		binary.BigEndian.PutUint16(b[4:], uint16(len(b)-40))
	}
}
