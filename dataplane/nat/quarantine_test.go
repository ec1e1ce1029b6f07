package nat

import (
	"testing"

	"turnout/classifier/packet"
)

// RFC 6888 REQ-8: for 120 s after a mapping's last flow its port is for the same
// near endpoint alone.
func TestRow45PortRests(t *testing.T) {
	bothFamilies(t, func(t *testing.T, fam family) {
		for name, c := range map[string]struct {
			mine, other pkt
			life        Tick
		}{
			"udp":  {udp(fam.lan1, 5000, fam.remote1, 443), udp(fam.lan2, 5000, fam.remote2, 443), 120},
			"icmp": {fam.echo(fam.lan1, fam.remote1, 5000, fam.request), fam.echo(fam.lan2, fam.remote2, 5000, fam.request), 60},
		} {
			t.Run(name, func(t *testing.T) {
				r := newRig(t, 0)
				r.mustOut(c.mine, fam.pin1())
				r.now += c.life
				if n := r.Expire(r.now); n != 1 || r.Len() != 0 {
					t.Fatalf("%d expired, %d left", n, r.Len())
				}
				r.now += 119
				r.Expire(r.now)
				if f, _ := r.mustOut(c.other, fam.pin1()); f.Port == 5000 {
					t.Fatal("the port went to another host after 119 s")
				}
				c.mine.dst = fam.router
				if f, _ := r.mustOut(c.mine, fam.pin1()); f.Port != 5000 {
					t.Fatalf("the host itself got port %d", f.Port)
				}
				r.verify()
				r.now += c.life
				r.Expire(r.now)
				r.now += 120
				r.Expire(r.now)
				r.verify()
				if f, _ := r.mustOut(c.other, fam.pin1()); f.Port != 5000 {
					t.Fatalf("port %d, 5000 has rested", f.Port)
				}
				r.verify()
			})
		}
	})
}

// A port that is not its endpoint's own rests too.
func TestRow45AnotherPortRests(t *testing.T) {
	r := newRig(t, 0)
	r.mustOut(udp(v4.lan1, 5000, v4.remote1, 443), v4.pin1())
	f, _ := r.mustOut(udp(v4.lan2, 5000, v4.remote1, 443), v4.pin1())
	r.Drop(f)
	r.verify()
	if g, _ := r.mustOut(udp(v4.lan1, f.Port, v4.remote1, 443), v4.pin1()); g.Port == f.Port {
		t.Fatal("a resting port was given away")
	}
	if g, _ := r.mustOut(udp(v4.lan2, 5000, v4.remote2, 443), v4.pin1()); g.Port != f.Port {
		t.Fatalf("port %d, had %d", g.Port, f.Port)
	}
	r.verify()
}

// All ports in use or resting: nobody gets one but those whose they are; and
// all are to be had once they have rested.
func TestRow45Recovery(t *testing.T) {
	r := newRig(t, 0)
	r.fill(64512)
	r.now += 120
	if n := r.Expire(r.now); n != 64512 {
		t.Fatalf("%d expired", n)
	}
	stranger := udp(v4.lan1, 7000, v4.remote2, 443)
	r.now += 119
	r.Expire(r.now)
	if _, _, got := r.out(stranger, v4.pin1()); got != packet.NoFreePort {
		t.Fatalf("%v, want no-free-port", got)
	}
	r.fill(100) // the same hosts as before
	r.now++
	r.Expire(r.now)
	r.mustOut(stranger, v4.pin1())
	r.fill(64511)
	r.verify()
}

// A tunnel that goes takes its resting ports along.
func TestDropExitEndsRest(t *testing.T) {
	r := newRig(t, 0)
	f, _ := r.mustOut(udp(v4.lan1, 5000, v4.remote1, 443), v4.pin1())
	r.Drop(f)
	if n := r.DropExit(3); n != 0 {
		t.Fatalf("%d flows dropped", n)
	}
	if len(r.bindings.pools) != 0 {
		t.Fatal("the pool was kept")
	}
	if f, _ := r.mustOut(udp(v4.lan2, 5000, v4.remote1, 443), v4.pin1()); f.Port != 5000 {
		t.Fatalf("port %d", f.Port)
	}
	r.verify()
}

// No more ports rest than there may be flows: the longest rest ends first.
func TestRestIsBounded(t *testing.T) {
	r := newRig(t, 8)
	for i := range uint16(9) {
		f, _ := r.mustOut(udp(v4.lan1, 5000+i, v4.remote1, 443), v4.pin1())
		r.Drop(f)
		r.now++
		r.verify()
	}
	if f, _ := r.mustOut(udp(v4.lan2, 5000, v4.remote1, 443), v4.pin1()); f.Port != 5000 {
		t.Fatalf("port %d, 5000 should have made room", f.Port)
	}
	if f, _ := r.mustOut(udp(v4.lan2, 5001, v4.remote1, 443), v4.pin1()); f.Port == 5001 {
		t.Fatal("5001 rests")
	}
	r.verify()
}

// Ports of forwards and of our own sockets go to no flow, and no flow that has
// one loses it.
func TestRow03ReservedPorts(t *testing.T) {
	bothFamilies(t, func(t *testing.T, fam family) {
		r := newRig(t, 0)
		flows := map[uint8]func(lan, remote packet.Addr, port uint16) pkt{
			packet.UDP: func(lan, remote packet.Addr, port uint16) pkt { return udp(lan, port, remote, 443) },
			packet.TCP: func(lan, remote packet.Addr, port uint16) pkt { return tcp(lan, port, remote, 443, syn, 1, 0) },
		}
		for proto, flow := range flows {
			r.mustOut(flow(fam.lan1, fam.remote1, 5003), fam.pin1())
			r.Reserve(3, fam.ext1, []Reservation{{proto, 4000, 5003}})
			for port := uint16(5000); port < 5004; port++ {
				f, _ := r.mustOut(flow(fam.lan2, fam.remote1, port), fam.pin1())
				if f.Port >= 4000 && f.Port <= 5003 || f.Port%2 != port%2 {
					t.Fatalf("protocol %d got port %d for %d", proto, f.Port, port)
				}
			}
			if f, _ := r.mustOut(flow(fam.lan1, fam.remote1, 5003), fam.pin1()); f.Port != 5003 {
				t.Fatalf("a flow under way moved to port %d", f.Port)
			}
			if f, _ := r.mustOut(flow(fam.lan2, fam.remote2, 5000), fam.pin2()); f.Port != 5000 {
				t.Fatal("another tunnel's port was reserved")
			}
			r.verify()
		}
		// The UDP reservations are replaced, and so are the TCP ones.
		r.Reserve(3, fam.ext1, nil)
		for _, flow := range flows {
			if f, _ := r.mustOut(flow(fam.lan2, fam.remote2, 4500), fam.pin1()); f.Port != 4500 {
				t.Fatalf("port %d, 4500 is free again", f.Port)
			}
		}
		r.verify()
	})
}

// A port that was reserved while it rested does not come back.
func TestReservedWhileResting(t *testing.T) {
	r := newRig(t, 0)
	f, _ := r.mustOut(udp(v4.lan1, 5000, v4.remote1, 443), v4.pin1())
	r.Drop(f)
	r.Reserve(3, v4.ext1, []Reservation{{packet.UDP, 5000, 5000}})
	for range 2 {
		f, _ = r.mustOut(udp(v4.lan1, 5000, v4.remote1, 443), v4.pin1())
		if f.Port == 5000 {
			t.Fatal("a reserved port was given")
		}
		r.verify()
	}
	r.Reserve(3, v4.ext1, nil)
	if f, _ := r.mustOut(udp(v4.lan2, 5000, v4.remote1, 443), v4.pin1()); f.Port != 5000 {
		t.Fatalf("port %d", f.Port)
	}
	r.verify()
}

// The search for a TCP port passes over reserved ones, however many.
func TestRow03ReservedTCPPorts(t *testing.T) {
	r := newRig(t, 0)
	r.Reserve(3, v4.ext1, []Reservation{{packet.TCP, 1024, 65000}})
	for i := range 100 {
		p := tcp(v4.lan1, 5000, v4.remote1, 443, syn, 1, 0)
		p.src.Lo += uint64(i)
		if f, _ := r.mustOut(p, v4.pin1()); f.Port <= 65000 {
			t.Fatalf("port %d", f.Port)
		}
	}
}
