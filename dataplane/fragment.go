package dataplane

import (
	"encoding/binary"

	"turnout/classifier/packet"
)

const (
	moreFragments  = 0x2000
	fragmentOffset = 0x1fff
)

// fragmenter cuts an IPv4 packet into fragments (RFC 791, 2.3 and 3.2) that
// fit the tunnel. It holds a copy of the packet between calls.
type fragmenter struct {
	packet [frameSize]byte
	header int // bytes of the first fragment's header
	lesser int // bytes of the header of those after it
	first  [60]byte
	later  [60]byte
	at     int // next byte of the packet to send
	end    int // 0: nothing to do
	mtu    int
}

// start takes over a packet longer than mtu whose DF bit is clear. It reports
// whether the packet can be fragmented at all.
func (f *fragmenter) start(pkt []byte, mtu int) bool {
	f.end = 0
	if len(pkt) < 20 || pkt[0]>>4 != 4 || len(pkt) > len(f.packet) {
		return false
	}
	f.header = int(pkt[0]&15) * 4
	if f.header < 20 || f.header > len(pkt) || mtu < f.header+8 {
		return false
	}
	copy(f.packet[:], pkt)
	copy(f.first[:], pkt[:f.header])
	f.lesser = copyOptions(f.later[:], pkt[:f.header])
	f.at, f.end, f.mtu = f.header, len(pkt), mtu
	return true
}

// next writes the next fragment into dst and returns its length; 0 when there
// is none left.
func (f *fragmenter) next(dst []byte) int {
	if f.end == 0 {
		return 0
	}
	header := f.later[:f.lesser]
	if f.at == f.header {
		header = f.first[:f.header]
	}
	n := f.end - f.at
	last := len(header)+n <= f.mtu
	if !last {
		n = (f.mtu - len(header)) &^ 7
	}
	copy(dst, header)
	copy(dst[len(header):], f.packet[f.at:f.at+n])

	total := len(header) + n
	word := binary.BigEndian.Uint16(f.first[6:])
	offset := word&fragmentOffset + uint16((f.at-f.header)/8)
	more := word & moreFragments // a fragment of a fragment keeps the flag
	if !last {
		more = moreFragments
	}
	binary.BigEndian.PutUint16(dst[2:], uint16(total))
	binary.BigEndian.PutUint16(dst[6:], more|offset)
	dst[10], dst[11] = 0, 0
	binary.BigEndian.PutUint16(dst[10:], ^packet.Checksum(dst[:len(header)], 0))

	f.at += n
	if last {
		f.end = 0
	}
	return total
}

// copyOptions writes the header that fragments after the first carry: only
// options with the copied flag (RFC 791, 3.1). It returns the header's length.
func copyOptions(dst, header []byte) int {
	copy(dst, header[:20])
	n := 20
	for o := 20; o < len(header); {
		kind, size := header[o], 1
		if kind == 0 {
			break
		}
		if kind != 1 {
			if o+1 >= len(header) || header[o+1] < 2 || o+int(header[o+1]) > len(header) {
				break
			}
			size = int(header[o+1])
		}
		if kind&0x80 != 0 {
			n += copy(dst[n:], header[o:o+size])
		}
		o += size
	}
	for n%4 != 0 {
		dst[n] = 0
		n++
	}
	dst[0] = 4<<4 | byte(n/4)
	return n
}
