package nat

import (
	"testing"

	"turnout/classifier/packet"
)

func (f family) conePin() Pin {
	p := f.pin1()
	p.FullCone = true
	return p
}

// RFC 4787 REQ-8, the option: whoever knows a mapped port reaches its host, and
// is answered from there.
func TestRow08FullCone(t *testing.T) {
	bothFamilies(t, func(t *testing.T, fam family) {
		r := newRig(t, 0)
		r.mustOut(udp(fam.lan2, 5000, fam.remote1, 443), fam.conePin()) // so that the port is another
		g, _ := r.mustOut(udp(fam.lan1, 5000, fam.remote1, 443), fam.conePin())
		stranger := udp(fam.router, 99, fam.ext1, g.Port)
		f, b := r.mustIn(stranger, 3, packet.OK)
		if v := decode(t, b); v.Dst != fam.lan1 || v.DstPort != 5000 || v.Src != fam.router || v.SrcPort != 99 {
			t.Fatalf("delivered as %v:%d > %v:%d", v.Src, v.SrcPort, v.Dst, v.DstPort)
		}
		if f.Pin != g.Pin || f.State != UDPOneWay || !f.Inbound {
			t.Fatalf("flow %+v", f)
		}
		r.verify()
		if f, _ = r.mustIn(stranger, 3, packet.OK); f.PacketsIn != 1 {
			t.Fatalf("the second packet met %+v", f)
		}
		f, b = r.mustOut(udp(fam.lan1, 5000, fam.router, 99), fam.pin2())
		if v := decode(t, b); v.Src != fam.ext1 || v.SrcPort != g.Port || f.State != UDPTwoWay {
			t.Fatalf("answered from %v:%d, flow %+v", v.Src, v.SrcPort, f)
		}
		r.verify()
	})
}

// What is open is one mapped UDP port in one tunnel, for whole packets.
func TestRow08FullConeOpensNothingElse(t *testing.T) {
	r := newRig(t, 0)
	r.mustOut(udp(v4.lan1, 5000, v4.remote1, 443), v4.conePin())
	r.mustOut(udp(v4.lan1, 6000, v4.remote1, 443), v4.pin1())
	r.mustOut(tcp(v4.lan1, 7000, v4.remote1, 443, syn, 1, 0), v4.conePin())
	r.mustOut(v4.echo(v4.lan1, v4.remote1, 5002, v4.request), v4.conePin())
	later := udp(v4.router, 99, v4.ext1, 5000)
	later.frag = packet.Later
	for name, c := range map[string]struct {
		p    pkt
		exit uint16
	}{
		"a port that is not mapped": {udp(v4.router, 99, v4.ext1, 5001), 3},
		"a mapping without it":      {udp(v4.router, 99, v4.ext1, 6000), 3},
		"another tunnel":            {udp(v4.router, 99, v4.ext1, 5000), 4},
		"another address":           {udp(v4.router, 99, v4.ext2, 5000), 3},
		"TCP":                       {tcp(v4.router, 99, v4.ext1, 7000, syn, 1, 0), 3},
		"echo":                      {v4.echo(v4.router, v4.ext1, 5002, v4.request), 3},
		"a later fragment":          {later, 3},
	} {
		if _, _, got := r.in(c.p, c.exit); got != packet.NoFlow {
			t.Errorf("%s: %v, want no-flow", name, got)
		}
	}
	if r.Len() != 4 {
		t.Errorf("%d flows", r.Len())
	}
	r.verify()
}

// RFC 4787 REQ-6: strangers keep no mapping alive, not even one after the other.
func TestRow06StrangersDoNotRefresh(t *testing.T) {
	r := newRig(t, 0)
	r.mustOut(udp(v4.lan1, 5000, v4.remote1, 443), v4.conePin())
	for i := range uint16(12) {
		r.now += 9
		r.mustIn(udp(v4.router, 100+i, v4.ext1, 5000), 3, packet.OK)
		r.mustIn(udp(v4.router, 100, v4.ext1, 5000), 3, packet.OK)
		r.verify()
	}
	r.now += 12 // 120 s after the LAN's packet
	r.mustIn(udp(v4.router, 99, v4.ext1, 5000), 3, packet.NoFlow)
	r.mustIn(udp(v4.router, 111, v4.ext1, 5000), 3, packet.OK) // still its own flow
	r.Expire(r.now)
	r.verify()
	// The host answers the last one: the mapping comes back.
	if f, _ := r.mustOut(udp(v4.lan1, 5000, v4.router, 111), v4.pin2()); f.Port != 5000 || f.State != UDPTwoWay {
		t.Fatalf("flow %+v", f)
	}
	r.verify()
	r.mustIn(udp(v4.router, 99, v4.ext1, 5000), 3, packet.OK)
	r.now += 119
	r.mustOut(udp(v4.lan1, 5000, v4.router, 111), v4.pin2())
	r.now += 120
	r.mustIn(udp(v4.router, 98, v4.ext1, 5000), 3, packet.OK)
	r.now += 180 // 300 s
	r.mustIn(udp(v4.router, 97, v4.ext1, 5000), 3, packet.NoFlow)
	r.Expire(r.now)
	r.verify()
	if r.Len() != 0 {
		t.Fatalf("%d flows", r.Len())
	}
}

// A stranger whose flow outlives the mapping finds nobody else behind the port.
func TestRow08StrangerAndRest(t *testing.T) {
	r := newRig(t, 0)
	f, _ := r.mustOut(udp(v4.lan1, 5000, v4.remote1, 443), v4.conePin())
	r.mustIn(udp(v4.router, 99, v4.ext1, 5000), 3, packet.OK)
	r.Drop(f)
	r.verify()
	if g, _ := r.mustOut(udp(v4.lan2, 5000, v4.remote1, 443), v4.conePin()); g.Port == 5000 {
		t.Fatal("the port of a living flow went to another host")
	}
	if g, _ := r.mustIn(udp(v4.router, 99, v4.ext1, 5000), 3, packet.OK); g.LAN != v4.lan1 {
		t.Fatalf("flow %+v", g)
	}
	r.verify()
}

// A stranger's flow whose port its host has lost meanwhile joins no mapping at
// another port.
func TestRow08StrangerAtALostPort(t *testing.T) {
	r := newRig(t, 0)
	f, _ := r.mustOut(udp(v4.lan1, 5000, v4.remote1, 443), v4.conePin())
	r.mustIn(udp(v4.router, 99, v4.ext1, 5000), 3, packet.OK)
	r.Drop(f)
	r.Reserve(3, v4.ext1, []Reservation{{packet.UDP, 5000, 5000}})
	if g, _ := r.mustOut(udp(v4.lan1, 5000, v4.remote1, 443), v4.conePin()); g.Port == 5000 {
		t.Fatal("a reserved port was given")
	}
	if g, _ := r.mustOut(udp(v4.lan1, 5000, v4.router, 99), v4.pin2()); g.Port != 5000 {
		t.Fatalf("flow %+v", g)
	}
	r.verify()
}
