package nat

import (
	"testing"

	"turnout/classifier/packet"
)

// Protocols without ports: one LAN host for each (tunnel, remote, protocol).
func TestOtherProtocols(t *testing.T) {
	bothFamilies(t, func(t *testing.T, fam family) {
		r := newRig(t, 0)
		gre := pkt{src: fam.lan1, dst: fam.remote1, proto: 47, payload: []byte("tunnelled")}
		f, b := r.mustOut(gre, fam.pin1())
		if v := decode(t, b); v.Src != fam.ext1 || f.State != Other || f.Port != 0 {
			t.Fatalf("left from %v, flow %+v", v.Src, f)
		}
		_, b = r.mustIn(pkt{src: fam.remote1, dst: fam.ext1, proto: 47, payload: []byte("x")}, 3, packet.OK)
		if v := decode(t, b); v.Dst != fam.lan1 {
			t.Fatalf("answer to %v", v.Dst)
		}
		second := gre
		second.src = fam.lan2
		if _, _, got := r.out(second, fam.pin1()); got != packet.NoFreePort {
			t.Fatalf("second owner: %v, want no-free-port", got)
		}
		if f, _ = r.mustOut(second, fam.pin2()); f.LAN != fam.lan2 {
			t.Fatalf("flow %+v", f)
		}
		esp := second
		esp.proto = 50
		r.mustOut(esp, fam.pin1())
		second.dst = fam.remote2
		r.now += 600
		r.mustOut(second, fam.pin1())
		r.Expire(r.now)
		r.verify()
		if r.Len() != 1 {
			t.Fatalf("%d flows, want 1", r.Len())
		}
	})
}
