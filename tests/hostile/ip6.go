package hostile

import (
	"encoding/binary"
	"net/netip"

	"turnout/classifier/packet"
)

// ip6 appends M59 to M74. Nothing of IPv6 is forwarded, so the legal ones are
// refused for that.
func (l *list) ip6() {
	udp := func(f func(b []byte) []byte) func(Talk) []byte {
		return func(t Talk) []byte { return f(t.six().udp(data(40))) }
	}
	at := func(i int, with ...byte) func(Talk) []byte {
		return udp(func(b []byte) []byte { return edit(b, i, with...) })
	}
	for _, n := range []int{1, 20, 39} {
		l.drop(59, decimal(n)+" bytes", packet.BadLength, udp(func(b []byte) []byte { return b[:n] }))
	}
	l.drop(60, "one byte too few", packet.BadLength, udp(func(b []byte) []byte { return b[:len(b)-1] }))
	l.drop(61, "payload 65,535", packet.BadLength, at(4, 0xff, 0xff))
	l.drop(61, "payload that wraps to the header alone", packet.BadLength, udp(func(b []byte) []byte { return spoil(b[:40], 4, 0xff, 0xd8) }))
	l.drop(61, "payload that wraps to nothing", packet.BadLength, udp(func(b []byte) []byte { return spoil(b, 4, 0xff, 0xd8) }))
	l.extensions()
	from := func(src string) func(Talk) []byte {
		return func(t Talk) []byte {
			t.Src6 = netip.MustParseAddr(src)
			return t.six().udp(data(40))
		}
	}
	for _, src := range []string{"ff02::1", "::", "::1", "::ffff:198.51.100.1"} {
		l.drop(71, "from "+src, packet.BadAddress, from(src))
	}
	l.drop(72, "from fe80::1", packet.BadAddress, from("fe80::1"))
	l.drop(72, "to fe80::1", packet.BadAddress, func(t Talk) []byte {
		t.Dst6 = netip.MustParseAddr("fe80::1")
		return t.six().udp(data(40))
	})
	for _, mtu := range []uint32{0, 1279} {
		l.drop(73, "MTU "+decimal(int(mtu)), packet.BadICMP, func(t Talk) []byte {
			return t.six().icmp(2, 0, mtu, t.six().back().udp(data(1400))[:100])
		})
	}
	l.neighbours()
}

// neighbours appends M74.
func (l *list) neighbours() {
	solicitation := func(t Talk) []byte {
		b := t.six().icmp(135, 0, 0, t.Dst6.AsSlice())
		b[7] = 255
		return b
	}
	l.drop(74, "neighbour solicitation", packet.IPv6Refused, solicitation)
	l.drop(74, "neighbour solicitation of one without an address", packet.BadAddress, func(t Talk) []byte {
		t.Src6 = netip.IPv6Unspecified()
		return solicitation(t)
	})
	l.drop(74, "listener report", packet.BadAddress, func(t Talk) []byte {
		t.Src6, t.Dst6 = netip.MustParseAddr("fe80::1"), netip.MustParseAddr("ff02::16")
		return extended(t.six().icmp(143, 0, 1, data(20)), []byte{0, 0, 5, 2, 0, 0, 1, 0})
	})
}

// extended puts extension headers behind the IPv6 header of b: of each, the
// first byte is its own number, which moves to where that belongs.
func extended(b []byte, headers ...[]byte) []byte {
	next := b[6]
	rest := b[40:]
	for i := len(headers) - 1; i >= 0; i-- {
		h := append([]byte{next}, headers[i][1:]...)
		next = headers[i][0]
		rest = append(h, rest...)
	}
	b = append(append([]byte(nil), b[:40]...), rest...)
	b[6] = next
	binary.BigEndian.PutUint16(b[4:], uint16(len(rest)))
	return b
}

// extensions appends M62 to M70.
func (l *list) extensions() {
	hop, dst := []byte{0, 0, 1, 4, 0, 0, 0, 0}, []byte{60, 0, 1, 4, 0, 0, 0, 0}
	long := append([]byte{60, 26}, make([]byte, 214)...)
	route := []byte{43, 0, 0, 1, 0, 0, 0, 0}
	first, atomic := []byte{44, 0, 0, 1, 0, 0, 0x30, 0x39}, []byte{44, 0, 0, 0, 0, 0, 0x30, 0x39}
	times := func(n int, h []byte) (out [][]byte) {
		for range n {
			out = append(out, h)
		}
		return out
	}
	with := func(headers ...[]byte) func(Talk) []byte {
		return func(t Talk) []byte { return extended(t.six().udp(data(40)), headers...) }
	}
	// chain is headers only, the last of which promises n more.
	chain := func(n byte, headers ...[]byte) func(Talk) []byte {
		return func(t Talk) []byte {
			b := extended(t.six().udp(data(40))[:40], headers...)
			b[len(b)-7] = n
			return b
		}
	}
	l.drop(62, "payload 0 and hop-by-hop", packet.BadExtension, func(t Talk) []byte {
		return spoil(with([]byte{0, 0, 0xc2, 4, 0, 1, 0, 0})(t), 4, 0, 0)
	})
	l.drop(63, "9 headers", packet.BadExtension, with(times(9, dst)...))
	l.drop(63, "264 bytes of headers", packet.BadExtension, with(append(times(6, dst), long)...))
	l.drop(64, "header beyond the packet", packet.BadExtension, chain(1, dst))
	l.drop(64, "header of 2,048 bytes", packet.BadExtension, chain(255, dst))
	l.drop(65, "hop-by-hop second", packet.BadExtension, with(dst, hop))
	l.drop(65, "hop-by-hop twice", packet.BadExtension, with(hop, hop))
	l.drop(66, "routing header of type 0", packet.BadExtension, with(route))
	l.drop(67, "7 bytes of a fragment header", packet.BadExtension, func(t Talk) []byte {
		b := extended(t.six().udp(data(40))[:40], first)
		binary.BigEndian.PutUint16(b[4:], 7)
		return b[:47]
	})
	l.drop(68, "atomic fragment", packet.IPv6Refused, with(atomic))
	l.drop(69, "first fragment that ends in options", packet.BadFragment, func(t Talk) []byte {
		return extended(t.six().udp(data(40))[:40], first, dst)
	})
	l.drop(70, "nothing behind the header", packet.BadExtension, func(t Talk) []byte { return edit(t.six().udp(nil), 6, 59) })
	l.drop(70, "nothing behind options", packet.BadExtension, func(t Talk) []byte {
		return spoil(with(dst)(t), 40, 59)
	})
}
