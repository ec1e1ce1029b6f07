package nat

import (
	"math/rand/v2"
	"sync"
	"testing"

	"turnout/classifier/packet"
)

// A packet of a known flow allocates nothing, nor does a miss or a refusal; a
// new flow only when the table grows.
func TestNoAllocations(t *testing.T) {
	r := newRig(t, 100)
	for _, s := range []State{UDPTwoWay, TCPUp, ICMPQuery, Other} {
		r.putInState(s, 5000)
	}
	_, sent := r.mustOut(udp(v4.lan1, 5000, v4.remote1, 443), v4.pin1())
	other := pkt{src: v4.lan1, dst: v4.remote1, proto: 100 + 5000%50, payload: make([]byte, 8)}
	back := other
	back.src, back.dst = v4.remote1, v4.ext1

	for name, p := range map[string]pkt{
		"udp":     udp(v4.lan1, 5000, v4.remote1, 443),
		"tcp":     tcp(v4.lan1, 5000, v4.remote1, 443, ack, 1001, 9001),
		"echo":    v4.echo(v4.lan1, v4.remote1, 5000, v4.request),
		"other":   other,
		"unknown": udp(v4.lan2, 5000, v4.remote1, 443),
	} {
		b := p.bytes()
		v := *decode(t, b)
		none(t, name+" out", func() {
			v := v
			if f, ok := r.Out(b, &v, LAN, r.now); ok {
				f.RewriteOut(b, &v, false)
				v = packet.View{}
			}
		})
	}
	for name, p := range map[string]pkt{
		"udp":     udp(v4.remote1, 443, v4.ext1, 5000),
		"tcp":     tcp(v4.remote1, 443, v4.ext1, 5000, ack, 9001, 1001),
		"echo":    v4.echo(v4.remote1, v4.ext1, 5000, v4.reply),
		"other":   back,
		"error":   v4.about(v4.router, v4.ext1, sent),
		"unknown": udp(v4.remote2, 443, v4.ext1, 5000),
	} {
		original := p.bytes()
		b := append([]byte(nil), original...)
		none(t, name+" in", func() {
			copy(b, original)
			var v packet.View
			v.Decode(b)
			if f, reason := r.In(b, &v, 3, r.now); reason == packet.OK {
				f.RewriteIn(b, &v, false)
			}
		})
	}
	c := newCrowd(t, packet.UDP)
	c.open(t, r.Table, 0, 2000, v4.pin1())
	i := uint32(2000)
	none(t, "new flow in a full table", func() {
		i++
		if _, reason := r.Open(c.b, c.flow(i), LAN, v4.pin1(), r.now); reason != packet.OK {
			t.Fatal(reason)
		}
	})
	r, _ = fileRigOf(t, Options{MaxFlows: 100}, flowFile(t), File{Exits: exits(3)}, 1000)
	six := udp(v6.lan1, 5000, v6.remote1, 443).bytes()
	v := decode(t, six)
	next := func() {
		v.Dst.Lo++
		v.SrcPort++
		if _, reason := r.Open(six, v, LAN, v6.pin1(), r.now); reason != packet.OK {
			t.Fatal(reason)
		}
	}
	for range 2000 {
		next()
	}
	none(t, "and of IPv6, in a file", next)
	r.verify()
}

func none(t *testing.T, name string, f func()) {
	t.Helper()
	if n := testing.AllocsPerRun(200, f); n != 0 {
		t.Errorf("%s: %v allocations", name, n)
	}
}

// One dispatcher, four tunnels, the clock, a listing and exits that go: the
// race detector and verify watch.
func TestConcurrent(t *testing.T) {
	r := newRig(t, 2000)
	const exits = 4
	stop := make(chan struct{})
	var wg sync.WaitGroup
	forever := func(f func(n int)) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
					f(n)
				}
			}
		}()
	}
	for x := range uint16(exits) {
		rng := rand.New(rand.NewPCG(uint64(x), 3))
		forever(func(n int) {
			port := 2000 + uint16(rng.IntN(3000))
			p := udp(v4.remote1, 443, v4.ext1, port)
			if n%2 == 0 {
				p = tcp(v4.remote1, 443, v4.ext1, port, syn|ack, 1, 2)
			}
			b := p.bytes()
			v := decode(t, b)
			if f, reason := r.In(b, v, x+3, 1000+Tick(n/1000)); reason == packet.OK {
				if f.Exit != x+3 {
					t.Errorf("flow of exit %d in %d", f.Exit, x+3)
				}
				f.RewriteIn(b, v, false)
			}
		})
	}
	forever(func(n int) { r.Expire(1000 + Tick(n/100)) })
	forever(func(n int) {
		r.Each(func(f Flow) bool { return f.LAN.Is4() })
		r.DropExit(3 + uint16(n%exits))
	})
	rng := rand.New(rand.NewPCG(9, 3))
	for n := range 30_000 {
		lan := packet.Addr4(v4.lan1.V4() + rng.Uint32N(4))
		port := 2000 + uint16(rng.IntN(3000))
		p := udp(lan, port, v4.remote1, 443)
		if n%2 == 0 {
			p = tcp(lan, port, v4.remote1, 443, syn, 1, 0)
		}
		pin := v4.pin1()
		pin.Exit = 3 + port%exits
		b := p.bytes()
		v := decode(t, b)
		f, ok := r.Out(b, v, LAN, 1000+Tick(n/1000))
		if !ok {
			f, _ = r.Open(b, v, LAN, pin, 1000+Tick(n/1000))
		}
		f.RewriteOut(b, v, false)
	}
	close(stop)
	wg.Wait()
	r.verify()
}
