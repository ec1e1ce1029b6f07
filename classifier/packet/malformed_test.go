package packet

import (
	"encoding/binary"
	"net"
	"testing"

	"github.com/google/gopacket/layers"
)

// A row is a good packet and what is done to it.
type malformed struct {
	name string
	b    []byte
	want Reason
}

// at returns a copy of b with some bytes from i on replaced.
func at(b []byte, i int, with ...byte) []byte {
	b = append([]byte{}, b...)
	copy(b[i:], with)
	return b
}

func check(t *testing.T, rows []malformed) {
	t.Helper()
	for _, row := range rows {
		var v View
		if got := v.Decode(row.b); got != row.want {
			t.Errorf("%s: %v, want %v", row.name, got, row.want)
		}
	}
}

func TestMalformedIPv4(t *testing.T) {
	good := build(t, ip4(17), udp(), data(32))
	long := func(o ...byte) []byte { // with 8 bytes of options
		b := append(at(good[:20], 0, 0x47), make([]byte, 8)...)
		copy(b[20:], o)
		b = append(b, good[20:]...)
		binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
		return b
	}
	src := func(a, b, c, d byte) []byte { return at(good, 12, a, b, c, d) }
	dst := func(a, b, c, d byte) []byte { return at(good, 16, a, b, c, d) }
	check(t, []malformed{
		{"good", good, OK},
		{"no bytes", nil, BadLength},
		{"4 bytes", good[:4], BadLength},
		{"19 bytes", good[:19], BadLength},
		{"the header only", good[:20], BadLength},
		{"version 0", at(good, 0, 0x05), BadVersion},
		{"version 5 in 4 bytes", []byte{0x50, 0, 0, 0}, BadVersion},
		{"version 15", at(good, 0, 0xf5), BadVersion},
		{"total length 0", at(good, 2, 0, 0), BadHeader},
		{"total length below the header", at(good, 2, 0, 19), BadHeader},
		{"total length beyond the bytes", at(good, 2, 0, byte(len(good)+1)), BadLength},
		{"bytes beyond the total length", append(at(good, 0), 1, 2, 3), OK},
		{"header length 0", at(good, 0, 0x40), BadHeader},
		{"header length 4 words", at(good, 0, 0x44), BadHeader},
		{"header length beyond the bytes", at(good[:40], 0, 0x4f), BadLength},
		{"header length beyond the packet", at(append(at(good, 2, 0, 30), make([]byte, 40)...), 0, 0x4f), BadHeader},
		{"TTL 0", at(good, 8, 0), BadHeader},
		{"TTL 1", at(good, 8, 1), OK},
		{"from 0/8", src(0, 1, 2, 3), BadAddress},
		{"from loopback", src(127, 0, 0, 1), BadAddress},
		{"from multicast", src(224, 0, 0, 1), BadAddress},
		{"from class E", src(240, 0, 0, 1), BadAddress},
		{"from broadcast", src(255, 255, 255, 255), BadAddress},
		{"from just below multicast", src(223, 255, 255, 255), OK},
		{"from just above loopback", src(128, 0, 0, 0), OK},
		{"to 0/8", dst(0, 0, 0, 0), BadAddress},
		{"to loopback", dst(127, 1, 2, 3), BadAddress},
		{"to itself", dst(192, 168, 77, 5), BadAddress},
		{"to multicast", dst(224, 0, 0, 251), OK},
		{"options of no operation", long(1, 1, 1, 1, 1, 1, 1, 1), OK},
		{"record route", long(7, 7, 4, 0, 0, 0, 0, 0), OK},
		{"loose source route", long(131, 7, 4, 1, 2, 3, 4, 0), BadOption},
		{"strict source route after no operation", long(1, 137, 7, 4, 1, 2, 3, 4), BadOption},
		{"source route after the end of options", long(0, 131, 7, 4, 1, 2, 3, 4), OK},
		{"option of length 0", long(7, 0), BadOption},
		{"option of length 1", long(7, 1), BadOption},
		{"option beyond the header", long(7, 9), BadOption},
		{"option without a length", long(1, 1, 1, 1, 1, 1, 1, 7), BadOption},
		{"reserved flag", at(good, 6, 0x80), BadHeader},
		{"DF and MF", at(good, 6, 0x60), BadFragment},
		{"DF", at(good, 6, 0x40), OK},
	})
}

func TestMalformedFragments(t *testing.T) {
	piece := func(proto layers.IPProtocol, size int, offset int, more bool) []byte {
		ip := ip4(proto)
		ip.FragOffset = uint16(offset / 8)
		if more {
			ip.Flags = layers.IPv4MoreFragments
		}
		// A transport header that would do, as far as it fits.
		h := []byte{0x9c, 0x40, 0x01, 0xbb, 0, 100, 0, 1, 0, 0, 0, 0, 0x50, 0x10, 1, 1, 0, 0, 0, 0}
		if proto == 1 {
			h[0] = 8
		}
		body := data(size)
		copy(body, h)
		return build(t, ip, body)
	}
	check(t, []malformed{
		{"first of UDP", piece(17, 8, 0, true), OK},
		{"first of UDP, cut in its length", piece(17, 16, 0, true), OK},
		{"first of UDP, longer than its length", piece(17, 104, 0, true), BadUDP},
		{"first of TCP", piece(6, 24, 0, true), OK},
		{"first of ICMP", piece(1, 8, 0, true), OK},
		{"tiny first of TCP", piece(6, 16, 0, true), BadFragment},
		{"tiny first of TCP, 8 bytes", piece(6, 8, 0, true), BadFragment},
		{"first of another protocol", piece(47, 8, 0, true), OK},
		{"TCP at offset 8", piece(6, 40, 8, true), BadFragment},
		{"UDP at offset 8", piece(17, 40, 8, true), OK},
		{"middle", piece(6, 80, 80, true), OK},
		{"last of odd size", piece(6, 13, 80, false), OK},
		{"first not of whole eights", piece(17, 13, 0, true), BadFragment},
		{"middle not of whole eights", piece(17, 12, 80, true), BadFragment},
		{"empty first", piece(17, 0, 0, true), BadFragment},
		{"empty last", piece(17, 0, 80, false), BadFragment},
		{"up to 65,535", piece(17, 7, 65508, false), OK},
		{"beyond 65,535", piece(17, 20, 65504, false), BadFragment},
		{"far beyond 65,535", piece(17, 1000, 65528, false), BadFragment},
	})
	v := mustDecode(t, piece(6, 24, 80, true))
	if v.Frag != Later || v.HasPorts || v.SrcPort|v.DstPort != 0 || v.Proto != TCP {
		t.Errorf("a later fragment decodes as %+v", v)
	}
}

func TestMalformedTCP(t *testing.T) {
	good := build(t, ip4(6), tcp(), data(32))
	flags := func(f byte) []byte { return at(good, 33, f) }
	opts := func(syn bool, o ...byte) []byte {
		s := tcp()
		s.SYN = syn
		b := build(t, ip4(6), s, data(32))
		b = at(b, 32, byte(20+len(o))/4<<4)
		copy(b[40:], o)
		return b
	}
	cut := build(t, ip4(6), data(19))
	check(t, []malformed{
		{"good", good, OK},
		{"19 bytes", cut, BadTCP},
		{"no bytes", build(t, ip4(6)), BadTCP},
		{"data offset 0", at(good, 32, 0x00), BadTCP},
		{"data offset 4", at(good, 32, 0x40), BadTCP},
		{"data offset beyond the packet", at(good, 32, 0xf0), BadTCP},
		{"null", flags(0), BadTCP},
		{"only PSH", flags(PSH), BadTCP},
		{"only URG", flags(URG), BadTCP},
		{"Xmas", flags(FIN | PSH | URG), BadTCP},
		{"FIN only", flags(FIN), BadTCP},
		{"SYN+FIN", flags(SYN | FIN), BadTCP},
		{"SYN+FIN+ACK", flags(SYN | FIN | ACK), BadTCP},
		{"SYN+RST", flags(SYN | RST), BadTCP},
		{"SYN+RST+ACK", flags(SYN | RST | ACK), BadTCP},
		{"everything", flags(0xff), BadTCP},
		{"SYN", flags(SYN), OK},
		{"SYN with ECN", flags(SYN | 0xc0), OK},
		{"SYN+ACK", flags(SYN | ACK), OK},
		{"SYN+URG", flags(SYN | URG), OK},
		{"FIN+ACK", flags(FIN | ACK), OK},
		{"FIN+PSH+ACK", flags(FIN | PSH | ACK), OK},
		{"RST", flags(RST), OK},
		{"RST+ACK", flags(RST | ACK), OK},
		{"source port 0", at(good, 20, 0, 0), BadTCP},
		{"destination port 0", at(good, 22, 0, 0), BadTCP},
		{"timestamps", opts(false, 1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8), OK},
		{"option of length 0", opts(false, 8, 0, 0, 0), BadTCP},
		{"option of length 1", opts(false, 8, 1, 0, 0), BadTCP},
		{"option beyond the header", opts(false, 1, 8, 4, 0), BadTCP},
		{"option without a length", opts(false, 1, 1, 1, 8), BadTCP},
		{"anything after the end of options", opts(false, 0, 8, 0, 0), OK},
		{"MSS", opts(true, 2, 4, 5, 180), OK},
		{"MSS of length 3", opts(true, 2, 3, 5, 0), BadTCP},
		{"MSS of length 6", opts(true, 2, 6, 5, 180, 0, 0, 1, 1), BadTCP},
		{"MSS of 0", opts(true, 2, 4, 0, 0), BadTCP},
		{"two MSS", opts(true, 2, 4, 5, 180, 2, 4, 5, 180), BadTCP},
	})
}

func TestMalformedUDPAndICMP(t *testing.T) {
	u := build(t, ip4(17), udp(), data(32))
	u6 := build(t, ip6(17), udp(), data(32))
	packetTooBig := func(mtu uint32) []byte {
		m := icmp6(2, 0, mtu)
		return build(t, ip6(58), m[0], m[1])
	}
	check(t, []malformed{
		{"UDP", u, OK},
		{"UDP of 7 bytes", build(t, ip4(17), data(7)), BadUDP},
		{"UDP length 7", at(u, 24, 0, 7), BadUDP},
		{"UDP length 0", at(u, 24, 0, 0), BadUDP},
		{"UDP longer than its packet", at(u, 24, 0, 41), BadUDP},
		{"UDP shorter than its packet", at(u, 24, 0, 39), BadUDP},
		{"UDP without a checksum", at(u, 26, 0, 0), OK},
		{"UDP without a checksum in IPv6", at(u6, 46, 0, 0), BadUDP},
		{"UDP checksum of which one byte is 0", at(u6, 46, 0, 1), OK},
		{"UDP source port 0", at(u, 20, 0, 0), BadUDP},
		{"UDP destination port 0", at(u, 22, 0, 0), BadUDP},
		{"ICMP of 7 bytes", build(t, ip4(1), data(7)), BadICMP},
		{"ICMP of 8 bytes", build(t, ip4(1), echo4(8)), OK},
		{"ICMPv6 of 7 bytes", build(t, ip6(58), data(7)), BadICMP},
		{"packet too big, 1279", packetTooBig(1279), BadICMP},
		{"packet too big, 1280", packetTooBig(1280), OK},
		{"another protocol, empty", build(t, ip4(47)), OK},
		{"ICMPv6 in IPv4 is another protocol", build(t, ip4(58), data(3)), OK},
		{"ICMP in IPv6 is another protocol", build(t, ip6(1), data(3)), OK},
	})
}

// ext builds an IPv6 packet whose extension headers are given as kind, bytes.
func ext(t *testing.T, upper layers.IPProtocol, body []byte, headers ...[]byte) []byte {
	var all []byte
	next := byte(upper)
	for i := len(headers) - 1; i >= 0; i-- {
		h := append([]byte{next}, headers[i][1:]...)
		next = headers[i][0]
		all = append(h, all...)
	}
	b := build(t, ip6(layers.IPProtocol(next)), data(len(all)+len(body)))
	copy(b[40:], append(all, body...))
	return b
}

func TestMalformedIPv6(t *testing.T) {
	good := build(t, ip6(17), udp(), data(32))
	body := good[40:]
	hop, dst := []byte{0, 0, 1, 4, 0, 0, 0, 0}, []byte{60, 0, 1, 4, 0, 0, 0, 0}
	long := append([]byte{60, 26}, make([]byte, 214)...)
	route := func(kind byte) []byte { return []byte{43, 0, kind, 0, 0, 0, 0, 0} }
	frag := func(offset uint16, more byte) []byte {
		return []byte{44, 0, byte(offset >> 8), byte(offset) | more, 0xaa, 0xbb, 0xcc, 0xdd}
	}
	addr := func(i int, s string) []byte { return at(good, i, net.ParseIP(s).To16()...) }
	many := func(n int) (out [][]byte) {
		for range n {
			out = append(out, dst)
		}
		return out
	}
	src, to := 8, 24
	check(t, []malformed{
		{"good", good, OK},
		{"39 bytes", good[:39], BadLength},
		{"20 bytes", good[:20], BadLength},
		{"4 bytes", good[:4], BadLength},
		{"payload beyond the bytes", at(good, 4, 0, 41), BadLength},
		{"payload that wraps 16 bits", at(good, 4, 0xff, 0xff), BadLength},
		{"payload that wraps to nothing", at(good[:40], 4, 0xff, 0xd8), BadLength},
		{"bytes beyond the payload", append(at(good, 0), 1, 2), OK},
		{"hop limit 0", at(good, 7, 0), BadHeader},
		{"hop limit 1", at(good, 7, 1), OK},
		{"jumbogram", at(at(ext(t, 17, body, hop), 4, 0, 0), 0), BadExtension},
		{"hop-by-hop", ext(t, 17, body, hop), OK},
		{"hop-by-hop second", ext(t, 17, body, dst, hop), BadExtension},
		{"8 headers", ext(t, 17, body, many(8)...), OK},
		{"9 headers", ext(t, 17, body, many(9)...), BadExtension},
		{"256 bytes of headers", ext(t, 17, body, long, dst, dst, dst, dst, dst), OK},
		{"264 bytes of headers", ext(t, 17, body, long, dst, dst, dst, dst, dst, dst), BadExtension},
		{"header beyond the packet", ext(t, 17, nil, []byte{60, 1, 0, 0, 0, 0, 0, 0}), BadExtension},
		{"header of 4 bytes", ext(t, 17, nil, []byte{60, 0, 0, 0}), BadExtension},
		{"routing type 0", ext(t, 17, body, route(0)), BadExtension},
		{"routing type 4", ext(t, 17, body, route(4)), OK},
		{"truncated fragment header", ext(t, 17, nil, []byte{44, 0, 0, 1, 0, 0, 0}), BadExtension},
		{"two fragment headers", ext(t, 17, body, frag(0, 0), frag(0, 0)), BadExtension},
		{"atomic fragment", ext(t, 17, body, frag(0, 0)), OK},
		{"first fragment", ext(t, 17, body, frag(0, 1)), OK},
		{"first fragment with options", ext(t, 17, body, frag(0, 1), dst), OK},
		{"first fragment without a transport header", ext(t, 6, body[:16], frag(0, 1)), BadFragment},
		{"first fragment that ends in a header", ext(t, 6, nil, frag(0, 1), []byte{60, 1, 0, 0, 0, 0, 0, 0}), BadExtension},
		{"first fragment not of whole eights", ext(t, 17, body[:15], frag(0, 1)), BadFragment},
		{"later fragment", ext(t, 17, body, frag(80, 0)), OK},
		{"empty fragment", ext(t, 17, nil, frag(80, 0)), BadFragment},
		{"TCP at offset 8", ext(t, 6, body, frag(8, 0)), BadFragment},
		{"fragment beyond 65,535", ext(t, 17, body, frag(65528, 0)), BadFragment},
		{"no next header", ext(t, 59, nil), BadExtension},
		{"from multicast", addr(src, "ff02::1"), BadAddress},
		{"from nowhere", addr(src, "::"), BadAddress},
		{"from loopback", addr(src, "::1"), BadAddress},
		{"from IPv4-mapped", addr(src, "::ffff:1.2.3.4"), BadAddress},
		{"from link-local", addr(src, "fe80::1"), BadAddress},
		{"from the end of link-local", addr(src, "febf:ffff::1"), BadAddress},
		{"from beyond link-local", addr(src, "fec0::1"), OK},
		{"from IPv4-compatible, which is not mapped", addr(src, "::1.2.3.4"), OK},
		{"to nowhere", addr(to, "::"), BadAddress},
		{"to loopback", addr(to, "::1"), BadAddress},
		{"to IPv4-mapped", addr(to, "::ffff:1.2.3.4"), BadAddress},
		{"to link-local", addr(to, "fe80::1"), BadAddress},
		{"to itself", addr(to, "fd00::5"), BadAddress},
	})
	v := mustDecode(t, ext(t, 17, body, hop, frag(80, 1), dst))
	if v.Frag != Later || v.HasPorts || v.ID != 0xccdd || v.L4 != 56 || v.Proto != 60 {
		t.Errorf("a later fragment decodes as %+v", v)
	}
	v = mustDecode(t, ext(t, 17, body, hop, route(2), frag(0, 0), dst))
	if v.Frag != Whole || !v.HasPorts || v.DstPort != 53 || v.L4 != 72 || v.Proto != UDP {
		t.Errorf("an atomic fragment behind options decodes as %+v", v)
	}
}
