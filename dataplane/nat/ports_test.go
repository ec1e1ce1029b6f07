package nat

import (
	"math/rand/v2"
	"testing"

	"turnout/classifier/packet"
)

// Every port of a span is found, one by one, wherever the search starts.
func TestPortSetFindsTheLastOne(t *testing.T) {
	for _, sp := range []span{evenHigh[0], evenHigh[1], evenLow[0], evenLow[1], echo[0]} {
		var s portTable
		n := 0
		for {
			p, ok := s.free(sp, sp.random())
			if !ok {
				break
			}
			if s.used.has(p) || sp.mask>>(p&63)&1 == 0 || p>>6 < sp.first || p>>6 > sp.last {
				t.Fatalf("span %+v gave %d", sp, p)
			}
			s.used.set(p)
			n++
		}
		want := 64 * int(sp.last-sp.first+1)
		if sp.mask != anyParity {
			want /= 2
		}
		if n != want {
			t.Fatalf("span %+v gave %d ports, has %d", sp, n, want)
		}
	}
}

// The next free port is the nearest at or after the start, round the end.
func TestPortSetAgainstSlow(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	for range 300 {
		var s portTable
		for i := range s.used {
			s.used[i], s.reserved[i] = rng.Uint64()|rng.Uint64(), rng.Uint64()
			if rng.IntN(4) > 0 {
				s.used[i] = ^uint64(0)
			}
		}
		sp := [...]span{evenHigh[0], oddHigh[0], evenLow[0], echo[0]}[rng.IntN(4)]
		lo, n := uint32(sp.first)*64, uint32(sp.last-sp.first+1)*64
		start := lo + rng.Uint32N(n)
		want, found := uint16(0), false
		for d := uint32(0); d < n && !found; d++ {
			want = uint16(lo + (start-lo+d)%n)
			found = !s.used.has(want) && !s.reserved.has(want) && sp.mask>>(want&63)&1 != 0
		}
		if got, ok := s.free(sp, uint16(start)); ok != found || ok && got != want {
			t.Fatalf("span %+v from %d: %d %v, want %d %v", sp, start, got, ok, want, found)
		}
	}
}

// RFC 4787 REQ-3, 3a and 4: parity and range, as long as they last.
func TestRow04ParityAndRange(t *testing.T) {
	for _, want := range []uint16{5000, 5001, 500, 501, 65535, 1024, 1, 1023} {
		var s portTable
		s.used.set(0) // as portsOf has it
		s.used.set(want)
		got, _ := s.pick(packet.UDP, want)
		if got == 0 || got == want || got%2 != want%2 || (got < 1024) != (want < 1024) {
			t.Errorf("%d in place of %d", got, want)
		}
	}
}

// Ports below 1024 are 1023: port 0 is never given, by UDP nor by TCP. When
// they are used up, the high ones follow.
func TestRow03LowPorts(t *testing.T) {
	for _, p := range []pkt{udp(v4.lan1, 700, v4.remote1, 443), tcp(v4.lan1, 700, v4.remote1, 443, syn, 1, 0)} {
		r := newRig(t, 0)
		b := p.bytes()
		v := decode(t, b)
		low := 0
		for i := range 1100 {
			v.Src = packet.Addr4(0x0a640000 + uint32(i))
			f, reason := r.Open(b, v, LAN, v4.pin1(), r.now)
			if reason != packet.OK || f.Port == 0 {
				t.Fatalf("protocol %d, flow %d: port %d, %v", v.Proto, i, f.Port, reason)
			}
			if f.Port < 1024 {
				low++
			}
		}
		if v.Proto == packet.UDP && low != 1023 {
			t.Fatalf("%d ports below 1024", low)
		}
		r.verify()
	}
}

// fill opens n UDP flows of exit 3, each of another LAN endpoint that wants
// port 5000, and returns the external ports.
func (r *rig) fill(n int) map[uint16]bool {
	r.Helper()
	seen := map[uint16]bool{}
	b := udp(v4.lan1, 5000, v4.remote1, 443).bytes()
	v := decode(r, b)
	for i := range n {
		v.Src = packet.Addr4(0x0a640000 + uint32(i))
		f, reason := r.Open(b, v, LAN, v4.pin1(), r.now)
		if reason != packet.OK {
			r.Fatalf("flow %d: %v", i, reason)
		}
		if seen[f.Port] || f.Port < 1024 {
			r.Fatalf("flow %d: port %d", i, f.Port)
		}
		seen[f.Port] = true
	}
	return seen
}

// An address carries 64,512 UDP mappings and refuses none while a port is free.
func TestRow03NoOverloading(t *testing.T) {
	r := newRig(t, 0)
	r.fill(64512)
	if _, _, got := r.out(udp(v4.lan1, 7000, v4.remote2, 443), v4.pin1()); got != packet.NoFreePort {
		t.Fatalf("%v, want no-free-port", got)
	}
	if n := r.Len(); n != 64512 {
		t.Fatalf("%d flows", n)
	}
	// The other tunnel, TCP, echo and a port below 1024 do not notice.
	r.mustOut(udp(v4.lan1, 7000, v4.remote2, 443), v4.pin2())
	r.mustOut(tcp(v4.lan1, 7000, v4.remote2, 443, syn, 1, 0), v4.pin1())
	r.mustOut(v4.echo(v4.lan1, v4.remote2, 7000, v4.request), v4.pin1())
	if f, _ := r.mustOut(udp(v4.lan1, 700, v4.remote2, 443), v4.pin1()); f.Port != 700 {
		t.Fatalf("port %d", f.Port)
	}
	r.verify()
	r.now += timers[UDPOneWay].normal
	r.Expire(r.now)
	r.fill(1000)
	r.verify()
}

// TCP finds the last port towards one remote end, and then says so; towards
// another remote end all ports are free. The search cannot take the processor:
// it has a budget for each tick.
func TestRow21NoOverloading(t *testing.T) {
	r := newRig(t, 0)
	b := tcp(v4.lan1, 5000, v4.remote1, 443, syn, 1, 0).bytes()
	v := decode(t, b)
	for port := 1024; port < 1<<16; port++ {
		if v.SrcPort = uint16(port); port == 40001 {
			continue
		}
		if f, got := r.Open(b, v, LAN, v4.pin1(), r.now); got != packet.OK || f.Port != v.SrcPort {
			t.Fatalf("port %d: %v, %d", port, got, f.Port)
		}
	}
	second := tcp(v4.lan2, 5000, v4.remote1, 443, syn, 1, 0)
	if f, _ := r.mustOut(second, v4.pin1()); f.Port != 40001 {
		t.Fatalf("port %d, only 40001 was free", f.Port)
	}
	second.sport = 5001
	if _, _, got := r.out(second, v4.pin1()); got != packet.NoFreePort {
		t.Fatalf("%v, want no-free-port", got)
	}
	second.dst = v4.remote2
	if f, _ := r.mustOut(second, v4.pin1()); f.Port != 5001 {
		t.Fatalf("port %d, 5001 is free towards this remote", f.Port)
	}
	second.dst, second.sport = v4.remote1, 5002
	for range 10 {
		r.out(second, v4.pin1())
	}
	if r.probes != 0 {
		t.Fatalf("%d probes left after 11 searches in one tick", r.probes)
	}
	r.now++
	second.dst = v4.remote2
	r.mustOut(second, v4.pin1())
	r.verify()
}
