package nat

import (
	"testing"

	"turnout/classifier/packet"
)

func (f family) fragments() map[string][2]pkt {
	first := map[string]pkt{
		"udp":  udp(f.lan1, 5000, f.remote1, 443),
		"echo": f.echo(f.lan1, f.remote1, 77, f.request),
		"tcp":  tcp(f.lan1, 5000, f.remote1, 443, syn, 1, 0),
	}
	all := map[string][2]pkt{}
	for name, p := range first {
		p.frag, p.id, p.payload = packet.First, 4711, make([]byte, 800-8)
		if name == "tcp" {
			p.payload = p.payload[:800-20]
		}
		later := pkt{src: p.src, dst: p.dst, proto: p.proto, id: p.id, frag: packet.Later, payload: make([]byte, 100)}
		all[name] = [2]pkt{p, later}
	}
	return all
}

// Later fragments follow their first, in both directions, for 30 s.
func TestFragments(t *testing.T) {
	bothFamilies(t, func(t *testing.T, fam family) {
		for name, p := range fam.fragments() {
			t.Run(name, func(t *testing.T) {
				r := newRig(t, 0)
				first, later := p[0], p[1]
				r.shove(first, fam.lan2, fam.pin1())
				if _, _, got := r.out(later, fam.pin1()); got != packet.FragmentUnknown {
					t.Fatalf("before the first: %v", got)
				}
				f, _ := r.mustOut(first, fam.pin1())
				g, b := r.mustOut(later, fam.pin2())
				if v := decode(t, b); g.Port != f.Port || g.LAN != fam.lan1 || v.Src != fam.ext1 {
					t.Fatalf("flow %+v, want %+v", g, f)
				}
				// The same identification of another host is another datagram.
				other := later
				other.id++
				if _, _, got := r.out(other, fam.pin1()); got != packet.FragmentUnknown {
					t.Fatalf("another datagram: %v", got)
				}
				r.fragmentsBack(fam, first, f)
				r.now += fragmentLife
				if _, _, got := r.out(later, fam.pin1()); got != packet.FragmentUnknown {
					t.Fatalf("after 30 s: %v", got)
				}
			})
		}
	})
}

func (r *rig) fragmentsBack(fam family, first pkt, f Flow) {
	r.Helper()
	first.src, first.dst, first.sport, first.dport = fam.remote1, fam.ext1, first.dport, f.Port
	switch first.proto {
	case packet.TCP:
		first.flags, first.ack = syn|ack, 2+780
	case fam.icmp:
		first.sport, first.typ = f.Port, fam.reply
	}
	later := pkt{src: first.src, dst: first.dst, proto: first.proto, id: first.id, frag: packet.Later, payload: make([]byte, 100)}
	r.mustIn(later, 3, packet.FragmentUnknown)
	r.mustIn(first, 3, packet.OK)
	r.mustIn(later, 4, packet.FragmentUnknown)
	g, b := r.mustIn(later, 3, packet.OK)
	if v := decode(r, b); v.Dst != fam.lan1 || g.LANPort != f.LANPort {
		r.Fatalf("to %v, flow %+v", v.Dst, g)
	}
}

// A first fragment that is seen again does not gain time.
func TestFragmentTimeIsNotExtended(t *testing.T) {
	r := newRig(t, 0)
	p := v4.fragments()["udp"]
	r.mustOut(p[0], v4.pin1())
	r.now += 20
	r.mustOut(p[0], v4.pin1())
	r.now += 10
	if _, _, got := r.out(p[1], v4.pin1()); got != packet.FragmentUnknown {
		t.Fatalf("%v, want fragment-unknown", got)
	}
}

// A protocol without ports needs no first fragment.
func TestFragmentOfOtherProtocol(t *testing.T) {
	r := newRig(t, 0)
	later := pkt{src: v4.lan1, dst: v4.remote1, proto: 47, id: 1, frag: packet.Later, payload: make([]byte, 8)}
	r.mustOut(later, v4.pin1())
	r.mustIn(pkt{src: v4.remote1, dst: v4.ext1, proto: 47, id: 1, frag: packet.Later, payload: make([]byte, 8)}, 3, packet.OK)
}

// A flood of datagrams takes no more memory, and newer ones are known.
func TestFragmentFlood(t *testing.T) {
	r := newRig(t, 0)
	p := v4.fragments()["udp"]
	for id := range 1 << 16 {
		p[0].id = uint16(id)
		b := p[0].bytes()
		if _, ok := r.Out(b, decode(t, b), r.now); !ok && id > 0 {
			t.Fatal("lost the flow")
		} else if !ok {
			r.Open(b, decode(t, b), v4.pin1(), r.now)
		}
	}
	if n := len(r.early.sets) * fragmentWays; n != 16384 {
		t.Fatalf("room for %d datagrams", n)
	}
	p[1].id = 1<<16 - 1
	if f, _ := r.mustOut(p[1], v4.pin2()); f.Exit != 3 {
		t.Fatalf("flow %+v", f)
	}
}

// A fragment of a flow that is gone is unknown, even when the place of the flow
// was taken by another.
func TestFragmentOfDroppedFlow(t *testing.T) {
	r := newRig(t, 0)
	p := v4.fragments()["udp"]
	r.mustOut(p[0], v4.pin1())
	if r.DropExit(3) != 1 {
		t.Fatal("not dropped")
	}
	r.mustOut(udp(v4.lan1, 6000, v4.remote1, 443), v4.pin2())
	if _, _, got := r.out(p[1], v4.pin1()); got != packet.FragmentUnknown {
		t.Fatalf("%v, want fragment-unknown", got)
	}
}
