package answer

import (
	"net/netip"
	"testing"

	"turnout/classifier/packet"
	"turnout/tests/hostile"
)

// FuzzAnswers has packets of strangers answered: what comes out is a valid
// packet for their sender, small enough, and never about an ICMP error.
func FuzzAnswers(f *testing.F) {
	talk := hostile.Talk{
		Src: netip.MustParseAddr("192.168.77.10"), Dst: netip.MustParseAddr("198.51.100.1"),
		Src6: netip.MustParseAddr("fd00:77::10"), Dst6: netip.MustParseAddr("2001:db8:100::1"),
		UDP: hostile.Ports{Src: 5000, Dst: 53}, TCP: hostile.Ports{Src: 5002, Dst: 80}, Echo: 77,
	}
	for _, seed := range hostile.Seeds() {
		f.Add(seed(talk), uint8(3), uint8(4), uint16(1280), uint16(1280))
		f.Add(seed(talk), uint8(11), uint8(0), uint16(0), uint16(70))
	}
	f.Fuzz(func(t *testing.T, b []byte, typ, code uint8, mtu, room uint16) {
		var v packet.View
		if v.Decode(b) != packet.OK {
			return
		}
		us, limit := addr(us4), 576
		if v.Version == 6 {
			us, limit = addr(us6), 1280
		}
		dst := make([]byte, room)
		if n := ICMPError(dst, b, &v, us, typ, code, mtu); n > 0 {
			said := checked(t, dst[:n], &v)
			if n > limit || said.Src != us || v.IsError {
				t.Fatalf("%d bytes from %v about %+v", n, said.Src, v)
			}
		}
		if n := Reset(dst, b, &v); n > 0 {
			said := checked(t, dst[:n], &v)
			l4 := dst[said.L4:n]
			if said.Src != v.Dst || said.Flags&packet.RST == 0 || v.Flags&packet.RST != 0 ||
				packet.Checksum(l4, packet.PseudoSum(said, len(l4))) != 0xffff {
				t.Fatalf("% x answers %+v", dst[:n], v)
			}
		}
	})
}

// checked decodes an answer, which must be for the sender of about.
func checked(t *testing.T, b []byte, about *packet.View) *packet.View {
	v := new(packet.View)
	if why := v.Decode(b); why != packet.OK && why != packet.BadICMP { // of types that nobody would ask for
		t.Fatalf("the answer is %v: % x", why, b)
	}
	if v.Dst != about.Src || int(v.Len) != len(b) || v.Version == 4 && packet.Checksum(b[:v.L4], 0) != 0xffff {
		t.Fatalf("the answer to %v is % x", about.Src, b)
	}
	return v
}
