package fragment

import (
	"testing"

	"turnout/classifier/packet"
)

// movers are functions that show a datagram's fragments to a tracker or a
// reassembler, another datagram at each call.
func movers(t testing.TB) map[string]func() {
	all := map[string]func(){}
	for name, m := range map[string]message{"4": newMessage(false, packet.UDP, 2800), "6": newMessage(true, packet.UDP, 2800)} {
		parts := m.cut(1400)
		first, later := decode(t, parts[0]), decode(t, parts[1])
		number := func(n uint32) { // gives both another identification
			for _, b := range parts {
				at := 4
				if m.v6 {
					at = 46
				}
				b[at], b[at+1] = byte(n>>8), byte(n)
			}
		}
		r, whole, n := newRig(t, Options{}), NewReassembler(), uint32(0)
		each := func(b []byte, v *packet.View) {}
		all["in order/"+name] = func() {
			n++
			number(n)
			a, b := *first, *later
			got := r.Take(lan, parts[0], &a, n>>16)
			r.Decide(got.Datagram, 1, true)
			r.Take(lan, parts[1], &b, n>>16)
		}
		all["held/"+name] = func() {
			n++
			number(n)
			a, b := *first, *later
			r.Take(lan, parts[1], &b, n>>16)
			got := r.Take(lan, parts[0], &a, n>>16)
			r.Decide(got.Datagram, 1, true)
			r.Release(got.Datagram, each)
		}
		all["reassembled/"+name] = func() {
			n++
			number(n)
			whole.Add(parts[0], first, n>>16)
			whole.Add(parts[1], later, n>>16)
		}
	}
	ids, i := NewIDs(), uint64(0)
	all["identification"] = func() {
		i++
		ids.Next(packet.Addr{Lo: i & 255}, packet.UDP, 2)
	}
	return all
}

func TestFragmentsDoNotAllocate(t *testing.T) {
	for name, m := range movers(t) {
		t.Run(name, func(t *testing.T) {
			m()
			if n := testing.AllocsPerRun(5000, m); n > 0 {
				t.Errorf("%v allocations a datagram", n)
			}
		})
	}
}

// BenchmarkDatagram is for two fragments together.
func BenchmarkDatagram(b *testing.B) {
	for name, m := range movers(b) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				m()
			}
		})
	}
}
