package nat

import (
	"testing"

	"turnout/classifier/packet"
)

// A datagram goes out and its answer comes back, on real bytes.
func TestUDPRoundTrip(t *testing.T) {
	bothFamilies(t, func(t *testing.T, fam family) {
		r := newRig(t, 0)
		f, b := r.mustOut(udp(fam.lan1, 5000, fam.remote1, 443), fam.pin1())
		v := decode(t, b)
		if v.Src != fam.ext1 || v.SrcPort != 5000 || v.Dst != fam.remote1 || v.DstPort != 443 {
			t.Fatalf("left as %v:%d > %v:%d", v.Src, v.SrcPort, v.Dst, v.DstPort)
		}
		if f.Pin != fam.pin1() || f.State != UDPOneWay || f.Port != 5000 {
			t.Fatalf("flow %+v", f)
		}
		f, b = r.mustIn(udp(fam.remote1, 443, fam.ext1, 5000), 3, packet.OK)
		v = decode(t, b)
		if v.Src != fam.remote1 || v.SrcPort != 443 || v.Dst != fam.lan1 || v.DstPort != 5000 {
			t.Fatalf("came back as %v:%d > %v:%d", v.Src, v.SrcPort, v.Dst, v.DstPort)
		}
		if f.State != UDPTwoWay || f.Pin != fam.pin1() {
			t.Fatalf("flow %+v", f)
		}
		// An existing flow keeps its exit whatever policy says by now.
		if f, _ = r.mustOut(udp(fam.lan1, 5000, fam.remote1, 443), fam.pin2()); f.Exit != 3 {
			t.Fatalf("moved to exit %d", f.Exit)
		}
		n := uint64(v.Len)
		if f = r.only(); f.PacketsOut != 2 || f.PacketsIn != 1 || f.BytesOut != 2*n || f.BytesIn != n {
			t.Fatalf("counters %+v", f)
		}
	})
}

// RFC 4787 REQ-1: one external port towards everyone. REQ-3: nobody else's.
func TestRow01EndpointIndependentMapping(t *testing.T) {
	bothFamilies(t, func(t *testing.T, fam family) {
		r := newRig(t, 0)
		r.mustOut(udp(fam.lan1, 5000, fam.remote1, 443), fam.pin1())
		taken, _ := r.mustOut(udp(fam.lan2, 5000, fam.remote2, 80), fam.pin1())
		if taken.Port == 5000 {
			t.Fatal("a UDP port was given to two LAN endpoints")
		}
		if taken.Port%2 != 0 || taken.Port < 1024 {
			t.Fatalf("port %d: neither the parity nor the range of 5000", taken.Port)
		}
		again, _ := r.mustOut(udp(fam.lan2, 5000, fam.remote1, 443), fam.pin1())
		if again.Port != taken.Port {
			t.Fatalf("ports %d and %d for one LAN endpoint", taken.Port, again.Port)
		}
		// Another tunnel has ports of its own.
		if f, _ := r.mustOut(udp(fam.lan2, 5000, fam.router, 443), fam.pin2()); f.Port != 5000 {
			t.Fatalf("port %d, 5000 was free in this tunnel", f.Port)
		}
		r.now += timers[UDPOneWay].normal
		if n := r.Expire(r.now); n != 4 {
			t.Fatalf("%d flows expired, want 4", n)
		}
		r.now += timers[resting].normal
		r.Expire(r.now)
		if f, _ := r.mustOut(udp(fam.lan2, 5000, fam.remote1, 443), fam.pin1()); f.Port != 5000 {
			t.Fatalf("port %d, 5000 became free", f.Port)
		}
		r.verify()
	})
}

// A mapping lives as long as the last of its flows.
func TestRow01MappingOutlivesFlow(t *testing.T) {
	r := newRig(t, 0)
	r.mustOut(udp(v4.lan1, 5000, v4.remote1, 443), v4.pin1())
	f, _ := r.mustOut(udp(v4.lan2, 5000, v4.remote1, 443), v4.pin1())
	r.now += 100
	r.mustOut(udp(v4.lan2, 5000, v4.remote2, 443), v4.pin1())
	r.now += 30
	if n := r.Expire(r.now); n != 2 {
		t.Fatalf("%d expired, want 2", n)
	}
	if g, _ := r.mustOut(udp(v4.lan2, 5000, v4.remote1, 443), v4.pin1()); g.Port != f.Port {
		t.Fatalf("port changed from %d to %d under a living flow", f.Port, g.Port)
	}
	r.verify()
}

// Filtering is by address, port and tunnel.
func TestRow08Filtering(t *testing.T) {
	bothFamilies(t, func(t *testing.T, fam family) {
		r := newRig(t, 0)
		r.mustOut(udp(fam.lan1, 5000, fam.remote1, 443), fam.pin1())
		for name, c := range map[string]struct {
			p    pkt
			exit uint16
		}{
			"another address":      {udp(fam.remote2, 443, fam.ext1, 5000), 3},
			"another port":         {udp(fam.remote1, 444, fam.ext1, 5000), 3},
			"another of our ports": {udp(fam.remote1, 443, fam.ext1, 5002), 3},
			"another tunnel":       {udp(fam.remote1, 443, fam.ext1, 5000), 4},
			"the LAN address":      {udp(fam.remote1, 443, fam.lan1, 5000), 3},
			"direct":               {udp(fam.remote1, 443, fam.ext1, 5000), Direct},
		} {
			if _, _, got := r.in(c.p, c.exit); got != packet.NoFlow {
				t.Errorf("%s: %v, want no-flow", name, got)
			}
		}
	})
}

// RFC 4787 REQ-5 and REQ-6: only the LAN keeps a flow alive.
func TestRow05UDPTimers(t *testing.T) {
	for _, c := range []struct {
		name     string
		port     uint16
		answered bool
		life     Tick
	}{
		{"one way", 443, false, 120},
		{"two way", 443, true, 300},
		{"dns", 53, true, 30},
		{"dns one way", 53, false, 30},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, 0)
			p := udp(v4.lan1, 5000, v4.remote1, c.port)
			r.mustOut(p, v4.pin1())
			if c.answered {
				r.mustIn(udp(v4.remote1, c.port, v4.ext1, 5000), 3, packet.OK)
			}
			r.now += c.life - 1
			r.mustOut(p, v4.pin2())
			r.now += c.life - 1
			f, _ := r.mustIn(udp(v4.remote1, c.port, v4.ext1, 5000), 3, packet.OK)
			if c.answered && f.TouchedAt != 1000+c.life-1 {
				t.Fatalf("touched at %d by an answer", f.TouchedAt)
			}
			if c.answered {
				r.now++
				r.mustIn(udp(v4.remote1, c.port, v4.ext1, 5000), 3, packet.NoFlow)
			}
			r.now += timers[UDPTwoWay].normal
			if f, _ := r.mustOut(p, v4.pin2()); f.Exit != 4 {
				t.Fatal("a dead flow was found")
			}
			if n := r.Len(); n != 1 {
				t.Fatalf("%d flows", n)
			}
		})
	}
}

// Without masquerade the flow is as stateful, and the addresses stay.
func TestNoMasquerade(t *testing.T) {
	bothFamilies(t, func(t *testing.T, fam family) {
		r := newRig(t, 0)
		site := Pin{Exit: 5, Entry: 2}
		p := udp(fam.lan1, 5000, fam.remote1, 443)
		f, b := r.mustOut(p, site)
		if string(b) != string(p.bytes()) {
			t.Fatal("the packet was changed")
		}
		if f.Masquerade || f.Port != 5000 || f.Exit != 5 {
			t.Fatalf("flow %+v", f)
		}
		r.mustOut(udp(fam.lan2, 5000, fam.remote1, 443), site)
		back := udp(fam.remote1, 443, fam.lan1, 5000)
		f, b = r.mustIn(back, 5, packet.OK)
		if string(b) != string(back.bytes()) || f.LAN != fam.lan1 {
			t.Fatalf("the answer was changed, or is of flow %+v", f)
		}
		r.mustIn(udp(fam.remote2, 443, fam.lan1, 5000), 5, packet.NoFlow)
		r.mustIn(back, 3, packet.NoFlow)
		// ICMP errors pass unchanged too, both ways.
		e := fam.about(fam.router, fam.lan1, p.bytes())
		if _, b = r.mustIn(e, 5, packet.OK); string(b) != string(e.bytes()) {
			t.Fatal("the error was changed")
		}
		e = fam.about(fam.lan1, fam.remote1, back.bytes())
		if _, b = r.mustOut(e, site); string(b) != string(e.bytes()) {
			t.Fatal("the error was changed")
		}
	})
}

// Two families cannot meet in one flow.
func TestMasqueradeNeedsOwnFamily(t *testing.T) {
	r := newRig(t, 0)
	if _, _, got := r.out(udp(v6.lan1, 5000, v6.remote1, 443), v4.pin1()); got != packet.NoFreePort {
		t.Fatalf("%v, want no-free-port", got)
	}
	if r.Len() != 0 {
		t.Fatal("a flow was left")
	}
}

// On the direct exit the kernel sees the answers, not the table.
func TestDirect(t *testing.T) {
	r := newRig(t, 0)
	if f, _ := r.mustOut(udp(v4.lan1, 5000, v4.remote1, 443), Pin{Exit: Direct}); f.State != UDPTwoWay {
		t.Fatalf("state %v", f.State)
	}
	syn := tcp(v4.lan1, 5000, v4.remote1, 443, packet.SYN, 100, 0)
	if f, _ := r.mustOut(syn, Pin{Exit: Direct}); f.State != TCPDirect {
		t.Fatalf("state %v", f.State)
	}
	data := tcp(v4.lan1, 5000, v4.remote1, 443, packet.ACK, 101, 900)
	r.now += 7439
	if f, _ := r.mustOut(data, v4.pin1()); f.Exit != Direct {
		t.Fatal("a direct pin was lost within 7440 s")
	}
	// A new connection from the same port is for policy again.
	if f, _ := r.mustOut(syn, v4.pin1()); f.Exit != 3 {
		t.Fatalf("a new connection kept exit %d", f.Exit)
	}
	r.verify()
}
