package packet_test

import (
	"testing"

	"turnout/classifier/packet"
	"turnout/tests/hostile"
)

func seeds(f *testing.F) {
	for _, t := range talks() {
		for _, seed := range hostile.Seeds() {
			f.Add(seed(t))
		}
	}
	f.Add([]byte{0x60, 0, 0, 0})
	f.Add([]byte{0x4f, 0, 0, 20, 0, 0, 0, 0, 1, 6, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2})
}

// FuzzDecode wants no panic, and of what decodes: a view within the bytes, the
// same view for the same bytes without what follows, headers as an obvious
// reader sees them, and rewriting that keeps what the view says.
func FuzzDecode(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		if wrong := decode(b); wrong != "" {
			t.Fatalf("%s: % x", wrong, b)
		}
	})
}

// FuzzEmbedded wants no panic on any quote, and an error that is still true
// after the quote was rewritten.
func FuzzEmbedded(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		if wrong := embedded(b); wrong != "" {
			t.Fatalf("%s: % x", wrong, b)
		}
	})
}

// decode changes b, and says what FuzzDecode finds wrong with it.
func decode(b []byte) string {
	var v, again packet.View
	if v.Decode(b) != packet.OK {
		return ""
	}
	if int(v.Len) > len(b) || v.L4 > v.Payload || v.Payload > v.Len || v.L4 < 20 {
		return "the view reaches beyond the packet"
	}
	b = b[:v.Len]
	if again.Decode(b) != packet.OK || again != v {
		return "it decodes otherwise when trimmed"
	}
	if wrong := obvious(b, &v); wrong != "" {
		return wrong
	}
	verified, intact := packet.VerifyHeader(b, &v), truthful(b, &v)
	a := another(&v)
	if v.Src == a || v.Dst == a || zeros(b[v.L4:]) {
		return ""
	}
	packet.SetSource(b, &v, a, 5, false)
	packet.SetTTL(b, &v, 9)
	packet.ClampMSS(b, &v, 1000, false)
	switch {
	case again.Decode(b) != packet.OK || again != v:
		return "it decodes otherwise when rewritten"
	case packet.VerifyHeader(b, &v) != verified:
		return "its headers are verified otherwise when rewritten"
	case truthful(b, &v) != intact:
		return "its transport checksum is not as true when rewritten"
	}
	return ""
}

// embedded changes b, and says what FuzzEmbedded finds wrong with it.
func embedded(b []byte) string {
	var v, e packet.View
	if v.Decode(b) != packet.OK || v.Embedded(b, &e) != packet.OK {
		return ""
	}
	if int(e.L4) > int(v.Len-v.Payload) {
		return "the quote's view reaches beyond the quote"
	}
	verified := packet.VerifyHeader(b, &v)
	packet.SetEmbeddedSource(b, &v, &e, another(&v), 5)
	packet.SetEmbeddedDestination(b, &v, &e, another(&v), 6)
	if packet.VerifyHeader(b, &v) != verified {
		return "the error is verified otherwise when its quote is rewritten"
	}
	return ""
}

// zeros reports whether there is nothing else. Such an echo reply with the
// checksum 0 is wrong, it must be the other form of zero; a rewrite cannot tell
// them apart (RFC 1624, 3) and makes it true.
func zeros(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// another is an address of v's family.
func another(v *packet.View) packet.Addr {
	if v.Version == 6 {
		return packet.Addr{Hi: 0x2001 << 48, Lo: 1}
	}
	return packet.Addr4(0x01010101)
}

// truthful verifies the checksum of a whole TCP segment or UDP datagram that has
// one.
func truthful(b []byte, v *packet.View) bool {
	t := b[v.L4:v.Len]
	if !v.HasPorts || v.Frag != packet.Whole || v.Proto == packet.UDP && t[6]|t[7] == 0 {
		return true
	}
	return packet.Checksum(t, packet.PseudoSum(v, len(t))) == 0xffff
}
