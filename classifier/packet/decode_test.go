package packet

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// generate builds a random valid packet by gopacket.
func generate(t testing.TB, r *rand.Rand) []byte {
	var list []gopacket.SerializableLayer
	proto := [...]layers.IPProtocol{6, 17, 1, 58, 47}[r.IntN(5)]
	v4 := r.IntN(2) == 0 && proto != 58 || proto == 1
	if v4 {
		ip := ip4(proto)
		ip.SrcIP, ip.DstIP = []byte{byte(1 + r.IntN(126)), byte(r.IntN(256)), 1, byte(r.IntN(256))}, []byte{byte(128 + r.IntN(90)), byte(r.IntN(256)), 2, byte(r.IntN(256))}
		ip.TTL, ip.TOS, ip.Id = uint8(1+r.IntN(255)), uint8(r.IntN(256)), uint16(r.IntN(65536))
		if r.IntN(2) == 0 {
			ip.Flags = layers.IPv4DontFragment
		}
		if r.IntN(5) == 0 {
			ip.Options = []layers.IPv4Option{{OptionType: 7, OptionLength: 7, OptionData: []byte{4, 0, 0, 0, 0}}, {OptionType: 1}}
		}
		list = append(list, ip)
	} else {
		ip := ip6(proto)
		for i := 1; i < 16; i++ {
			ip.SrcIP[i], ip.DstIP[i] = byte(r.IntN(256)), byte(r.IntN(256))
		}
		ip.HopLimit, ip.TrafficClass, ip.FlowLabel = uint8(1+r.IntN(255)), uint8(r.IntN(256)), uint32(r.IntN(1<<20))
		list = append(list, ip)
	}
	port := func() uint16 { return uint16(1 + r.IntN(65535)) }
	switch proto {
	case 6:
		s := tcp()
		s.SrcPort, s.DstPort, s.Seq, s.Ack = layers.TCPPort(port()), layers.TCPPort(port()), r.Uint32(), r.Uint32()
		s.SYN, s.PSH, s.URG, s.ECE = r.IntN(3) == 0, r.IntN(2) == 0, r.IntN(9) == 0, r.IntN(9) == 0
		if s.SYN {
			s.Options = []layers.TCPOption{{OptionType: 2, OptionLength: 4, OptionData: []byte{5, 180}}, {OptionType: 4, OptionLength: 2}, {OptionType: 1}, {OptionType: 3, OptionLength: 3, OptionData: []byte{7}}}
		} else if r.IntN(2) == 0 {
			s.Options = []layers.TCPOption{{OptionType: 1}, {OptionType: 1}, {OptionType: 8, OptionLength: 10, OptionData: make([]byte, 8)}}
		}
		list = append(list, s)
	case 17:
		list = append(list, &layers.UDP{SrcPort: layers.UDPPort(port()), DstPort: layers.UDPPort(port())})
	case 1:
		e := echo4([...]uint8{0, 8, 13}[r.IntN(3)])
		e.Id = uint16(r.IntN(65536))
		list = append(list, e)
	case 58:
		m := icmp6([...]uint8{128, 129, 135}[r.IntN(3)], 0, r.Uint32())
		list = append(list, m[0], gopacket.Payload(append([]byte(m[1].(gopacket.Payload)), data(r.IntN(100))...)))
		return build(t, list...)
	}
	return build(t, append(list, data(r.IntN(1400)))...)
}

// TestDecodeAgainstGopacket wants what gopacket sees in the same packet.
func TestDecodeAgainstGopacket(t *testing.T) {
	r := newRandom(t)
	for range 3000 {
		b := generate(t, r)
		v := mustDecode(t, b)
		if got := VerifyHeader(b, v); got != OK {
			t.Fatalf("%v: % x", got, b)
		}
		if want := seen(b); *v != want {
			t.Fatalf("% x:\n got %+v\nwant %+v", b, *v, want)
		}
	}
}

// seen is the View of a whole packet by gopacket's layers.
func seen(b []byte) View {
	first := layers.LayerTypeIPv4
	if b[0]>>4 == 6 {
		first = layers.LayerTypeIPv6
	}
	p := gopacket.NewPacket(b, first, gopacket.Default)
	v := View{Len: uint16(len(b))}
	addr := func(ip []byte) Addr { a, _ := netip.AddrFromSlice(ip); return AddrFrom(a) }
	if ip, ok := p.NetworkLayer().(*layers.IPv4); ok {
		v.Version, v.TOS, v.TTL, v.Proto, v.ID = 4, ip.TOS, ip.TTL, uint8(ip.Protocol), ip.Id
		v.DF = ip.Flags&layers.IPv4DontFragment != 0
		v.Src, v.Dst = addr(ip.SrcIP), addr(ip.DstIP)
	} else {
		ip := p.NetworkLayer().(*layers.IPv6)
		v.Version, v.TOS, v.TTL, v.Proto, v.DF = 6, ip.TrafficClass, ip.HopLimit, uint8(ip.NextHeader), true
		v.Src, v.Dst = addr(ip.SrcIP), addr(ip.DstIP)
	}
	v.L4 = uint16(len(p.NetworkLayer().LayerContents()))
	v.Payload = v.L4
	for _, l := range p.Layers() {
		switch l := l.(type) {
		case *layers.TCP:
			v.SrcPort, v.DstPort, v.HasPorts = uint16(l.SrcPort), uint16(l.DstPort), true
			v.Flags = l.Contents[13] & 0x3f
			v.Payload += uint16(len(l.Contents))
		case *layers.UDP:
			v.SrcPort, v.DstPort, v.HasPorts = uint16(l.SrcPort), uint16(l.DstPort), true
			v.Payload += 8
		case *layers.ICMPv4:
			v.Type, v.Code = l.TypeCode.Type(), l.TypeCode.Code()
			if v.Type == 0 || v.Type == 8 {
				v.SrcPort, v.DstPort = l.Id, l.Id
			}
			v.Payload += 8
		case *layers.ICMPv6:
			v.Type, v.Code = l.TypeCode.Type(), l.TypeCode.Code()
			v.Payload += 8
		case *layers.ICMPv6Echo:
			v.SrcPort, v.DstPort = l.Identifier, l.Identifier
		}
	}
	return v
}

// TestSuperPacket decodes the largest packets that a TUN device hands over.
func TestSuperPacket(t *testing.T) {
	for _, b := range [][]byte{
		build(t, ip4(6), tcp(), data(65535-40)),
		build(t, ip4(17), udp(), data(65535-28)),
		build(t, ip6(6), tcp(), data(65535-60)),
		build(t, ip6(17), udp(), data(65535-48)),
	} {
		v := mustDecode(t, b)
		if int(v.Len) != 65535 || !v.HasPorts || int(v.Payload) > 60 {
			t.Errorf("%+v", v)
		}
	}
}

// TestBeyondSuperPacket: the longest IPv6 payload and its header are more than
// a View can count.
func TestBeyondSuperPacket(t *testing.T) {
	b := make([]byte, 40+65535)
	copy(b, build(t, ip6(47), data(0)))
	var v View
	for payload, want := range map[uint16]Reason{65535 - 40: OK, 65535 - 39: BadLength, 65535: BadLength} {
		binary.BigEndian.PutUint16(b[4:], payload)
		if got := v.Decode(b); got != want {
			t.Errorf("a payload of %d: %v, want %v", payload, got, want)
		}
	}
}

func TestPortsAreToldFromNoPorts(t *testing.T) {
	echo := mustDecode(t, build(t, ip4(1), &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(8, 0), Id: 443}))
	if echo.HasPorts || !echo.IsEcho() || echo.SrcPort != 443 || echo.DstPort != 443 {
		t.Errorf("an echo request decodes as %+v", echo)
	}
	if gre := mustDecode(t, build(t, ip4(47), data(40))); gre.HasPorts || gre.SrcPort|gre.DstPort != 0 {
		t.Errorf("GRE decodes as %+v", gre)
	}
	for _, typ := range []uint8{3, 4, 5, 11, 12} {
		v := mustDecode(t, build(t, ip4(1), echo4(typ), data(28)))
		if !v.IsError || v.IsEcho() || v.SrcPort != 0 {
			t.Errorf("ICMP type %d decodes as %+v", typ, v)
		}
	}
	for _, typ := range []uint8{9, 13, 30, 77, 255} {
		if v := mustDecode(t, build(t, ip4(1), echo4(typ), data(28))); v.IsError || v.IsEcho() {
			t.Errorf("ICMP type %d decodes as %+v", typ, v)
		}
	}
	for _, typ := range []uint8{1, 4, 99, 127, 130, 135, 137, 200, 255} { // RFC 4443, 2.1
		m := icmp6(typ, 0, 0)
		if v := mustDecode(t, build(t, ip6(58), m[0], m[1])); v.IsError != (typ < 128) || v.IsEcho() {
			t.Errorf("ICMPv6 type %d decodes as %+v", typ, v)
		}
	}
}

func TestVerifyHeader(t *testing.T) {
	m := icmp6(128, 0, 7)
	for _, row := range []struct {
		name string
		b    []byte
		from int // bytes from here on are covered
	}{
		{"tcp", build(t, ip4(6), tcp(), data(10)), -20},
		{"icmp", build(t, ip4(1), echo4(8), data(11)), 0},
		{"icmpv6", build(t, ip6(58), m[0], m[1]), 8},
	} {
		v := mustDecode(t, row.b)
		if r := VerifyHeader(row.b, v); r != OK {
			t.Errorf("%s: %v", row.name, r)
		}
		end := len(row.b)
		if row.from < 0 {
			row.from, end = 0, 20
		}
		for i := row.from; i < end; i++ {
			if i == 9 || i == 7 && v.Version == 6 { // the protocol, the hop limit
				continue
			}
			row.b[i] ^= 0x10
			if VerifyHeader(row.b, v) == OK && i > 0 && (v.Version == 4 || i >= 40) {
				t.Errorf("%s: a wrong byte %d goes unseen", row.name, i)
			}
			row.b[i] ^= 0x10
		}
	}
	// A fragment's ICMP checksum is about bytes that are elsewhere.
	ip := ip4(1)
	ip.Flags = layers.IPv4MoreFragments
	b := build(t, ip, echo4(8), data(16))
	b[22] ^= 1
	if r := VerifyHeader(b, mustDecode(t, b)); r != OK {
		t.Errorf("a first fragment is %v", r)
	}
}

func TestReasons(t *testing.T) {
	seen := map[string]bool{}
	for r := range NumReasons {
		if r.String() == "" || r.Text() == "" || seen[r.String()] {
			t.Errorf("reason %d: %q, %q", r, r.String(), r.Text())
		}
		seen[r.String()] = true
	}
}
