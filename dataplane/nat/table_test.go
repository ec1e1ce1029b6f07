package nat

import (
	"math/rand/v2"
	"testing"

	"turnout/classifier/packet"
)

// putInState makes one flow of a state: LAN host 1, the given port.
func (r *rig) putInState(s State, port uint16) {
	r.Helper()
	remote := v4.remote1
	established := func() {
		r.mustOut(tcp(v4.lan1, port, remote, 443, syn, 1000, 0), v4.pin1())
		r.mustIn(tcp(remote, 443, v4.ext1, port, syn|ack, 9000, 1001), 3, packet.OK)
		r.mustOut(tcp(v4.lan1, port, remote, 443, ack, 1001, 9001), v4.pin1())
	}
	switch s {
	case UDPOneWay, UDPTwoWay:
		r.mustOut(udp(v4.lan1, port, remote, 443), v4.pin1())
		if s == UDPTwoWay {
			r.mustIn(udp(remote, 443, v4.ext1, port), 3, packet.OK)
		}
	case DNSQuery:
		r.mustOut(udp(v4.lan1, port, remote, 53), v4.pin1())
	case ICMPQuery:
		r.mustOut(v4.echo(v4.lan1, remote, port, v4.request), v4.pin1())
	case TCPOpening, TCPAnswered:
		r.mustOut(tcp(v4.lan1, port, remote, 443, syn, 1000, 0), v4.pin1())
		if s == TCPAnswered {
			r.mustIn(tcp(remote, 443, v4.ext1, port, syn|ack, 9000, 1001), 3, packet.OK)
		}
	case TCPPicked:
		r.mustOut(tcp(v4.lan1, port, remote, 443, ack, 1000, 9000), v4.pin1())
	case TCPUp, TCPClosing, TCPReset:
		established()
		if s == TCPClosing {
			r.mustOut(tcp(v4.lan1, port, remote, 443, fin|ack, 1001, 9001), v4.pin1())
		} else if s == TCPReset {
			r.mustIn(tcp(remote, 443, v4.ext1, port, rst, 9001, 0), 3, packet.OK)
		}
	case TCPDirect:
		r.mustOut(tcp(v4.lan1, port, remote, 443, syn, 1000, 0), Pin{Exit: Direct})
	case Other:
		r.mustOut(pkt{src: v4.lan1, dst: remote, proto: uint8(100 + port%50), payload: make([]byte, 8)}, v4.pin1())
	}
}

func (r *rig) states() map[State]int {
	m := map[State]int{}
	r.Each(func(f Flow) bool { m[f.State]++; return true })
	return m
}

// A full table gives up flows in the order of sacrifice, the longest silent
// first, and an established TCP flow never.
func TestSacrifice(t *testing.T) {
	r := newRig(t, int(resting)*2)
	for s := range resting { // two of each, the second a second younger
		r.putInState(s, 2000+uint16(s)*2)
	}
	r.now++
	for s := range resting {
		r.putInState(s, 2001+uint16(s)*2)
	}
	if m := r.states(); len(m) != int(resting) || r.Len() != int(resting)*2 {
		t.Fatalf("%d flows: %v", r.Len(), m)
	}
	up := 2
	for _, s := range victims {
		for left := 1; left >= 0; left-- {
			r.putInState(TCPOpening, 40000)
			r.dropPort(40000)
			younger := Flow{}
			r.Each(func(f Flow) bool {
				if f.State == s {
					younger = f
				}
				return true
			})
			if m := r.states(); m[s] != left || m[TCPUp] != up {
				t.Fatalf("giving up %v: left %v", s, m)
			}
			if left == 1 && younger.StartedAt != r.now {
				t.Fatalf("giving up %v: the older one stayed", s)
			}
			r.putInState(TCPUp, 41000+uint16(up)) // keep it full
			up++
		}
	}
	b := udp(v4.lan1, 5000, v4.remote1, 443).bytes()
	if _, got := r.Open(b, decode(t, b), LAN, v4.pin1(), r.now); got != packet.FlowTableFull {
		t.Fatalf("%v, want flow-table-full", got)
	}
	r.verify()
	r.now += timers[TCPUp].normal
	r.mustOut(udp(v4.lan1, 5000, v4.remote1, 443), v4.pin1())
}

// dropPort removes the flow of a LAN port.
func (r *rig) dropPort(port uint16) {
	for i := uint32(1); i < r.flows.next; i++ {
		if e := r.flows.at(i); e.tag != 0 && e.state != resting && e.lanPort == port {
			r.remove(i)
			return
		}
	}
	r.Fatalf("no flow of port %d", port)
}

// What has outlived its timer goes before anything alive.
func TestExpiredGoFirst(t *testing.T) {
	r := newRig(t, 8)
	r.putInState(ICMPQuery, 1)
	r.now += 60
	for i := range 7 {
		r.putInState(UDPOneWay, uint16(2000+i))
	}
	r.putInState(UDPOneWay, 2007)
	if m := r.states(); m[UDPOneWay] != 8 {
		t.Fatalf("left %v", m)
	}
}

// Nearly full, the shorter timers count.
func TestExpireUnderPressure(t *testing.T) {
	r := newRig(t, 64)
	for i := range 57 {
		r.putInState(UDPOneWay, uint16(2000+i))
	}
	if n := r.Expire(r.now + 29); n != 0 {
		t.Fatalf("%d expired", n)
	}
	if n := r.Expire(r.now + 30); n != 57 {
		t.Fatalf("%d expired, want all", n)
	}
	r.now += 30
	for i := range 56 {
		r.putInState(UDPOneWay, uint16(2000+i))
	}
	if n := r.Expire(r.now + 30); n != 0 {
		t.Fatalf("%d expired without pressure", n)
	}
}

// The clocks of goroutines may disagree; the table's never goes back.
func TestTimeDoesNotGoBack(t *testing.T) {
	r := newRig(t, 0)
	p := udp(v4.lan1, 5000, v4.remote1, 443)
	r.mustOut(p, v4.pin1())
	r.now += 10
	r.mustOut(p, v4.pin1())
	r.now -= 5
	if f, _ := r.mustOut(p, v4.pin1()); f.TouchedAt != 1010 {
		t.Fatalf("touched at %d", f.TouchedAt)
	}
	r.verify()
}

// The tick may wrap.
func TestTickWraps(t *testing.T) {
	r := newRig(t, 0)
	r.now = ^Tick(0) - 10
	p := udp(v4.lan1, 5000, v4.remote1, 443)
	r.mustOut(p, v4.pin1())
	r.now += 100
	if f, _ := r.mustOut(p, v4.pin2()); f.Exit != 3 {
		t.Fatal("lost at the wrap")
	}
	r.now += 120
	if n := r.Expire(r.now); n != 1 {
		t.Fatalf("%d expired", n)
	}
}

func TestDropExit(t *testing.T) {
	r := newRig(t, 0)
	for i := range 1000 {
		pin := v4.pin1()
		if i%2 == 1 {
			pin = v4.pin2()
		}
		r.mustOut(udp(v4.lan1, uint16(2000+i), v4.remote1, 443), pin)
	}
	if n := r.DropExit(3); n != 500 || r.Len() != 500 {
		t.Fatalf("dropped %d, %d left", n, r.Len())
	}
	if n := r.DropExit(3); n != 0 {
		t.Fatalf("dropped %d again", n)
	}
	r.Each(func(f Flow) bool {
		if f.Exit != 4 {
			t.Fatalf("left %+v", f)
		}
		return true
	})
	// The same exit with another address is a new beginning.
	pin := v4.pin1()
	pin.Addr = v4.ext2
	if f, _ := r.mustOut(udp(v4.lan1, 2000, v4.remote1, 443), pin); f.Addr != v4.ext2 {
		t.Fatalf("flow %+v", f)
	}
	r.verify()
}

// Each may use the table, and stops when told.
func TestEach(t *testing.T) {
	r := newRig(t, 0)
	for i := range 1000 {
		r.putInState(UDPOneWay, uint16(2000+i))
	}
	n := 0
	r.Each(func(f Flow) bool { n++; r.Len(); return true })
	if n != 1000 {
		t.Fatalf("%d flows", n)
	}
	n = 0
	r.Each(func(f Flow) bool { n++; return n < 3 })
	if n != 3 {
		t.Fatalf("went on to %d", n)
	}
}

// The index against a map, with keys that share hashes more often than real
// ones.
func TestIndex(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 2))
	hash := func(i uint32) uint64 { return uint64(i%977)<<54 | uint64(i%977)*3 }
	x := newIndex(newArena(), hash)
	model := map[uint32]bool{}
	for n := range 60_000 {
		i := 1 + rng.Uint32N(3000)
		if model[i] {
			x.remove(i, hash(i))
			delete(model, i)
		} else {
			x.add(i, hash(i))
			model[i] = true
		}
		if n%1000 != 0 {
			continue
		}
		for i := uint32(1); i <= 3000; i++ {
			found := false
			for at := uint32(0); !found; at++ {
				var c uint32
				if c, at = x.candidate(hash(i), at); c == 0 {
					break
				}
				found = c == i
			}
			if found != model[i] {
				t.Fatalf("event %d: record %d: %v, want %v", n, i, found, model[i])
			}
		}
	}
	if x.used != len(model) {
		t.Fatalf("%d used, want %d", x.used, len(model))
	}
}

// A doubling moves a few records at a time, and is done long before the next.
func TestIndexGrowsBitByBit(t *testing.T) {
	secret := newSecret()
	hash := func(i uint32) uint64 { return secret.hash(i, 0, 0, 0) }
	x := newIndex(newArena(), hash)
	grown := uint32(0)
	for i := uint32(1); i <= 100_000; i++ {
		before := x.moved
		x.add(i, hash(i))
		switch {
		case x.old == nil:
			grown = i
		case x.moved > before && x.moved-before > 512:
			t.Fatalf("record %d moved %d slots", i, x.moved-before)
		case i-grown > uint32(len(x.old))/2:
			t.Fatalf("record %d: %d of %d slots moved", i, x.moved, len(x.old))
		}
	}
	for i := uint32(1); i <= 100_000; i++ {
		if !indexed(&x, i, hash(i)) {
			t.Fatalf("record %d is lost", i)
		}
	}
}
