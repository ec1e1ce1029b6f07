package hostile

import "turnout/classifier/packet"

// tcp appends M30 to M39.
func (l *list) tcp() {
	const fin, syn, rst, psh, ack, urg = packet.FIN, packet.SYN, packet.RST, packet.PSH, packet.ACK, packet.URG
	at := func(i int, with ...byte) func(Talk) []byte {
		return func(t Talk) []byte { return inside(t.tcp(ack, nil, data(40)), i, with...) }
	}
	options := func(flags uint8, o ...byte) func(Talk) []byte {
		return func(t Talk) []byte { return t.tcp(flags, o, data(40)) }
	}
	for _, n := range []int{0, 12, 19} {
		l.both(30, decimal(n)+" bytes", packet.BadTCP, func(t Talk) []byte { return cut(t.tcp(ack, nil, data(40)), n) })
	}
	l.both(31, "header of no words", packet.BadTCP, at(12, 0x00))
	l.both(31, "header of 4 words", packet.BadTCP, at(12, 0x40))
	l.both(32, "header beyond the packet", packet.BadTCP, func(t Talk) []byte { return inside(t.tcp(ack, nil, data(39)), 12, 0xf0) })
	for _, f := range []struct {
		name  string
		flags uint8
	}{
		{"null", 0}, {"PSH alone", psh}, {"URG alone", urg}, {"SYN and FIN", syn | fin}, {"SYN, FIN and ACK", syn | fin | ack},
		{"SYN and RST", syn | rst}, {"RST and FIN", rst | fin}, {"FIN alone", fin}, {"Xmas", fin | psh | urg}, {"all of them", 0xff},
	} {
		l.both(33, f.name, packet.BadTCP, at(13, f.flags))
	}
	l.both(34, "source port 0", packet.BadTCP, at(0, 0, 0))
	l.both(34, "destination port 0", packet.BadTCP, at(2, 0, 0))
	l.both(35, "option of length 0", packet.BadTCP, options(ack, 8, 0, 0, 0))
	l.both(35, "option of length 1", packet.BadTCP, options(ack, 8, 1, 0, 0))
	l.both(35, "option of length 0 in a SYN", packet.BadTCP, options(syn, 3, 0, 0, 0))
	l.both(36, "option beyond the header", packet.BadTCP, options(ack, 1, 8, 4, 0))
	l.both(36, "option without a length", packet.BadTCP, options(ack, 1, 1, 1, 8))
	l.both(37, "MSS of length 3", packet.BadTCP, options(syn, 2, 3, 5, 0))
	l.both(37, "MSS of length 6", packet.BadTCP, options(syn, 2, 6, 5, 180, 0, 0, 1, 1))
	l.both(37, "MSS 0", packet.BadTCP, options(syn, 2, 4, 0, 0))
	l.both(37, "two MSS", packet.BadTCP, options(syn, 2, 4, 5, 180, 2, 4, 5, 180))
	l.pass(38, "wrong checksum", func(t Talk) []byte {
		b := t.tcp(ack, nil, data(40))
		return spoil(b, 36, b[36]^1)
	})
	l.add(39, "SYN with data", forward, drop(packet.NoFlow), func(t Talk) []byte {
		t.TCP.Src, t.TCP.Dst = t.TCP.Src+10+uint16(t.Side), t.TCP.Dst+10 // nobody's
		return t.tcp(syn, nil, data(40))
	})
	*l = append(*l, Case{
		Class: 39, Name: "SYN+ACK with data", Want: [Sides]Result{Tunnel: forward},
		make: func(t Talk) [][]byte {
			t.TCP = t.Opening
			return [][]byte{t.tcp(syn|ack, nil, data(40))}
		},
	})
}

// udp appends M40 to M45.
func (l *list) udp() {
	at := func(i int, with ...byte) func(Talk) []byte {
		return func(t Talk) []byte { return inside(t.udp(data(40)), i, with...) }
	}
	l.both(40, "no bytes", packet.BadUDP, func(t Talk) []byte { return cut(t.udp(nil), 0) })
	l.both(40, "7 bytes", packet.BadUDP, func(t Talk) []byte { return cut(t.udp(nil), 7) })
	l.both(41, "length 0", packet.BadUDP, at(4, 0, 0))
	l.both(41, "length 7", packet.BadUDP, at(4, 0, 7))
	l.both(42, "length one too large", packet.BadUDP, at(4, 0, 49))
	l.both(42, "length 65,535", packet.BadUDP, at(4, 0xff, 0xff))
	l.both(43, "length one too small", packet.BadUDP, at(4, 0, 47))
	l.both(43, "length 8", packet.BadUDP, at(4, 0, 8))
	l.pass(44, "no checksum", func(t Talk) []byte { return spoil(t.udp(data(40)), 26, 0, 0) })
	l.drop(44, "no checksum, IPv6", packet.BadUDP, func(t Talk) []byte { return spoil(t.six().udp(data(40)), 46, 0, 0) })
	l.both(45, "source port 0", packet.BadUDP, at(0, 0, 0))
	l.both(45, "destination port 0", packet.BadUDP, at(2, 0, 0))
}
