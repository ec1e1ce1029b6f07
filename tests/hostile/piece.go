package hostile

import (
	"encoding/binary"
	"strconv"

	"turnout/classifier/packet"
)

func decimal(n int) string { return strconv.Itoa(n) }

// piece appends those of M19 to M29 that one fragment decides: no fragment of
// an honest sender looks like it, whatever came before.
func (l *list) piece() {
	fragment := func(whole func(Talk) []byte, from, to int, more bool) func(Talk) []byte {
		return func(t Talk) []byte { return Fragment(whole(t), from, to, more) }
	}
	udp := func(n int) func(Talk) []byte { return func(t Talk) []byte { return t.udp(data(n)) } }
	tcp := func(t Talk) []byte { return t.tcp(packet.ACK, nil, data(1000)) }
	ping := func(t Talk) []byte { return t.echo(data(1000)) }

	l.both(19, "8 bytes of a TCP header", packet.BadFragment, fragment(tcp, 0, 8, true))
	l.both(19, "16 bytes of a TCP header", packet.BadFragment, fragment(tcp, 0, 16, true))
	l.both(20, "TCP at offset 8", packet.BadFragment, fragment(tcp, 8, 400, true))
	l.both(20, "the last of TCP, at offset 8", packet.BadFragment, fragment(tcp, 8, 1020, false))
	beyond := func(size int) func(Talk) []byte {
		return func(t Talk) []byte { return place(Fragment(t.udp(data(1000)), 8, 8+size, false), 65528/8, false) }
	}
	l.both(23, "the end beyond 65,535", packet.BadFragment, beyond(8))
	l.both(23, "far beyond 65,535", packet.BadFragment, beyond(1000))
	l.both(24, "the first, of 100 bytes", packet.BadFragment, fragment(udp(1000), 0, 100, true))
	l.both(24, "a middle one of 100 bytes", packet.BadFragment, fragment(udp(1000), 400, 500, true))
	l.both(25, "an empty first", packet.BadFragment, fragment(udp(1000), 0, 0, true))
	l.both(25, "an empty middle one", packet.BadFragment, fragment(ping, 400, 400, true))
	l.both(25, "an empty last", packet.BadFragment, fragment(udp(1000), 400, 400, false))

	about := func(from, to int) func(Talk) []byte {
		return func(t Talk) []byte {
			return t.icmp(3, 1, 0, Fragment(t.back().udp(data(1000)), from, to, true)[:28])
		}
	}
	l.pass(29, "about a first fragment", about(0, 400))
	l.drop(29, "about a later fragment, which names no ports", packet.NoFlow, about(400, 800))
}

// Fragment cuts bytes from to to out of the payload of a whole packet without
// options, which becomes a fragment.
func Fragment(whole []byte, from, to int, more bool) []byte {
	h := l4(whole)
	b := append([]byte(nil), whole[:h]...)
	if h == 40 {
		b = append(b, b[6], 0, 0, 0, 0, 0, 0x30, 0x39)
		b[6] = 44
	}
	b = append(b, whole[h+from:h+to]...)
	if h == 40 {
		binary.BigEndian.PutUint16(b[4:], uint16(len(b)-40))
	} else {
		binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	}
	return place(b, from/8, more)
}

// place says where a fragment belongs, in units of 8 bytes.
func place(b []byte, offset int, more bool) []byte {
	if b[0]>>4 == 6 {
		word := uint16(offset) << 3
		if more {
			word |= 1
		}
		binary.BigEndian.PutUint16(b[42:], word)
		return b
	}
	word := uint16(offset)
	if more {
		word |= 0x2000
	}
	binary.BigEndian.PutUint16(b[6:], word)
	put(b[10:], b[:20], 0)
	return b
}
