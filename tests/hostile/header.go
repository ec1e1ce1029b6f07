package hostile

import (
	"encoding/binary"
	"net/netip"

	"turnout/classifier/packet"
)

// header appends M1 to M18, the IPv4 header.
func (l *list) header() {
	udp := func(f func(b []byte) []byte) func(Talk) []byte {
		return func(t Talk) []byte { return f(t.udp(data(40))) }
	}
	at := func(i int, with ...byte) func(Talk) []byte {
		return udp(func(b []byte) []byte { return edit(b, i, with...) })
	}
	first := func(n int) func(Talk) []byte { return udp(func(b []byte) []byte { return b[:n] }) }

	l.drop(1, "no bytes", packet.BadLength, first(0))
	l.drop(2, "1 byte", packet.BadLength, first(1))
	l.drop(2, "19 bytes", packet.BadLength, first(19))
	for _, version := range []byte{0, 5, 7, 15} {
		l.drop(3, "version "+decimal(int(version)), packet.BadVersion, at(0, version<<4|5))
	}
	l.drop(3, "version 5 in 4 bytes", packet.BadVersion, func(Talk) []byte { return []byte{0x55, 0, 0, 4} })
	l.drop(4, "header of no words", packet.BadHeader, at(0, 0x40))
	l.drop(4, "header of 4 words", packet.BadHeader, at(0, 0x44))
	l.drop(5, "header beyond the bytes", packet.BadLength, func(t Talk) []byte { return edit(t.udp(data(2)), 0, 0x4f) })
	l.drop(6, "total length 0", packet.BadHeader, at(2, 0, 0))
	l.drop(6, "total length 19", packet.BadHeader, at(2, 0, 19))
	l.drop(6, "total length 40, header 60", packet.BadHeader, at(0, 0x4f, 0, 0, 40))
	l.drop(7, "one byte too few", packet.BadLength, udp(func(b []byte) []byte { return b[:len(b)-1] }))
	l.drop(7, "total length 65,535", packet.BadLength, at(2, 0xff, 0xff))
	trim := Result{Outcome: Trim}
	l.add(8, "three bytes too many", trim, trim, udp(func(b []byte) []byte { return append(b, 1, 2, 3) }))
	// The kernel has verified what comes by the TUN device.
	l.add(9, "wrong header checksum", forward, drop(packet.BadChecksum), udp(func(b []byte) []byte { return spoil(b, 10, b[10]^1) }))
	l.drop(10, "TTL 0", packet.BadHeader, at(8, 0))
	// The kernel has lowered it on the way to the TUN device.
	l.add(11, "TTL 1", forward, answer(packet.TTLExpired), at(8, 1))
	l.addresses()
	l.options()
	l.drop(17, "reserved flag", packet.BadHeader, at(6, 0x80))
	l.drop(17, "reserved flag and DF", packet.BadHeader, at(6, 0xc0))
	l.drop(18, "DF and MF", packet.BadFragment, at(6, 0x60))
}

// addresses appends M12 to M14.
func (l *list) addresses() {
	sent := func(src, dst string) func(Talk) []byte {
		return func(t Talk) []byte {
			if src != "" {
				t.Src = netip.MustParseAddr(src)
			}
			if dst != "" {
				t.Dst = netip.MustParseAddr(dst)
			}
			return t.udp(data(40))
		}
	}
	for _, src := range []string{"0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255"} {
		l.drop(12, "from "+src, packet.BadAddress, sent(src, ""))
	}
	for _, dst := range []string{"0.0.0.0", "0.1.2.3", "127.0.0.1"} {
		l.drop(13, "to "+dst, packet.BadAddress, sent("", dst))
	}
	l.drop(14, "to its own source", packet.BadAddress, func(t Talk) []byte {
		t.Src = t.Dst
		return t.udp(data(40))
	})
}

// options appends M15 and M16.
func (l *list) options() {
	with := func(o ...byte) func(Talk) []byte {
		return func(t Talk) []byte {
			b := t.udp(data(40))
			b = append(append(append([]byte(nil), b[:20]...), o...), b[20:]...)
			b[0] += byte(len(o) / 4)
			binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
			return Mend(b)
		}
	}
	l.drop(15, "loose source route", packet.BadOption, with(131, 7, 4, 198, 51, 100, 9, 0))
	l.drop(15, "strict source route", packet.BadOption, with(137, 7, 4, 198, 51, 100, 9, 0))
	l.drop(15, "source route behind no operation", packet.BadOption, with(1, 131, 7, 4, 198, 51, 100, 9))
	l.drop(16, "option of length 0", packet.BadOption, with(7, 0, 4, 0))
	l.drop(16, "option of length 1", packet.BadOption, with(7, 1, 4, 0))
	l.drop(16, "option beyond the header", packet.BadOption, with(7, 5, 4, 0))
	l.drop(16, "option without a length", packet.BadOption, with(1, 1, 1, 7))
}
