package packet

import (
	"testing"

	"github.com/google/gopacket/layers"
)

func seeds(f *testing.F) {
	for _, b := range hotRows(f) {
		f.Add(b[:min(len(b), 120)])
		f.Add(b)
	}
	f.Add([]byte{})
	f.Add([]byte{0x60, 0, 0, 0})
	f.Add([]byte{0x4f, 0, 0, 20, 0, 0, 0, 0, 1, 6, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2})
	inner := build(f, ip4(6), tcp(), data(10))
	f.Add(errorAbout(f, inner, 28))
	f.Add(errorAbout(f, build(f, ip6(17), udp(), data(10)), 60))
	ip := ip4(17)
	ip.Flags = layers.IPv4MoreFragments
	f.Add(build(f, ip, udp(), data(16)))
	v6 := build(f, ip6(44), append(data(0), 17, 0, 0, 1, 0, 0, 0, 1, 0, 1, 0, 2, 0, 8, 1, 1))
	f.Add(v6)
}

// FuzzDecode wants no panic, and of what decodes: a view within the bytes, the
// same view for the same bytes without what follows, and rewriting that keeps
// what the view says.
func FuzzDecode(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		var v View
		if v.Decode(b) != OK {
			return
		}
		if int(v.Len) > len(b) || v.L4 > v.Payload || v.Payload > v.Len || v.L4 < 20 {
			t.Fatalf("%d bytes: %+v", len(b), v)
		}
		b = b[:v.Len]
		var again View
		if r := again.Decode(b); r != OK || again != v {
			t.Fatalf("trimmed: %v\n%+v\n%+v", r, again, v)
		}
		verified := VerifyHeader(b, &v)
		a := Addr4(0x01010101)
		if v.Version == 6 {
			a = Addr{0x2001 << 48, 1}
		}
		if v.Src == a || v.Dst == a {
			return
		}
		SetSource(b, &v, a, 5, false)
		SetTTL(b, &v, 9)
		ClampMSS(b, &v, 1000, false)
		if r := again.Decode(b); r != OK || again != v {
			t.Fatalf("rewritten: %v\n%+v\n%+v", r, again, v)
		}
		if r := VerifyHeader(b, &v); r != verified {
			t.Fatalf("rewritten: %v, was %v: % x", r, verified, b)
		}
	})
}

// FuzzEmbedded wants no panic on any quote, and an error that is still true
// after the quote was rewritten.
func FuzzEmbedded(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		var v, e View
		if v.Decode(b) != OK || v.Embedded(b, &e) != OK {
			return
		}
		if int(e.L4) > int(v.Len-v.Payload) {
			t.Fatalf("%+v in %+v", e, v)
		}
		verified := VerifyHeader(b, &v)
		a := Addr4(0x01010101)
		if v.Version == 6 {
			a = Addr{0x2001 << 48, 1}
		}
		SetEmbeddedSource(b, &v, &e, a, 5)
		SetEmbeddedDestination(b, &v, &e, a, 6)
		if r := VerifyHeader(b, &v); r != verified {
			t.Fatalf("rewritten: %v, was %v: % x", r, verified, b)
		}
	})
}
