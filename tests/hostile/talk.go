package hostile

import (
	"encoding/binary"
	"net/netip"

	"turnout/classifier/packet"
)

// A Talk is what goes on between a host of the LAN and a far end, as packets
// say it that come in on one side: the host is the source on the LAN's side
// and, under the address that the tunnel gives it, the destination on the
// tunnel's.
type Talk struct {
	Side       Side
	Src, Dst   netip.Addr
	Src6, Dst6 netip.Addr
	UDP, TCP   Ports
	Opening    Ports // a TCP connection of which there is only the host's SYN
	Echo       uint16
	Seq, Ack   uint32 // of the TCP connection; the SYN that opens has the number Ack-1
}

// Ports are those of a packet that comes in.
type Ports struct{ Src, Dst uint16 }

func (p Ports) back() Ports { return Ports{p.Dst, p.Src} }

// six is the same over IPv6.
func (t Talk) six() Talk {
	t.Src, t.Dst = t.Src6, t.Dst6
	return t
}

// back is what was said to the side that now speaks: what its ICMP errors
// quote.
func (t Talk) back() Talk {
	t.Side = 1 - t.Side
	t.Src, t.Dst, t.Src6, t.Dst6 = t.Dst, t.Src, t.Dst6, t.Src6
	t.UDP, t.TCP, t.Opening = t.UDP.back(), t.TCP.back(), t.Opening.back()
	t.Seq, t.Ack = t.Ack, t.Seq
	return t
}

// Sound returns good packets of the conversation, each with data behind its
// headers: a datagram, a segment and an echo.
func (t Talk) Sound(data []byte) [][]byte {
	return [][]byte{t.udp(data), t.tcp(packet.ACK, nil, data), t.echo(data)}
}

// ip puts the header in front of l4 and makes the checksums true.
func (t Talk) ip(proto uint8, l4 []byte) []byte {
	var b []byte
	if t.Src.Is4() {
		b = make([]byte, 20, 20+len(l4))
		b[0], b[8], b[9] = 0x45, 60, proto
		binary.BigEndian.PutUint16(b[2:], uint16(20+len(l4)))
		binary.BigEndian.PutUint16(b[4:], 0x3039)
		copy(b[12:], t.Src.AsSlice())
		copy(b[16:], t.Dst.AsSlice())
	} else {
		b = make([]byte, 40, 40+len(l4))
		b[0], b[6], b[7] = 0x60, proto, 60
		binary.BigEndian.PutUint16(b[4:], uint16(len(l4)))
		copy(b[8:], t.Src.AsSlice())
		copy(b[24:], t.Dst.AsSlice())
	}
	return Mend(append(b, l4...))
}

func (t Talk) udp(data []byte) []byte {
	l4 := binary.BigEndian.AppendUint16(nil, t.UDP.Src)
	l4 = binary.BigEndian.AppendUint16(l4, t.UDP.Dst)
	l4 = binary.BigEndian.AppendUint16(l4, uint16(8+len(data)))
	return t.ip(packet.UDP, append(append(l4, 0, 0), data...))
}

// tcp makes a segment of the connection; the options are whole words.
func (t Talk) tcp(flags uint8, options, data []byte) []byte {
	l4 := binary.BigEndian.AppendUint16(nil, t.TCP.Src)
	l4 = binary.BigEndian.AppendUint16(l4, t.TCP.Dst)
	l4 = binary.BigEndian.AppendUint32(l4, t.Seq)
	l4 = binary.BigEndian.AppendUint32(l4, t.Ack)
	l4 = append(l4, byte(5+len(options)/4)<<4, flags, 0xff, 0xff, 0, 0, 0, 0)
	return t.ip(packet.TCP, append(append(l4, options...), data...))
}

// icmp makes a message of either family; rest are the four bytes after the
// checksum.
func (t Talk) icmp(typ, code uint8, rest uint32, body []byte) []byte {
	proto := uint8(packet.ICMP)
	if !t.Src.Is4() {
		proto = packet.ICMPv6
	}
	l4 := binary.BigEndian.AppendUint32([]byte{typ, code, 0, 0}, rest)
	return t.ip(proto, append(l4, body...))
}

// echo makes a request of the host or its answer.
func (t Talk) echo(data []byte) []byte {
	typ := [Sides]uint8{LAN: 8, Tunnel: 0}
	if !t.Src.Is4() {
		typ = [Sides]uint8{LAN: 128, Tunnel: 129}
	}
	return t.icmp(typ[t.Side], 0, uint32(t.Echo)<<16|1, data)
}

// exceeded makes the error "time exceeded".
func (t Talk) exceeded(quote []byte) []byte {
	if t.Src.Is4() {
		return t.icmp(11, 0, 0, quote)
	}
	return t.icmp(3, 0, 0, quote)
}

// data is a payload of n bytes.
func data(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + 1)
	}
	return b
}

// edit returns a copy of b with other bytes from at on, its checksums true
// again.
func edit(b []byte, at int, with ...byte) []byte { return Mend(spoil(b, at, with...)) }

// spoil is edit that leaves the checksums as they were.
func spoil(b []byte, at int, with ...byte) []byte {
	b = append([]byte(nil), b...)
	copy(b[at:], with)
	return b
}

// l4 is where the transport header of a packet without options stands.
func l4(b []byte) int {
	if b[0]>>4 == 6 {
		return 40
	}
	return 20
}

// inside is edit in the transport header.
func inside(b []byte, at int, with ...byte) []byte { return edit(b, l4(b)+at, with...) }

// cut returns the first n bytes of the payload of an IP packet in a packet of
// its own.
func cut(b []byte, n int) []byte {
	h := l4(b)
	b = append([]byte(nil), b[:h+n]...)
	if h == 40 {
		binary.BigEndian.PutUint16(b[4:], uint16(n))
	} else {
		binary.BigEndian.PutUint16(b[2:], uint16(h+n))
	}
	return Mend(b)
}
