package packet

import (
	"testing"

	"github.com/google/gopacket/layers"
)

// TestEveryClass goes through the classes of malformed packets, one by one, and
// holds each to what is decided about it: by Decode, by VerifyHeader for what
// comes out of a tunnel, or by Embedded for what an ICMP error quotes. The
// tables of malformed_test.go have the edges of each class.
func TestEveryClass(t *testing.T) {
	u, c := build(t, ip4(17), udp(), data(32)), build(t, ip4(6), tcp(), data(32))
	m, e := build(t, ip4(1), echo4(8), data(32)), errorAbout(t, build(t, ip4(17), udp(), data(32)), 28)
	u6 := build(t, ip6(17), udp(), data(32))
	kind6 := func(typ uint8, rest uint32) []byte {
		x := icmp6(typ, 0, rest)
		return build(t, ip6(58), x[0], x[1], data(32))
	}
	syn := tcp()
	syn.SYN, syn.ACK = true, false
	option := func(o ...byte) []byte {
		b := at(build(t, ip4(6), tcp(), data(32)), 32, 0x60)
		copy(b[40:], o)
		return b
	}
	ipOption := func(o ...byte) []byte {
		b := at(build(t, ip4(17), data(4), udp(), data(32)), 0, 0x46)
		copy(b[20:], o)
		return b
	}
	piece := func(proto layers.IPProtocol, size, offset int, more bool) []byte {
		ip := ip4(proto)
		ip.FragOffset = uint16(offset / 8)
		if more {
			ip.Flags = layers.IPv4MoreFragments
		}
		return build(t, ip, data(size))
	}
	many := make([][]byte, 9)
	for i := range many {
		many[i] = []byte{60, 0, 0, 0, 0, 0, 0, 0}
	}
	hop, noRoute := []byte{0, 0, 0, 1, 2, 0, 0, 0}, []byte{43, 0, 0, 0, 0, 0, 0, 0}
	verify := func(b []byte, v *View) Reason { return VerifyHeader(b, v) }
	embedded := func(b []byte, v *View) Reason { return v.Embedded(b, new(View)) }

	for _, row := range []struct {
		class string
		b     []byte
		then  func([]byte, *View) Reason // asked when Decode says OK
		want  Reason
	}{
		{"IPv4: nothing at all", nil, nil, BadLength},
		{"IPv4: less than a header", u[:19], nil, BadLength},
		{"IPv4: another version", at(u, 0, 0x55), nil, BadVersion},
		{"IPv4: header of less than 5 words", at(u, 0, 0x44), nil, BadHeader},
		{"IPv4: header beyond the bytes", at(u[:40], 0, 0x4f), nil, BadLength},
		{"IPv4: total length below the header", at(u, 2, 0, 10), nil, BadHeader},
		{"IPv4: total length beyond the bytes", at(u, 2, 1, 0), nil, BadLength},
		{"IPv4: total length below the bytes, which the caller trims", append(at(u, 0), 9, 9), nil, OK},
		{"IPv4: wrong header checksum", at(u, 10, u[10]^1), verify, BadChecksum},
		{"IPv4: TTL 0", at(u, 8, 0), nil, BadHeader},
		{"IPv4: TTL 1, which the kernel has lowered already", at(u, 8, 1), nil, OK},
		{"IPv4: source multicast", at(u, 12, 239), nil, BadAddress},
		{"IPv4: source broadcast", at(u, 12, 255, 255, 255, 255), nil, BadAddress},
		{"IPv4: source of this network", at(u, 12, 0), nil, BadAddress},
		{"IPv4: source loopback", at(u, 12, 127), nil, BadAddress},
		{"IPv4: source of class E", at(u, 12, 240), nil, BadAddress},
		{"IPv4: destination of this network", at(u, 16, 0), nil, BadAddress},
		{"IPv4: destination loopback", at(u, 16, 127), nil, BadAddress},
		{"IPv4: source equals destination", at(u, 16, 192, 168, 77, 5), nil, BadAddress},
		{"IPv4: loose source route", ipOption(131, 3, 4, 0), nil, BadOption},
		{"IPv4: strict source route", ipOption(137, 3, 4, 0), nil, BadOption},
		{"IPv4: option of length 0", ipOption(7, 0), nil, BadOption},
		{"IPv4: option of length 1", ipOption(7, 1), nil, BadOption},
		{"IPv4: option beyond the header", ipOption(7, 5), nil, BadOption},
		{"IPv4: reserved flag", at(u, 6, 0x80), nil, BadHeader},
		{"IPv4: DF and MF", at(u, 6, 0x60), nil, BadFragment},
		{"fragment: first that hides the ports", piece(6, 16, 0, true), nil, BadFragment},
		{"fragment: TCP at offset 8", piece(6, 24, 8, true), nil, BadFragment},
		{"fragment: beyond 65,535", piece(17, 64, 65528, false), nil, BadFragment},
		{"fragment: middle not of whole eights", piece(17, 12, 80, true), nil, BadFragment},
		{"fragment: empty", piece(17, 0, 80, false), nil, BadFragment},
		{"fragment: inside an ICMP error", errorAbout(t, fix4(at(u, 6, 0x20, 10)), 28), embedded, OK},
		{"TCP: less than a header", build(t, ip4(6), data(12)), nil, BadTCP},
		{"TCP: data offset of less than 5 words", at(c, 32, 0x40), nil, BadTCP},
		{"TCP: data offset beyond the end", at(c, 32, 0xf0), nil, BadTCP},
		{"TCP: no flags", at(c, 33, 0), nil, BadTCP},
		{"TCP: SYN and FIN", at(c, 33, SYN|FIN), nil, BadTCP},
		{"TCP: SYN and RST", at(c, 33, SYN|RST), nil, BadTCP},
		{"TCP: FIN alone", at(c, 33, FIN), nil, BadTCP},
		{"TCP: Xmas", at(c, 33, FIN|PSH|URG), nil, BadTCP},
		{"TCP: source port 0", at(c, 20, 0, 0), nil, BadTCP},
		{"TCP: destination port 0", at(c, 22, 0, 0), nil, BadTCP},
		{"TCP: option of length 0", option(3, 0, 0, 0), nil, BadTCP},
		{"TCP: option beyond the header", option(3, 5, 0, 0), nil, BadTCP},
		{"TCP: MSS of a wrong length", option(2, 3, 5, 0), nil, BadTCP},
		{"TCP: MSS 0", option(2, 4, 0, 0), nil, BadTCP},
		{"TCP: wrong checksum, which is for the far end", at(c, 36, c[36]^1), verify, OK},
		{"TCP: SYN with data (RFC 7413)", build(t, ip4(6), syn, data(32)), nil, OK},
		{"UDP: less than a header", build(t, ip4(17), data(7)), nil, BadUDP},
		{"UDP: length of less than a header", at(u, 24, 0, 7), nil, BadUDP},
		{"UDP: length beyond the packet", at(u, 24, 0, 99), nil, BadUDP},
		{"UDP: length below the packet", at(u, 24, 0, 30), nil, BadUDP},
		{"UDP: no checksum in IPv4", at(u, 26, 0, 0), nil, OK},
		{"UDP: no checksum in IPv6", at(u6, 46, 0, 0), nil, BadUDP},
		{"UDP: port 0", at(u, 22, 0, 0), nil, BadUDP},
		{"ICMP: less than a header", build(t, ip4(1), data(7)), nil, BadICMP},
		{"ICMP: wrong checksum", at(m, 30, m[30]^1), verify, BadChecksum},
		{"ICMP: quotes less than a header", errorAbout(t, u, 12), embedded, BadICMP},
		{"ICMP: quotes a bad header length", errorAbout(t, at(u, 0, 0x42), 28), embedded, BadICMP},
		{"ICMP: quotes less than 8 bytes of transport", errorAbout(t, u, 24), embedded, BadICMP},
		{"ICMP: an error about an error", errorAbout(t, e, 40), embedded, BadICMP},
		{"ICMP: unknown type, which is no error", at(m, 20, 77), nil, OK},
		{"IPv6: less than a header", u6[:39], nil, BadLength},
		{"IPv6: payload beyond the bytes", at(u6, 4, 1, 0), nil, BadLength},
		{"IPv6: payload that wraps with the header", at(u6, 4, 0xff, 0xf0), nil, BadLength},
		{"IPv6: jumbogram", at(ext(t, 17, nil, hop), 4, 0, 0), nil, BadExtension},
		{"IPv6: too many extension headers", ext(t, 17, u6[40:], many...), nil, BadExtension},
		{"IPv6: extension header beyond the packet", ext(t, 17, nil, []byte{60, 9, 0, 0, 0, 0, 0, 0}), nil, BadExtension},
		{"IPv6: hop-by-hop not first", ext(t, 17, u6[40:], many[0], hop), nil, BadExtension},
		{"IPv6: routing header of type 0", ext(t, 17, u6[40:], noRoute), nil, BadExtension},
		{"IPv6: cut fragment header", ext(t, 17, nil, []byte{44, 0, 0, 1}), nil, BadExtension},
		{"IPv6: atomic fragment, which is whole", ext(t, 17, u6[40:], []byte{44, 0, 0, 0, 0, 0, 0, 1}), nil, OK},
		{"IPv6: first fragment without transport header", ext(t, 17, nil, []byte{44, 0, 0, 1, 0, 0, 0, 1}, many[0]), nil, BadFragment},
		{"IPv6: no next header", ext(t, 59, nil), nil, BadExtension},
		{"IPv6: source multicast", at(u6, 8, 0xff), nil, BadAddress},
		{"IPv6: source unspecified", at(u6, 8, make([]byte, 16)...), nil, BadAddress},
		{"IPv6: source loopback", at(u6, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1), nil, BadAddress},
		{"IPv6: source IPv4-mapped", at(u6, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff), nil, BadAddress},
		{"IPv6: link-local", at(u6, 24, 0xfe, 0x80), nil, BadAddress},
		{"ICMPv6: packet too big of less than 1280", kind6(2, 1279), nil, BadICMP},
		{"ICMPv6: neighbours and listeners, which no flow begins with", kind6(135, 0), nil, OK},
		{"ICMPv6: unknown type, which is no error", kind6(200, 0), nil, OK},
		{"ICMPv6: unknown error", kind6(99, 0), nil, OK},
	} {
		var v View
		got := v.Decode(row.b)
		if got == OK && row.then != nil {
			got = row.then(row.b, &v)
		}
		if got != row.want {
			t.Errorf("%s: %v, want %v", row.class, got, row.want)
		}
	}

	// What the data path decides by, where the header alone is good.
	for _, row := range []struct {
		class   string
		b       []byte
		isError bool
	}{
		{"an unknown ICMP type", at(m, 20, 77), false},
		{"a redirect", at(m, 20, 5), true},
		{"a source quench", at(m, 20, 4), true},
		{"an echo reply that nobody asked for", at(m, 20, 0), false},
		{"an unknown ICMPv6 error", kind6(99, 0), true},
		{"a neighbour that is asked for", kind6(135, 0), false},
		{"a redirect of ICMPv6", kind6(137, 0), false},
		{"an unknown ICMPv6 type", kind6(200, 0), false},
	} {
		if v := mustDecode(t, row.b); v.IsError != row.isError {
			t.Errorf("%s: IsError is %v", row.class, v.IsError)
		}
	}
}
