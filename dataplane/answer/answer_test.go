package answer

import (
	"bytes"
	"encoding/binary"
	"net"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"turnout/classifier/packet"
)

var (
	host4, far4, us4 = net.IP{192, 168, 77, 5}, net.IP{8, 8, 8, 8}, net.IP{192, 168, 77, 1}
	host6            = net.ParseIP("fd00::5")
	far6             = net.ParseIP("2001:db8::8")
	us6              = net.ParseIP("fd00::1")
)

func addr(ip net.IP) packet.Addr {
	if four := ip.To4(); four != nil {
		return packet.Addr4(uint32(four[0])<<24 | uint32(four[1])<<16 | uint32(four[2])<<8 | uint32(four[3]))
	}
	var a packet.Addr
	for i, b := range ip.To16() {
		if i < 8 {
			a.Hi = a.Hi<<8 | uint64(b)
		} else {
			a.Lo = a.Lo<<8 | uint64(b)
		}
	}
	return a
}

// build serializes layers by gopacket, with lengths and checksums its own.
func build(t testing.TB, list ...gopacket.SerializableLayer) []byte {
	t.Helper()
	var network gopacket.NetworkLayer
	for _, l := range list {
		switch l := l.(type) {
		case *layers.IPv4:
			network = l
		case *layers.IPv6:
			network = l
		case *layers.TCP:
			if err := l.SetNetworkLayerForChecksum(network); err != nil {
				t.Fatal(err)
			}
		case *layers.UDP:
			if err := l.SetNetworkLayerForChecksum(network); err != nil {
				t.Fatal(err)
			}
		case *layers.ICMPv6:
			if err := l.SetNetworkLayerForChecksum(network); err != nil {
				t.Fatal(err)
			}
		}
	}
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, list...); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func ip4(proto layers.IPProtocol) *layers.IPv4 {
	return &layers.IPv4{Version: 4, TTL: 63, Id: 777, Protocol: proto, SrcIP: host4, DstIP: far4}
}

func ip6(next layers.IPProtocol) *layers.IPv6 {
	return &layers.IPv6{Version: 6, HopLimit: 63, NextHeader: next, SrcIP: host6, DstIP: far6}
}

func decode(t testing.TB, b []byte) *packet.View {
	t.Helper()
	var v packet.View
	if r := v.Decode(b); r != packet.OK {
		t.Fatalf("our own packet is %v: % x", r, b)
	}
	return &v
}

// sound wants an answer to be a packet whose every checksum is right.
func sound(t testing.TB, b []byte) *packet.View {
	t.Helper()
	v := decode(t, b)
	if int(v.Len) != len(b) {
		t.Fatalf("%d bytes with a header that says %d", len(b), v.Len)
	}
	if r := packet.VerifyHeader(b, v); r != packet.OK {
		t.Fatalf("the answer is %v: % x", r, b)
	}
	return v
}

func TestICMPErrorQuotesWhatFits(t *testing.T) {
	for _, size := range []int{41, 42, 100, 519, 520, 521, 1180, 1400, 60000} {
		orig := build(t, ip4(layers.IPProtocolUDP), &layers.UDP{SrcPort: 5000, DstPort: 53}, gopacket.Payload(bytes.Repeat([]byte{'x'}, size)))
		var buf [1280]byte
		mtu := uint16(len(orig) - 1)
		n := ICMPError(buf[:], orig, decode(t, orig), addr(us4), 3, 4, mtu)
		if want := 28 + min(len(orig), 548); n != want {
			t.Fatalf("%d bytes of payload: an error of %d bytes, want %d", size, n, want)
		}
		v := sound(t, buf[:n])
		p := gopacket.NewPacket(buf[:n], layers.LayerTypeIPv4, gopacket.Default)
		ip, icmp := p.Layer(layers.LayerTypeIPv4).(*layers.IPv4), p.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4)
		if !ip.SrcIP.Equal(us4) || !ip.DstIP.Equal(host4) || ip.TTL != 64 || ip.Flags != 0 || ip.TOS != 0xc0 {
			t.Errorf("header %+v", ip)
		}
		if icmp.TypeCode != layers.CreateICMPv4TypeCode(3, 4) || icmp.Id != 0 || icmp.Seq != mtu {
			t.Errorf("message %+v", icmp)
		}
		if !bytes.Equal(icmp.Payload, orig[:n-28]) {
			t.Error("the quote is not the packet")
		}
		var e packet.View
		if r := v.Embedded(buf[:n], &e); r != packet.OK || e.SrcPort != 5000 || e.DstPort != 53 || e.Src != addr(host4) {
			t.Errorf("the quote decodes as %v %+v", r, e)
		}
	}
}

func TestICMPErrorIPv6(t *testing.T) {
	for _, size := range []int{0, 100, 1183, 1184, 1185, 1400} {
		typ, mtu := uint8(1), uint16(0)
		if size == 1400 {
			typ, mtu = packetTooBig, 1400
		}
		orig := build(t, ip6(layers.IPProtocolTCP), &layers.TCP{SrcPort: 5000, DstPort: 443, SYN: true}, gopacket.Payload(bytes.Repeat([]byte{'x'}, size)))
		var buf [1280]byte
		n := ICMPError(buf[:], orig, decode(t, orig), addr(us6), typ, 0, mtu)
		if want := 48 + min(len(orig), 1232); n != want {
			t.Fatalf("%d bytes of payload: an error of %d bytes, want %d", size, n, want)
		}
		sound(t, buf[:n])
		p := gopacket.NewPacket(buf[:n], layers.LayerTypeIPv6, gopacket.Default)
		ip, icmp := p.Layer(layers.LayerTypeIPv6).(*layers.IPv6), p.Layer(layers.LayerTypeICMPv6).(*layers.ICMPv6)
		if !ip.SrcIP.Equal(us6) || !ip.DstIP.Equal(host6) || ip.HopLimit != 64 {
			t.Errorf("header %+v", ip)
		}
		if icmp.TypeCode != layers.CreateICMPv6TypeCode(typ, 0) || !bytes.Equal(icmp.Payload[:4], []byte{0, 0, byte(mtu >> 8), byte(mtu)}) {
			t.Errorf("message %+v", icmp)
		}
		if !bytes.Equal(icmp.Payload[4:], orig[:n-48]) {
			t.Error("the quote is not the packet")
		}
	}
}

func TestNeverAnswered(t *testing.T) {
	tcp := func(change func(*layers.IPv4, *layers.TCP)) []byte {
		ip, seg := ip4(layers.IPProtocolTCP), &layers.TCP{SrcPort: 5000, DstPort: 443, SYN: true}
		change(ip, seg)
		return build(t, ip, seg, gopacket.Payload(make([]byte, 20)))
	}
	quoted := gopacket.Payload(tcp(func(*layers.IPv4, *layers.TCP) {}))
	for _, row := range []struct {
		name        string
		b           []byte
		icmp, reset bool // may be answered by
	}{
		{"a SYN", tcp(func(*layers.IPv4, *layers.TCP) {}), true, true},
		{"a reset", tcp(func(_ *layers.IPv4, s *layers.TCP) { s.SYN, s.RST = false, true }), true, false},
		{"a later fragment", tcp(func(ip *layers.IPv4, _ *layers.TCP) { ip.FragOffset = 100 }), false, false},
		{"a first fragment of a SYN", tcp(func(ip *layers.IPv4, _ *layers.TCP) { ip.Flags = layers.IPv4MoreFragments }), true, false},
		{"a first fragment of data", tcp(func(ip *layers.IPv4, s *layers.TCP) { ip.Flags = layers.IPv4MoreFragments; s.SYN, s.ACK = false, true }), true, true},
		{"broadcast", tcp(func(ip *layers.IPv4, _ *layers.TCP) { ip.DstIP = net.IP{255, 255, 255, 255} }), false, false},
		{"from the router's own address", tcp(func(ip *layers.IPv4, _ *layers.TCP) { ip.SrcIP = us4 }), false, true},
		{"multicast", tcp(func(ip *layers.IPv4, _ *layers.TCP) { ip.DstIP = net.IP{224, 0, 0, 251} }), false, false},
		{"an echo request", build(t, ip4(layers.IPProtocolICMPv4), &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(8, 0), Id: 7}), true, false},
		{"an ICMP error", build(t, ip4(layers.IPProtocolICMPv4), &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(11, 0)}, quoted), false, false},
		{"an ICMP redirect", build(t, ip4(layers.IPProtocolICMPv4), &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(5, 0)}, quoted), false, false},
		{"an unknown protocol", build(t, ip4(253), gopacket.Payload{1, 2, 3}), true, false},
	} {
		var buf [1280]byte
		v := decode(t, row.b)
		if got := ICMPError(buf[:], row.b, v, addr(us4), 3, 13, 0) > 0; got != row.icmp {
			t.Errorf("%s: answered by ICMP: %v", row.name, got)
		}
		if got := Reset(buf[:], row.b, v) > 0; got != row.reset {
			t.Errorf("%s: answered by a reset: %v", row.name, got)
		}
	}
}

// TestMulticastIPv6: only "packet too big" may be said about it.
func TestMulticastIPv6(t *testing.T) {
	ip := ip6(layers.IPProtocolTCP)
	ip.DstIP = net.ParseIP("ff0e::1")
	b := build(t, ip, &layers.TCP{SrcPort: 5000, DstPort: 443, SYN: true})
	v := decode(t, b)
	var buf [1280]byte
	if Reset(buf[:], b, v) != 0 || ICMPError(buf[:], b, v, addr(us6), 1, 1, 0) != 0 {
		t.Error("multicast was answered")
	}
	if ICMPError(buf[:], b, v, addr(us6), packetTooBig, 0, 1400) == 0 {
		t.Error("too big multicast was not answered")
	}
}

// TestResetCountsFIN: no FIN comes without an ACK through Decode, but SEG.LEN
// is defined with it.
func TestResetCountsFIN(t *testing.T) {
	b := build(t, ip4(layers.IPProtocolTCP), &layers.TCP{SrcPort: 5000, DstPort: 443, SYN: true, Seq: 10}, gopacket.Payload("abc"))
	v := decode(t, b)
	v.Flags = packet.FIN
	var buf [64]byte
	n := Reset(buf[:], b, v)
	if got := binary.BigEndian.Uint32(buf[28:]); n != 40 || got != 14 {
		t.Errorf("ACK %d, want 14", got)
	}
}

// TestSmallBuffer wants no panic and nothing cut short, whatever the buffer.
func TestSmallBuffer(t *testing.T) {
	orig := build(t, ip4(layers.IPProtocolTCP), &layers.TCP{SrcPort: 1, DstPort: 2, SYN: true}, gopacket.Payload(make([]byte, 700)))
	v := decode(t, orig)
	for size := range 600 {
		if n := ICMPError(make([]byte, size), orig, v, addr(us4), 3, 1, 0); n > 0 {
			if n != min(size, 576) || n < 56 {
				t.Fatalf("%d bytes of room, an error of %d", size, n)
			}
		}
		if n := Reset(make([]byte, size), orig, v); n != 0 && n != 40 || n == 40 != (size >= 40) {
			t.Fatalf("%d bytes of room, a reset of %d", size, n)
		}
	}
	if n := ICMPError(make([]byte, 600), orig, v, addr(us6), 3, 1, 0); n != 0 {
		t.Error("an IPv6 address answered an IPv4 packet")
	}
}

func TestReset(t *testing.T) {
	const seq, ack = 0xfffffff0, 0x12345678
	for _, row := range []struct {
		name    string
		seg     layers.TCP
		data    int
		seq     uint32
		ack     uint32
		withACK bool
	}{
		{"SYN", layers.TCP{SYN: true}, 0, 0, 0xfffffff1, true},
		{"SYN with data, over the end of the numbers", layers.TCP{SYN: true}, 100, 0, 0x55, true},
		{"SYN with options", layers.TCP{SYN: true, Options: []layers.TCPOption{{OptionType: 2, OptionLength: 4, OptionData: []byte{5, 180}}}}, 0, 0, 0xfffffff1, true},
		{"SYN+ACK", layers.TCP{SYN: true, ACK: true}, 0, ack, 0, false},
		{"data", layers.TCP{ACK: true, PSH: true}, 1000, ack, 0, false},
		{"a super-packet", layers.TCP{ACK: true}, 60000, ack, 0, false},
		{"FIN", layers.TCP{FIN: true, ACK: true}, 0, ack, 0, false},
	} {
		for _, v6 := range []bool{false, true} {
			seg := row.seg
			seg.SrcPort, seg.DstPort, seg.Seq, seg.Ack, seg.Window = 5000, 443, seq, ack, 1000
			var orig []byte
			first := layers.LayerTypeIPv4
			if v6 {
				first = layers.LayerTypeIPv6
				orig = build(t, ip6(layers.IPProtocolTCP), &seg, gopacket.Payload(make([]byte, row.data)))
			} else {
				orig = build(t, ip4(layers.IPProtocolTCP), &seg, gopacket.Payload(make([]byte, row.data)))
			}
			var buf [64]byte
			in := decode(t, orig)
			n := Reset(buf[:], orig, in)
			v := sound(t, buf[:n])
			p := gopacket.NewPacket(buf[:n], first, gopacket.Default)
			got := p.Layer(layers.LayerTypeTCP).(*layers.TCP)
			if v.Src != in.Dst || v.Dst != in.Src || got.SrcPort != 443 || got.DstPort != 5000 {
				t.Errorf("%s: from %v:%d to %v:%d", row.name, v.Src, got.SrcPort, v.Dst, got.DstPort)
			}
			if !got.RST || got.ACK != row.withACK || got.SYN || got.FIN || got.Seq != row.seq || got.Ack != row.ack || got.Window != 0 {
				t.Errorf("%s: %+v", row.name, got)
			}
			if packet.Checksum(buf[v.L4:n], packet.PseudoSum(v, n-int(v.L4))) != 0xffff {
				t.Errorf("%s: bad checksum", row.name)
			}
		}
	}
}

func TestAnswersDoNotAllocate(t *testing.T) {
	orig := build(t, ip4(layers.IPProtocolTCP), &layers.TCP{SrcPort: 1, DstPort: 2, SYN: true}, gopacket.Payload(make([]byte, 700)))
	v, l, now := decode(t, orig), NewLimiter(), time.Now()
	var buf [1280]byte
	src := addr(us4)
	if n := testing.AllocsPerRun(1000, func() {
		now = now.Add(time.Millisecond)
		src.Lo++
		l.Allow(src, now)
		ICMPError(buf[:], orig, v, addr(us4), 3, 13, 0)
		Reset(buf[:], orig, v)
	}); n != 0 {
		t.Errorf("%v allocations an answer", n)
	}
}
