package packet

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// errorAbout builds an ICMP error that quotes the first n bytes of inner.
func errorAbout(t testing.TB, inner []byte, n int) []byte {
	quote := gopacket.Payload(inner[:min(n, len(inner))])
	if inner[0]>>4 == 4 {
		outer := ip4(1)
		outer.SrcIP, outer.DstIP = []byte{9, 9, 9, 9}, []byte{192, 168, 77, 5}
		return build(t, outer, &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(11, 0)}, quote)
	}
	m := icmp6(3, 0, 0)
	return build(t, ip6(58), m[0], gopacket.Payload(append([]byte{0, 0, 0, 0}, quote...)))
}

// TestEmbeddedRewrite wants the quoted packet to become what the same rewrite
// makes of it outside, and the error around it to stay true, however much of
// the packet is quoted.
func TestEmbeddedRewrite(t *testing.T) {
	r := newRandom(t)
	for range 4000 {
		inner := generate(t, r)
		iv := mustDecode(t, inner)
		if iv.Proto == UDP && iv.Version == 4 && r.IntN(4) == 0 {
			clear(inner[iv.L4+6 : iv.L4+8])
		}
		if iv.Version == 4 && len(inner) >= int(iv.L4)+8 && r.IntN(8) == 0 { // a later fragment
			inner[6], inner[7] = 0, 100
			fix4(inner)
			iv = mustDecode(t, inner)
		}
		b := errorAbout(t, inner, int(iv.L4)+8+r.IntN(60))
		v := mustDecode(t, b)
		var e View
		if got := v.Embedded(b, &e); got != OK {
			if iv.Len-iv.L4 < 8 {
				continue
			}
			t.Fatalf("%v: % x", got, b)
		}
		if e.Src != iv.Src || e.Dst != iv.Dst || e.SrcPort != iv.SrcPort || e.DstPort != iv.DstPort ||
			e.HasPorts != iv.HasPorts || e.Proto != iv.Proto || e.Len != iv.Len || e.L4 != iv.L4 || e.Frag != iv.Frag {
			t.Fatalf("quoted\n%+v, whole\n%+v", e, iv)
		}
		a, c := randomAddr(r, e.Version == 4), randomAddr(r, e.Version == 4)
		p, q := uint16(1+r.IntN(65535)), uint16(1+r.IntN(65535))
		SetEmbeddedSource(b, v, &e, a, p)
		SetEmbeddedDestination(b, v, &e, c, q)
		SetSource(inner, iv, a, p, false)
		SetDestination(inner, iv, c, q, false)
		quote := b[v.Payload:]
		if e.Proto == TCP && len(quote) == int(e.L4)+17 {
			quote = quote[:len(quote)-1] // half a checksum is left alone
		}
		if !bytes.Equal(quote, inner[:len(quote)]) {
			t.Fatalf("quoted % x\n whole % x", quote, inner[:len(quote)])
		}
		if got := VerifyHeader(b, v); got != OK || !bytes.Equal(b, recomputed(b, v)) {
			t.Fatalf("the error is %v: % x", got, b)
		}
		if e.SrcPort != iv.SrcPort || e.Src != iv.Src || e.Dst != iv.Dst {
			t.Fatalf("quoted\n%+v, whole\n%+v", e, iv)
		}
	}
}

func TestEmbeddedRefuses(t *testing.T) {
	inner := build(t, ip4(17), udp(), data(100))
	inner6 := build(t, ip6(6), tcp(), data(100))
	gre := build(t, ip4(47), data(2))
	about := func(change func([]byte)) []byte {
		b := append([]byte{}, inner...)
		change(b)
		fix4(b)
		return errorAbout(t, b, 60)
	}
	wrong := append([]byte{}, inner...)
	wrong[10] ^= 1
	mapped := append([]byte{}, inner6...)
	copy(mapped[8:], []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 1, 2, 3, 4})
	redirect := build(t, ip4(1), echo4(5), data(28))
	fragment := build(t, ip4(17), udp(), data(100))
	fragment[6], fragment[7] = 0x20, 80
	for _, row := range []struct {
		name string
		b    []byte
		want Reason
	}{
		{"8 bytes of UDP", errorAbout(t, inner, 28), OK},
		{"7 bytes of UDP", errorAbout(t, inner, 27), BadICMP},
		{"a header only", errorAbout(t, inner, 20), BadICMP},
		{"19 bytes", errorAbout(t, inner, 19), BadICMP},
		{"nothing", errorAbout(t, inner, 0), BadICMP},
		{"a short packet of another protocol", errorAbout(t, gre, 22), OK},
		{"a later fragment", errorAbout(t, fix4(fragment), 28), OK},
		{"header length 4 words", about(func(b []byte) { b[0] = 0x44 }), BadICMP},
		{"header length beyond the quote", errorAbout(t, at(inner, 0, 0x4f), 40), BadICMP},
		{"total length below the header", about(func(b []byte) { b[2], b[3] = 0, 10 }), BadICMP},
		{"version 6", about(func(b []byte) { b[0] = 0x65 }), BadICMP},
		{"a wrong checksum", errorAbout(t, wrong, 60), BadChecksum},
		{"an error", errorAbout(t, errorAbout(t, inner, 28), 60), BadICMP},
		{"a redirect", errorAbout(t, redirect, 60), BadICMP},
		{"IPv6", errorAbout(t, inner6, 48), OK},
		{"IPv6, 7 bytes of TCP", errorAbout(t, inner6, 47), BadICMP},
		{"IPv6, 39 bytes", errorAbout(t, inner6, 39), BadICMP},
		{"IPv6 with a mapped address", errorAbout(t, mapped, 60), BadICMP},
	} {
		v := mustDecode(t, row.b)
		var e View
		if got := v.Embedded(row.b, &e); got != row.want {
			t.Errorf("an error that quotes %s: %v, want %v", row.name, got, row.want)
		}
	}
	var v, e View
	v.Decode(inner)
	if v.Embedded(inner, &e) != BadICMP {
		t.Error("UDP quotes something")
	}
	b := errorAbout(t, inner, 60)
	v.Decode(b)
	if v.Embedded(b[:40], &e) != BadICMP {
		t.Error("a packet shorter than its view quotes something")
	}
}

// TestEmbeddedTruncatedChecksum: 8 bytes of TCP hold no checksum; the bytes
// after the quote must stay as they are.
func TestEmbeddedTruncatedChecksum(t *testing.T) {
	b := errorAbout(t, build(t, ip4(6), tcp(), data(100)), 28)
	b = append(b, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)
	v := mustDecode(t, b)
	var e View
	if r := v.Embedded(b, &e); r != OK {
		t.Fatal(r)
	}
	SetEmbeddedSource(b, v, &e, Addr4(0x0a000001), 77)
	if !bytes.Equal(b[v.Len:], []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}) {
		t.Error("bytes after the packet changed")
	}
	if VerifyHeader(b, v) != OK || binary.BigEndian.Uint16(b[48:]) != 77 {
		t.Errorf("% x", b)
	}
}

// TestVerifyError has what the classes of malformed packets leave out: the
// edges, and IPv6.
func TestVerifyError(t *testing.T) {
	inner, inner6 := build(t, ip4(17), udp(), data(1372)), build(t, ip6(17), udp(), data(1352))
	of4 := func(typ, code uint8, id, seq uint16, quote []byte) []byte {
		return build(t, ip4(1), &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(typ, code), Id: id, Seq: seq}, gopacket.Payload(quote))
	}
	of6 := func(typ uint8, rest uint32, quote []byte) []byte {
		m := icmp6(typ, 0, rest)
		return build(t, ip6(58), m[0], append(m[1].(gopacket.Payload), quote...))
	}
	first := of4(3, 1, 0, 0, inner[:32])
	first[6] = 0x20
	padded, padded6 := append(at(inner[:128], 0), 0x20, 0, 0, 0), append(at(inner6[:128], 0), 0x20, 0, 0, 0)
	for _, row := range []struct {
		name string
		b    []byte
		want Reason
	}{
		{"unreachable", of4(3, 1, 0, 0, inner[:28]), OK},
		{"time exceeded", of4(11, 0, 0, 0, inner[:28]), OK},
		{"parameter problem", of4(12, 0, 0xff00, 0, inner[:28]), OK},
		{"source quench", of4(4, 0, 0, 0, inner[:28]), BadICMP},
		{"redirect", of4(5, 0, 0, 0, inner[:28]), BadICMP},
		{"the first fragment of an error", fix4(first), BadFragment},
		{"too big, MTU 67", of4(3, 4, 0, 67, inner[:28]), BadICMP},
		{"too big, MTU 68", of4(3, 4, 0, 68, inner[:28]), OK},
		{"too big, MTU 1399", of4(3, 4, 0, 1399, inner[:28]), OK},
		{"too big, MTU 1400", of4(3, 4, 0, 1400, inner[:28]), BadICMP},
		{"too big, a length before the MTU", of4(3, 4, 7, 1300, inner[:28]), OK},
		{"32 words and extensions", of4(11, 0, 32, 0, padded), OK},
		{"33 words, the whole payload", of4(11, 0, 33, 0, padded), OK},
		{"34 words of 33", of4(11, 0, 34, 0, padded), BadICMP},
		{"6 words, which end in the ports", of4(11, 0, 6, 0, padded), BadICMP},
		{"unreachable, IPv6", of6(1, 0, inner6[:48]), OK},
		{"too big, IPv6, MTU 1399", of6(2, 1399, inner6[:48]), OK},
		{"too big, IPv6, MTU 1400", of6(2, 1400, inner6[:48]), BadICMP},
		{"too big, IPv6, an MTU beyond 16 bits", of6(2, 1<<16|1300, inner6[:48]), BadICMP},
		{"time exceeded, IPv6", of6(3, 0, inner6[:48]), OK},
		{"16 words of 8 and extensions", of6(3, 16<<24, padded6), OK},
		{"17 words of 16 and a half", of6(1, 17<<24, padded6), BadICMP},
		{"parameter problem, IPv6", of6(4, 40, inner6[:48]), OK},
		{"an error that nobody defined, IPv6", of6(5, 0, inner6[:48]), BadICMP},
		{"the last of those, IPv6", of6(127, 0, inner6[:48]), BadICMP},
	} {
		v := mustDecode(t, row.b)
		if got := VerifyHeader(row.b, v); got != row.want {
			t.Errorf("%s: %v, want %v", row.name, got, row.want)
		}
	}
}

// Extensions are no part of the packet that an error quotes, even where the
// rest of its header would be.
func TestEmbeddedLeavesExtensionsAlone(t *testing.T) {
	quote := append(at(build(t, ip4(6), tcp(), data(100))[:28], 0), data(40)...)
	b := build(t, ip4(1), &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(11, 0), Id: 7}, gopacket.Payload(quote))
	v := mustDecode(t, b)
	var e View
	if r := v.Embedded(b, &e); r != OK {
		t.Fatal(r)
	}
	SetEmbeddedSource(b, v, &e, Addr4(0x0a000001), 77)
	if !bytes.Equal(b[56:], data(40)) || VerifyHeader(b, v) != OK {
		t.Errorf("% x", b)
	}
}
