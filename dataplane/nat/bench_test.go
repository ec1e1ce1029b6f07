package nat

import (
	"fmt"
	"testing"

	"turnout/classifier/packet"
)

// crowd makes packets of many flows without memory of its own that would
// disturb the caches: flow i is a number.
type crowd struct {
	proto uint8
	b     []byte
	v     packet.View
}

func newCrowd(tb testing.TB, proto uint8) *crowd {
	c := &crowd{proto: proto}
	if proto == packet.TCP {
		c.b = tcp(v4.lan1, 5000, v4.remote1, 443, ack, 1000, 9000).bytes()
	} else {
		c.b = udp(v4.lan1, 5000, v4.remote1, 443).bytes()
	}
	c.v = *decode(tb, c.b)
	return c
}

// flow returns a packet of flow i, below 8 million: 250 LAN hosts that use
// their ports evenly, a remote end for each thousand flows.
func (c *crowd) flow(i uint32) *packet.View {
	c.v.Src = packet.Addr4(0xc0a80001 + i%250)
	c.v.SrcPort = uint16(1024 + uint64(i)*40503%64512)
	c.v.Dst = packet.Addr4(0x08000000 + i/1000)
	return &c.v
}

func (c *crowd) open(tb testing.TB, t *Table, from, to uint32, pin Pin) {
	for i := from; i < to; i++ {
		if _, r := t.Open(c.b, c.flow(i), LAN, pin, 1); r != packet.OK {
			tb.Fatalf("flow %d: %v", i, r)
		}
	}
}

var protocols = map[string]uint8{"tcp": packet.TCP, "udp": packet.UDP}

// step gives the next of a cheap pseudo-random walk below n.
func walk(x *uint32, n uint32) uint32 {
	*x = *x*1664525 + 1013904223
	return uint32(uint64(*x) * uint64(n) >> 32)
}

var sites = Pin{Exit: 3}

func BenchmarkOutHit(b *testing.B) {
	for _, n := range []uint32{1000, 100_000, 1_000_000} {
		for name, proto := range protocols {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				t := New(Options{MaxFlows: 1 << 20})
				c := newCrowd(b, proto)
				c.open(b, t, 0, n, sites)
				x := uint32(1)
				b.ReportAllocs()
				for b.Loop() {
					if _, ok := t.Out(c.b, c.flow(walk(&x, n)), LAN, 1); !ok {
						b.Fatal("lost")
					}
				}
			})
		}
	}
}

func BenchmarkInHit(b *testing.B) {
	for _, n := range []uint32{1000, 50_000} {
		for name, proto := range protocols {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				t := New(Options{MaxFlows: 1 << 20})
				c := newCrowd(b, proto)
				c.open(b, t, 0, n, v4.pin1())
				ext := make([]uint16, n)
				i := uint32(0)
				t.Each(func(f Flow) bool { ext[i] = f.Port; i++; return true })
				x := uint32(1)
				b.ReportAllocs()
				for b.Loop() {
					i := walk(&x, n)
					v := c.flow(i)
					v.Src, v.Dst = v.Dst, v4.ext1
					v.SrcPort, v.DstPort = 443, ext[i]
					_, r := t.In(c.b, v, 3, 1)
					v.DstPort = 443
					if r != packet.OK {
						b.Fatal(r)
					}
				}
			})
		}
	}
}

// BenchmarkMiss is what a packet without a flow costs before policy is asked.
func BenchmarkMiss(b *testing.B) {
	t := New(Options{MaxFlows: 1 << 20})
	c := newCrowd(b, packet.UDP)
	c.open(b, t, 0, 100_000, sites)
	x := uint32(1)
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := t.Out(c.b, c.flow(1_000_000+walk(&x, 1_000_000)), LAN, 1); ok {
			b.Fatal("found")
		}
	}
}

// BenchmarkNew is a new flow: miss, mapping, port and insertion. The table is
// full most of the time, so that each also pushes out an old one. 4,000 flows
// fit in the second-level cache, 50,000 do not. There are two tunnels: one has
// not ports enough for 50,000 flows and as many that rest.
func BenchmarkNew(b *testing.B) {
	for _, flows := range []int{4000, 50_000} {
		for name, proto := range protocols {
			b.Run(fmt.Sprintf("%s/masquerade/%d", name, flows), func(b *testing.B) {
				benchmarkNew(b, flows, proto, v4.pin1())
			})
			b.Run(fmt.Sprintf("%s/none/%d", name, flows), func(b *testing.B) {
				benchmarkNew(b, flows, proto, sites)
			})
		}
	}
}

func benchmarkNew(b *testing.B, flows int, proto uint8, pin Pin) {
	pins := [2]Pin{pin, pin}
	pins[1].Exit++
	t := New(Options{MaxFlows: flows})
	c := newCrowd(b, proto)
	if proto == packet.TCP {
		c.v.Flags = packet.SYN
	}
	i := uint32(0)
	b.ReportAllocs()
	for b.Loop() {
		v := c.flow(i)
		i = (i + 1) % 8_000_000
		if _, ok := t.Out(c.b, v, LAN, 1); ok {
			b.Fatal("found")
		}
		if _, r := t.Open(c.b, v, LAN, pins[i%2], 1); r != packet.OK {
			b.Fatal(r)
		}
	}
}

// BenchmarkInsert is a new flow in a table that has room.
func BenchmarkInsert(b *testing.B) {
	for name, proto := range protocols {
		b.Run(name+"/masquerade", func(b *testing.B) {
			t := New(Options{})
			c := newCrowd(b, proto)
			i, keep := uint32(0), uint32(4000)
			b.ReportAllocs()
			for b.Loop() {
				v := c.flow(i)
				if _, ok := t.Out(c.b, v, LAN, 1); ok {
					b.Fatal("found")
				}
				if _, r := t.Open(c.b, v, LAN, v4.pin1(), 1); r != packet.OK {
					b.Fatal(r)
				}
				if i++; i%keep == 0 {
					b.StopTimer()
					t.DropExit(3)
					i %= 8_000_000
					b.StartTimer()
				}
			}
		})
	}
}

// BenchmarkIPv6 is a hit and a new flow of IPv6, whose addresses have to be
// numbered first.
func BenchmarkIPv6(b *testing.B) {
	p := udp(v6.lan1, 5000, v6.remote1, 443)
	packetBytes := p.bytes()
	v := *decode(b, packetBytes)
	flow := func(i uint32) *packet.View {
		v.Src.Lo, v.SrcPort = v6.lan1.Lo+uint64(i%250), uint16(1024+uint64(i)*40503%64512)
		v.Dst.Lo = v6.remote1.Lo + uint64(i/1000)
		return &v
	}
	const n = 100_000
	fill := func() *Table {
		t := New(Options{})
		for i := range uint32(n) {
			if _, r := t.Open(packetBytes, flow(i), LAN, sites, 1); r != packet.OK {
				b.Fatal(r)
			}
		}
		return t
	}
	b.Run("hit", func(b *testing.B) {
		t, x := fill(), uint32(1)
		b.ReportAllocs()
		for b.Loop() {
			if _, ok := t.Out(packetBytes, flow(walk(&x, n)), LAN, 1); !ok {
				b.Fatal("lost")
			}
		}
	})
	b.Run("new", func(b *testing.B) {
		for b.Loop() {
			fill().Close()
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/flow")
	})
}

// BenchmarkAdopt is a start after a crash, with the default table full.
func BenchmarkAdopt(b *testing.B) {
	f := File{Path: b.TempDir() + "/flows", Boot: boot, Exits: exits(3)}
	t, _, err := OpenFile(Options{}, f, 1)
	if err != nil {
		b.Fatal(err)
	}
	newCrowd(b, packet.TCP).open(b, t, 0, defaultMaxFlows, v4.pin1())
	for b.Loop() {
		t.Close()
		var a Adopted
		if t, a, err = OpenFile(Options{}, f, 1); err != nil || a.Flows != defaultMaxFlows {
			b.Fatal(a, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/defaultMaxFlows, "ns/flow")
	t.Close()
}

// BenchmarkFill is the life of a table up to a million flows, growth included.
func BenchmarkFill(b *testing.B) {
	c := newCrowd(b, packet.TCP)
	for b.Loop() {
		t := New(Options{MaxFlows: 1 << 20})
		c.open(b, t, 0, 1_000_000, v4.pin1())
		t.Close()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1e6, "ns/flow")
}
