package dataplane

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"turnout/classifier/packet"
	"turnout/dataplane/segment"
)

func fill(n int, b byte) []byte { return bytes.Repeat([]byte{b}, n) }

func TestRingKeepsOrderAndOwnership(t *testing.T) {
	var pool framePool
	r := newRing()
	v := &packet.View{}
	f := pool.get()

	small := f.data[:100]
	copy(small, fill(100, 1))
	if kept, why := r.put(segment.Header{}, v, small, f); kept || why != packet.OK {
		t.Fatalf("a small packet: kept %v, %v; want a copy", kept, why)
	}
	copy(small, fill(100, 9)) // the frame is still ours: the copy must not change

	large := f.data[:40000]
	copy(large, fill(40000, 2))
	if kept, why := r.put(segment.Header{}, v, large, f); !kept || why != packet.OK {
		t.Fatalf("a super-packet: kept %v, %v; want its frame", kept, why)
	}
	for i, want := range []struct {
		n int
		b byte
	}{{100, 1}, {40000, 2}} {
		s := r.peek()
		if s == nil || len(s.packet) != want.n || s.packet[want.n-1] != want.b {
			t.Fatalf("packet %d is not what was put", i)
		}
		r.drop(&pool)
	}
	if r.peek() != nil || r.bytes.Load() != 0 {
		t.Fatalf("the ring is not empty: %d bytes", r.bytes.Load())
	}
	if len(pool.free) != 1 || pool.free[0] != f {
		t.Fatal("the super-packet's frame did not return to the pool")
	}
}

func TestRingIsBounded(t *testing.T) {
	v := &packet.View{}
	for _, size := range []int{40, 1500, 65535} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			var pool framePool
			r := newRing()
			n := 0
			for {
				f := pool.get()
				if _, why := r.put(segment.Header{}, v, f.data[:size], f); why == packet.QueueFull {
					break
				}
				if n++; n > ringSlots {
					t.Fatal("more packets than slots")
				}
			}
			if got := r.bytes.Load(); got > ringBytes {
				t.Fatalf("%d bytes queued, at most %d", got, ringBytes)
			}
			r.drop(&pool)
			f := pool.get()
			if _, why := r.put(segment.Header{}, v, f.data[:size], f); why != packet.OK {
				t.Fatalf("after a drop there is room, but: %v", why)
			}
		})
	}
}

// A frame is 64 KiB. Waiting packets of a few segments must not hold one each.
func TestRingHoldsFewFrames(t *testing.T) {
	v := &packet.View{}
	for _, size := range []int{2100, 3000, 9000, 20000, 65535} {
		var pool framePool
		r := newRing()
		made := make(map[*frame]bool)
		for range 4 * ringSlots {
			f := pool.get()
			made[f] = true
			kept, why := r.put(segment.Header{}, v, f.data[:size], f)
			if !kept {
				pool.put(f)
			}
			if why != packet.OK {
				r.drop(&pool)
			}
		}
		if most := ringBytes/frameCost + 1; len(made) > most {
			t.Errorf("packets of %d bytes took %d frames, want at most %d", size, len(made), most)
		}
	}
}

func TestRingReturnsWhatWasPut(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	var pool framePool
	r := newRing()
	v := &packet.View{}
	var waiting [][]byte
	full := 0
	for range 20000 {
		if rng.IntN(100) < 60 {
			f := pool.get()
			pkt := f.data[:1+rng.IntN(1<<(1+rng.IntN(15)))]
			for i := range pkt {
				pkt[i] = byte(rng.Uint32())
			}
			want := bytes.Clone(pkt)
			kept, why := r.put(segment.Header{}, v, pkt, f)
			if !kept {
				clear(pkt) // the frame is still ours
				pool.put(f)
			}
			if why == packet.OK {
				waiting = append(waiting, want)
			} else {
				full++
			}
			continue
		}
		s := r.peek()
		if (s != nil) != (len(waiting) > 0) {
			t.Fatalf("%d packets wait and peek gives %v", len(waiting), s)
		}
		if s == nil {
			continue
		}
		if !bytes.Equal(s.packet, waiting[0]) {
			t.Fatalf("a packet of %d bytes came out changed", len(waiting[0]))
		}
		r.drop(&pool)
		waiting = waiting[1:]
	}
	if full == 0 {
		t.Error("the ring was never full")
	}
}

func TestRingManyProducers(t *testing.T) {
	const producers, each = 4, 20000
	var pool framePool
	r := newRing()
	var wg sync.WaitGroup
	for p := range producers {
		wg.Go(func() {
			v := &packet.View{}
			b := make([]byte, 8)
			for i := 0; i < each; {
				b[0], b[1], b[2], b[3] = byte(p), byte(i), byte(i>>8), byte(i>>16)
				if _, why := r.put(segment.Header{}, v, b, nil); why == packet.OK {
					i++
				}
				r.signal()
			}
		})
	}
	var next [producers]int
	for taken := 0; taken < producers*each; {
		s := r.peek()
		if s == nil {
			<-r.wake
			continue
		}
		p, i := int(s.packet[0]), int(s.packet[1])|int(s.packet[2])<<8|int(s.packet[3])<<16
		if i != next[p] {
			t.Fatalf("producer %d: packet %d came when %d was due", p, i, next[p])
		}
		next[p]++
		taken++
		r.drop(&pool)
	}
	wg.Wait()
}

func TestRingPushDoesNotAllocate(t *testing.T) {
	var pool framePool
	r := newRing()
	v := &packet.View{}
	for _, size := range []int{64, 1500, 60000} {
		f := pool.get()
		for range ringSlots { // every slot gets its own memory once
			r.put(segment.Header{}, v, f.data[:64], nil)
			r.drop(&pool)
		}
		if n := testing.AllocsPerRun(1000, func() {
			kept, _ := r.put(segment.Header{}, v, f.data[:size], f)
			r.signal()
			r.drop(&pool)
			if kept {
				f = pool.get()
			}
		}); n != 0 {
			t.Errorf("pushing %d bytes allocates %v times", size, n)
		}
	}
}

func BenchmarkRingPush(b *testing.B) {
	var pool framePool
	r := newRing()
	v := &packet.View{}
	pkt := fill(1400, 1)
	b.ReportAllocs()
	for b.Loop() {
		r.put(segment.Header{}, v, pkt, nil)
		r.drop(&pool)
	}
}
