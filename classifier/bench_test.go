package classifier

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"turnout/classifier/packet"
)

// routerPolicy draws a policy of the shape that a policy router has: mostly
// destinations, some with ports, a few lines by source or DSCP, a default.
func routerPolicy(r *rand.Rand, entries int) *Policy {
	p := &Policy{Exits: append([]Exit{}, three...)}
	for i := range 8 {
		p.Exits = append(p.Exits, Exit{Name: fmt.Sprint("tunnel", i), Kind: KindTunnel})
	}
	prefix := func(lo, hi int) []netip.Prefix {
		bits := lo + r.IntN(hi-lo+1)
		return []netip.Prefix{netip.PrefixFrom(packet.Addr4(1<<24+r.Uint32N(222<<24)).Netip(), bits).Masked()}
	}
	host := func() []netip.Prefix {
		return []netip.Prefix{netip.PrefixFrom(packet.Addr4(192<<24|168<<16|r.Uint32N(1<<16)).Netip(), 32)}
	}
	port := func() []PortRange { n := uint16(1 + r.IntN(65000)); return []PortRange{{n, n + uint16(r.IntN(9))}} }
	for i := range entries - 1 {
		e := Entry{Exit: FirstNamed + ExitID(i%8)}
		switch k := r.IntN(100); {
		case k < 45:
			e.To = prefix(10, 24)
		case k < 80:
			e.To = prefix(32, 32)
		case k < 94:
			e.To, e.Protos, e.Ports = prefix(8, 24), []uint8{packet.TCP}, port()
		case k < 97:
			e.To, e.From = prefix(8, 24), host()
		case k < 98:
			e.From = host()
		case k < 99:
			e.Protos, e.Ports = []uint8{packet.UDP}, port()
		default:
			e.DSCP = []uint8{uint8(r.IntN(64))}
			e.To = prefix(8, 16)
		}
		p.Entries = append(p.Entries, e)
	}
	p.Entries = append(p.Entries, Entry{By: ByDefault, Exit: Direct})
	return p
}

// traffic draws packets that mostly match a random entry.
func traffic(r *rand.Rand, p *Policy, n int) []packet.View {
	out := make([]packet.View, n)
	for i := range out {
		v := view4("8.8.8.8", packet.TCP, uint16(1+r.IntN(65535)), true)
		e := &p.Entries[r.IntN(len(p.Entries))]
		v.Dst = packet.Addr4(1<<24 + r.Uint32N(222<<24))
		if len(e.To) > 0 {
			inside := r.Uint32() & uint32(1<<(32-e.To[0].Bits())-1)
			v.Dst = packet.Addr4(packet.AddrFrom(e.To[0].Addr()).V4() | inside)
		}
		if len(e.From) > 0 {
			v.Src = packet.AddrFrom(e.From[0].Addr())
		}
		if len(e.Ports) > 0 {
			v.DstPort, v.Proto = e.Ports[0].Lo, e.Protos[0]
		}
		out[i] = *v
	}
	return out
}

var sizes = []int{10, 100, 1000, 10000}

func BenchmarkLookup(b *testing.B) {
	for _, n := range sizes {
		r := rand.New(rand.NewPCG(1, 2))
		p := routerPolicy(r, n)
		table, views := mustCompile(b, p), traffic(r, p, 1<<14)
		b.Run(fmt.Sprintf("router/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				table.Lookup(&views[i&(1<<14-1)])
				i++
			}
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	for _, n := range sizes {
		p := routerPolicy(rand.New(rand.NewPCG(1, 2)), n)
		b.Run(fmt.Sprintf("router/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				mustCompile(b, p)
			}
		})
	}
}

// TestLookupDoesNotAllocate and is right on policies of real size too.
func TestLookupDoesNotAllocate(t *testing.T) {
	r := newRandom(t)
	for _, n := range sizes[:3] {
		p := routerPolicy(r, n)
		table, views := mustCompile(t, p), traffic(r, p, 200)
		for i := range views {
			if got, want := table.Lookup(&views[i]), oracle(p, nil, &views[i]); got != want {
				t.Fatalf("%+v: %+v, want %+v", views[i], got, want)
			}
		}
		if n := testing.AllocsPerRun(10, func() {
			for i := range views {
				table.Lookup(&views[i])
			}
		}); n != 0 {
			t.Errorf("%v allocations in %d lookups", n, len(views))
		}
	}
}
