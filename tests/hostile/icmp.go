package hostile

import (
	"encoding/binary"
	"net/netip"

	"turnout/classifier/packet"
)

// icmp appends M46 to M58.
func (l *list) icmp() {
	ping := func(f func(b []byte) []byte) func(Talk) []byte {
		return func(t Talk) []byte { return f(t.echo(data(40))) }
	}
	l.both(46, "4 bytes", packet.BadICMP, ping(func(b []byte) []byte { return cut(b, 4) }))
	l.both(46, "7 bytes", packet.BadICMP, ping(func(b []byte) []byte { return cut(b, 7) }))
	l.drop(47, "an echo", packet.BadChecksum, ping(func(b []byte) []byte { return spoil(b, 30, b[30]^1) }))
	l.drop(47, "an error", packet.BadChecksum, func(t Talk) []byte {
		b := t.icmp(3, 1, 0, t.back().udp(data(40)))
		return spoil(b, 22, b[22]^1)
	})
	l.quotes()
	l.tooBig()
	l.kinds()
}

// about is an ICMP error "host unreachable" that quotes what f makes of a
// datagram that was sent the other way.
func about(f func(q []byte) []byte) func(Talk) []byte {
	return func(t Talk) []byte { return t.icmp(3, 1, 0, f(t.back().udp(data(200)))) }
}

// quotes appends M48 to M53.
func (l *list) quotes() {
	l.drop(48, "nothing", packet.BadICMP, about(func(q []byte) []byte { return nil }))
	l.drop(48, "19 bytes", packet.BadICMP, about(func(q []byte) []byte { return q[:19] }))
	l.drop(49, "header of 4 words", packet.BadICMP, about(func(q []byte) []byte { return edit(q, 0, 0x44) }))
	l.drop(49, "header beyond the quote", packet.BadICMP, about(func(q []byte) []byte { return edit(q, 0, 0x4f)[:40] }))
	l.drop(50, "no transport", packet.BadICMP, about(func(q []byte) []byte { return q[:20] }))
	l.drop(50, "7 bytes of transport", packet.BadICMP, about(func(q []byte) []byte { return q[:27] }))
	l.drop(51, "about an error", packet.BadICMP, func(t Talk) []byte {
		return t.icmp(3, 1, 0, t.back().icmp(11, 0, 0, t.udp(data(40))))
	})
	l.drop(52, "about another's packet", packet.NoFlow, func(t Talk) []byte {
		b := t.back()
		b.Src = netip.MustParseAddr("203.0.113.77")
		return t.icmp(3, 1, 0, b.udp(data(40)))
	})
	l.drop(52, "about a flow that is not", packet.NoFlow, func(t Talk) []byte {
		b := t.back()
		b.UDP.Src++
		b.UDP.Dst++
		return t.icmp(3, 1, 0, b.udp(data(40)))
	})

	// RFC 4884: the second of the four bytes counts the words of the quote.
	extended := func(words uint32) func(Talk) []byte {
		return func(t Talk) []byte {
			q := t.back().udp(data(200))[:128]
			return t.icmp(3, 1, words<<16, append(q, 0x20, 0, 0xdf, 0xff, 0, 4, 9, 9))
		}
	}
	l.drop(53, "255 words of a shorter quote", packet.BadICMP, extended(255))
	l.drop(53, "35 words of 34", packet.BadICMP, extended(35))
	l.drop(53, "less than the quoted header", packet.BadICMP, extended(4))
	l.pass(53, "32 words, which is true", extended(32))
}

// tooBig appends M54.
func (l *list) tooBig() {
	says := func(mtu uint32) func(Talk) []byte {
		return func(t Talk) []byte {
			q := t.back().udp(data(1372)) // of 1,400 bytes
			binary.BigEndian.PutUint16(q[6:], 0x4000)
			return t.icmp(3, 4, mtu, Mend(q)[:28])
		}
	}
	l.drop(54, "MTU 0", packet.BadICMP, says(0))
	l.drop(54, "MTU 67", packet.BadICMP, says(67))
	l.drop(54, "the quoted packet fits", packet.BadICMP, says(1400))
	l.drop(54, "MTU 65,535", packet.BadICMP, says(65535))
	l.pass(54, "MTU 1,300, which may be", says(1300))
}

// kinds appends M55 to M58.
func (l *list) kinds() {
	l.drop(55, "redirect", packet.BadICMP, func(t Talk) []byte {
		return t.icmp(5, 1, 0xc0000201, t.back().udp(data(40))[:28])
	})
	l.drop(56, "source quench", packet.BadICMP, func(t Talk) []byte {
		return t.icmp(4, 0, 0, t.back().udp(data(40))[:28])
	})
	l.add(57, "echo reply", drop(packet.InvalidState), drop(packet.NoFlow), func(t Talk) []byte {
		return t.icmp(0, 0, uint32(t.Echo+1)<<16|1, data(40))
	})
	for _, typ := range []uint8{13, 77, 255} {
		l.add(58, "type "+decimal(int(typ)), drop(packet.InvalidState), drop(packet.NoFlow), func(t Talk) []byte {
			return t.icmp(typ, 0, uint32(t.Echo)<<16|1, data(40))
		})
	}
}
