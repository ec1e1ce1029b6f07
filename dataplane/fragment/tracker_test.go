package fragment

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"turnout/classifier/packet"
)

const (
	hostA, hostB = 0xc0a84d0a, 0xc0a84d0b
	server       = 0xc6336401
)

// frag makes an IPv4 UDP fragment of size bytes at from, which say where they
// stand in the datagram.
func frag(src uint32, id uint16, from, size int, more bool) []byte {
	b := make([]byte, 20+size)
	b[0], b[8], b[9] = 0x45, 64, packet.UDP
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	binary.BigEndian.PutUint16(b[4:], id)
	word := uint16(from / 8)
	if more {
		word |= 0x2000
	}
	binary.BigEndian.PutUint16(b[6:], word)
	binary.BigEndian.PutUint32(b[12:], src)
	binary.BigEndian.PutUint32(b[16:], server)
	for i := range size {
		b[20+i] = byte((from + i) / 8)
	}
	if from == 0 {
		binary.BigEndian.PutUint16(b[20:], 5000)
		binary.BigEndian.PutUint16(b[22:], 53)
		binary.BigEndian.PutUint16(b[24:], 60000) // more than is here
	}
	binary.BigEndian.PutUint16(b[10:], ^packet.Checksum(b[:20], 0))
	return b
}

func view(t testing.TB, b []byte) *packet.View {
	t.Helper()
	v := new(packet.View)
	if why := v.Decode(b); why != packet.OK {
		t.Fatalf("decode: %v", why)
	}
	return v
}

type rig struct {
	testing.TB
	*Tracker
	now uint32
	out []int // where the fragments that passed belong
}

// take plays a fragment as the data path does; ok is what a first one meets.
func (r *rig) take(side uint32, b []byte, ok bool) (Outcome, packet.Reason) {
	r.Helper()
	v := view(r, b)
	first := *v
	o, id, why := r.Take(side, b, v, r.now)
	switch o {
	case Later:
		r.passed(b, v, id)
	case First:
		r.Decide(side, &first, 99, ok)
		if !ok {
			return o, packet.OK
		}
		r.passed(b, v, 99)
		r.Release(side, &first, func(b []byte, v *packet.View) { r.passed(b, v, 99) })
	}
	return o, why
}

func (r *rig) passed(b []byte, v *packet.View, id uint16) {
	r.Helper()
	if v.SrcPort != 5000 || v.DstPort != 53 || id != 99 {
		r.Errorf("a fragment passes with ports %d, %d and number %d", v.SrcPort, v.DstPort, id)
	}
	p, body := pieceOf(b, v)
	for i, c := range b[body:v.Len] {
		if at := p.from + i; at >= 8 && c != byte(at/8) {
			r.Fatalf("byte %d of a fragment at %d is %d", i, p.from, c)
		}
	}
	r.out = append(r.out, p.from)
}

func newRig(t testing.TB, o Options) *rig { return &rig{TB: t, Tracker: New(o)} }

// empty wants nothing left of anything.
func (r *rig) empty() {
	r.Helper()
	if len(r.byKey) != 0 || len(r.hosts) != 0 || r.hold.used != 0 || r.oldest != (chain{}) {
		r.Errorf("%d datagrams, %d hosts and %d blocks are left", len(r.byKey), len(r.hosts), r.hold.used)
	}
	for n, s := range r.sides {
		if *s != (share{}) {
			r.Errorf("side %d has %+v", n, *s)
		}
	}
}

// In whatever order they come, all pass, the first before those that waited.
func TestEveryOrder(t *testing.T) {
	cut := [][]byte{frag(hostA, 1, 0, 1480, true), frag(hostA, 1, 1480, 1480, true), frag(hostA, 1, 2960, 4000, true), frag(hostA, 1, 6960, 100, false)}
	for _, order := range permutations(len(cut)) {
		r := newRig(t, Options{})
		waits := true
		for _, n := range order {
			waits = waits && n != 0
			o, why := r.take(0, cut[n], true)
			want := Later
			if n == 0 {
				want = First
			} else if waits {
				want = Held
			}
			if o != want || why != packet.OK {
				t.Errorf("order %v: fragment %d: outcome %d, %v", order, n, o, why)
			}
		}
		if len(r.out) != len(cut) || r.out[0] != 0 {
			t.Errorf("order %v: they pass as %v", order, r.out)
		}
		early := slices.Index(order, 0)
		if !slices.IsSorted(r.out[:early+1]) {
			t.Errorf("order %v: what waited comes as %v", order, r.out[:early+1])
		}
		r.empty()
	}
}

func permutations(n int) (all [][]int) {
	if n == 0 {
		return [][]int{nil}
	}
	for _, p := range permutations(n - 1) {
		for i := range n {
			all = append(all, slices.Insert(slices.Clone(p), i, n-1))
		}
	}
	return all
}

// Contradictions end the datagram, wherever they come.
func TestContradictions(t *testing.T) {
	for name, c := range map[string][][]byte{
		"the same again":             {frag(hostA, 1, 0, 800, true), frag(hostA, 1, 0, 800, true)},
		"two firsts":                 {frag(hostA, 1, 0, 800, true), frag(hostA, 1, 0, 8, true)},
		"overlap at the start":       {frag(hostA, 1, 0, 800, true), frag(hostA, 1, 792, 800, true)},
		"overlap at the end":         {frag(hostA, 1, 0, 800, true), frag(hostA, 1, 1600, 800, true), frag(hostA, 1, 800, 808, true)},
		"inside of another":          {frag(hostA, 1, 0, 800, true), frag(hostA, 1, 80, 8, true)},
		"around another":             {frag(hostA, 1, 0, 80, true), frag(hostA, 1, 800, 8, true), frag(hostA, 1, 400, 800, true)},
		"two ends":                   {frag(hostA, 1, 0, 800, true), frag(hostA, 1, 1600, 80, false), frag(hostA, 1, 800, 80, false)},
		"beyond the end":             {frag(hostA, 1, 0, 792, true), frag(hostA, 1, 800, 80, false), frag(hostA, 1, 880, 80, true)},
		"an end before what was":     {frag(hostA, 1, 1600, 80, true), frag(hostA, 1, 800, 80, false)},
		"more at the end":            {frag(hostA, 1, 1600, 80, false), frag(hostA, 1, 1672, 8, true)},
		"early ones that contradict": {frag(hostA, 1, 800, 80, true), frag(hostA, 1, 800, 80, true)},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, Options{})
			for i, b := range c {
				o, why := r.take(0, b, true)
				if bad := i == len(c)-1; bad != (o == Dropped) || bad && why != packet.FragmentOverlap {
					t.Errorf("fragment %d: outcome %d, %v", i, o, why)
				}
			}
			for _, b := range [][]byte{frag(hostA, 1, 0, 800, true), frag(hostA, 1, 8000, 80, true)} {
				if o, why := r.take(0, b, true); o != Dropped || why != packet.FragmentOverlap {
					t.Errorf("afterwards: outcome %d, %v", o, why)
				}
			}
			if o, _ := r.take(0, frag(hostA, 2, 0, 800, true), true); o != First {
				t.Error("another datagram suffers")
			}
			if o, _ := r.take(1, frag(hostA, 1, 0, 800, true), true); o != First {
				t.Error("another side suffers")
			}
			r.now += life
			r.Expire(r.now)
			r.empty()
		})
	}
}

// The first one's fate is everyone's; 30 s run from the first that was seen.
func TestRefusedAndExpired(t *testing.T) {
	r := newRig(t, Options{})
	r.take(0, frag(hostA, 1, 800, 80, true), true)
	if o, _ := r.take(0, frag(hostA, 1, 0, 800, true), false); o != First {
		t.Fatal("the first is not asked about")
	}
	if o, why := r.take(0, frag(hostA, 1, 880, 80, false), true); o != Dropped || why != packet.FragmentUnknown {
		t.Errorf("after a refusal: outcome %d, %v", o, why)
	}
	r.take(0, frag(hostB, 2, 800, 80, true), true)
	r.now += life - 1
	r.take(0, frag(hostB, 2, 880, 80, true), true) // refreshes nothing
	if c := r.Expire(r.now); c != (Counts{Unknown: 1}) {
		t.Errorf("before the time: %+v", c)
	}
	r.now++
	if c := r.Expire(r.now); c != (Counts{Unknown: 2}) {
		t.Errorf("at the time: %+v", c)
	}
	r.empty()
	// Nor does it take Expire.
	r.take(0, frag(hostA, 3, 0, 800, true), true)
	r.now += life
	if o, _ := r.take(0, frag(hostA, 3, 800, 80, false), true); o != Held {
		t.Errorf("after 30 s a later fragment has outcome %d", o)
	}
}

// RFC 4787, REQ-14a: a flood displaces what its own host has, and is bounded.
func TestFlood(t *testing.T) {
	r := newRig(t, Options{Datagrams: 64, Bytes: 64 << 10})
	r.take(0, frag(hostB, 1, 800, 1400, false), true)
	refused := 0
	for i := range 1_000_000 {
		b := frag(hostA, uint16(i), 800, 8, true)
		if i >= 1<<16 {
			b = frag(hostA+1+uint32(i%5000), uint16(i), 800, 8, true)
		}
		if o, _ := r.take(0, b, true); o == Dropped {
			refused++
		}
		if len(r.byKey) > 64 || r.hold.used > 32 || len(r.list) > 66 {
			t.Fatalf("%d datagrams, %d blocks", len(r.byKey), r.hold.used)
		}
	}
	if refused == 0 {
		t.Error("nothing was refused")
	}
	if o, _ := r.take(7, frag(hostA, 1, 800, 1400, false), true); o != Held {
		t.Error("one side has used up what is another's")
	}
	if o, _ := r.take(0, frag(hostB, 1, 0, 800, true), true); o != First || len(r.out) != 2 {
		t.Errorf("the other host's datagram is lost: %v", r.out)
	}
	r.now += life
	r.Expire(r.now)
	r.empty()
}

func TestTooManyPieces(t *testing.T) {
	r := newRig(t, Options{})
	for i := range maxPieces {
		if o, why := r.take(0, frag(hostA, 1, i*16, 8, true), true); o == Dropped {
			t.Fatalf("piece %d: %v", i, why)
		}
	}
	if o, why := r.take(0, frag(hostA, 1, 8000, 8, true), true); o != Dropped || why != packet.FragmentOverlap {
		t.Errorf("one more: outcome %d, %v", o, why)
	}
}

// TestAgainstModel plays random fragments to the tracker and to a model that
// remembers every byte.
func TestAgainstModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	r := newRig(t, Options{})
	type datagram struct {
		seen           map[int]bool
		first, bad, no bool
		end            int
		since          uint32
		held           []int
	}
	model := map[string]*datagram{}
	for n := range 200_000 {
		src, id, side := hostA+rng.Uint32N(3), uint16(rng.IntN(5)), rng.Uint32N(2)
		from, size, more := rng.IntN(5)*8, 8+rng.IntN(2)*8, rng.IntN(3) > 0
		if rng.IntN(40) == 0 {
			r.now += rng.Uint32N(9)
			r.Expire(r.now)
		}
		if from == 0 && !more {
			continue // a whole packet
		}
		name := fmt.Sprint(src, id, side)
		d := model[name]
		if d == nil || r.now-d.since >= life {
			d = &datagram{seen: map[int]bool{}, since: r.now}
			model[name] = d
		}
		r.out = nil
		ok := rng.IntN(10) > 0
		o, why := r.take(side, frag(src, id, from, size, more), ok)

		bad := d.bad
		for at := from; at < from+size; at += 8 {
			bad = bad || d.seen[at]
		}
		top := 0
		for at := range d.seen {
			top = max(top, at+8)
		}
		end := from + size
		bad = bad || !more && top > end || d.end > 0 && (end > d.end || !more && end != d.end || more && end == d.end)
		var want []int
		outcome := Dropped
		reason := packet.OK
		switch {
		case bad:
			d.bad, d.held, reason = true, nil, packet.FragmentOverlap
		default:
			for at := from; at < end; at += 8 {
				d.seen[at] = true
			}
			if !more {
				d.end = end
			}
			switch {
			case d.no:
				reason = packet.FragmentUnknown
			case from == 0:
				outcome, d.first, d.no = First, true, !ok
				if ok {
					slices.Sort(d.held)
					want = append([]int{0}, d.held...)
				}
				d.held = nil
			case d.first:
				outcome, want = Later, []int{from}
			default:
				outcome = Held
				d.held = append(d.held, from)
			}
			if d.first && !d.no && d.end > 0 && len(d.seen)*8 == d.end {
				delete(model, name)
			}
		}
		if o != outcome || why != reason || !slices.Equal(r.out, want) {
			t.Fatalf("event %d: %d bytes at %d, more %v: outcome %d, %v, passed %v; the model says %d, %v, %v", n, size, from, more, o, why, r.out, outcome, reason, want)
		}
	}
	r.now += life
	r.Expire(r.now)
	r.empty()
}

// Sides come at once.
func TestConcurrentSides(t *testing.T) {
	tr := New(Options{Datagrams: 256, Bytes: 1 << 20})
	var wg sync.WaitGroup
	for side := range uint32(4) {
		wg.Go(func() {
			r := &rig{TB: t, Tracker: tr}
			for id := range uint16(3000) {
				for _, n := range rand.Perm(3) {
					r.take(side, frag(hostA, id, n*800, 800, n < 2), true)
				}
				if len(r.out) != 3 {
					t.Errorf("side %d: %v of datagram %d pass", side, r.out, id)
				}
				r.out = r.out[:0]
				tr.Expire(0)
			}
		})
	}
	wg.Wait()
	(&rig{TB: t, Tracker: tr}).empty()
}

// In order, and out of it once the memory is there, nothing is allocated.
func TestNoAllocations(t *testing.T) {
	tr := New(Options{})
	cut := [][]byte{frag(hostA, 1, 0, 800, true), frag(hostA, 1, 800, 800, true), frag(hostA, 1, 1600, 800, false)}
	var v, first packet.View
	f := func([]byte, *packet.View) {}
	play := func(order ...int) func() {
		return func() {
			for _, n := range order {
				v.Decode(cut[n])
				first = v
				if o, _, _ := tr.Take(0, cut[n], &v, 0); o == First {
					tr.Decide(0, &first, 1, true)
					tr.Release(0, &first, f)
				}
			}
		}
	}
	for name, f := range map[string]func(){"in order": play(0, 1, 2), "backwards": play(2, 1, 0)} {
		f()
		if n := testing.AllocsPerRun(100, f); n > 0 {
			t.Errorf("%s: %v allocations for three fragments", name, n)
		}
	}
}

func TestReassembler(t *testing.T) {
	cut := [][]byte{frag(hostA, 1, 0, 1480, true), frag(hostA, 1, 1480, 1480, true), frag(hostA, 1, 2960, 100, false)}
	for _, order := range permutations(3) {
		var r Reassembler
		for i, n := range order {
			whole, ok := r.Add(cut[n], view(t, cut[n]), 0)
			if ok != (i == 2) {
				t.Fatalf("order %v: after %d: %v", order, i+1, ok)
			}
			if !ok {
				continue
			}
			if len(whole) != 20+3060 || packet.Checksum(whole[:20], 0) != 0xffff || whole[6]|whole[7] != 0 || whole[20+3059] != 3059/8%256 || whole[20+1480] != 1480/8 {
				t.Errorf("order %v: %d bytes, header % x", order, len(whole), whole[:20])
			}
		}
	}
	var r Reassembler
	for i := range 100 { // unfinished ones are given up
		r.Add(frag(hostA, uint16(i), 800, 80, true), view(t, frag(hostA, uint16(i), 800, 80, true)), 0)
	}
	r.Add(cut[0], view(t, cut[0]), 0)
	r.Add(cut[0], view(t, cut[0]), 0)
	r.Add(cut[1], view(t, cut[1]), 0)
	if _, ok := r.Add(cut[2], view(t, cut[2]), 0); ok {
		t.Error("a datagram with a fragment twice is put together")
	}
	r.Add(cut[0], view(t, cut[0]), life)
	r.Add(cut[1], view(t, cut[1]), life)
	if _, ok := r.Add(cut[2], view(t, cut[2]), life); !ok {
		t.Error("30 s later it is not")
	}
}

func TestIDs(t *testing.T) {
	ids := NewIDs()
	a := ids.Next(packet.Addr4(server), packet.UDP, 3)
	if b := ids.Next(packet.Addr4(server), packet.UDP, 1); b != a+3 {
		t.Errorf("three numbers from %d, then %d", a, b)
	}
	if n := testing.AllocsPerRun(100, func() { ids.Next(packet.Addr4(server), packet.UDP, 1) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzTracker takes any bytes that are fragments.
func FuzzTracker(f *testing.F) {
	f.Add(frag(hostA, 1, 0, 80, true), frag(hostA, 1, 80, 80, false))
	f.Add(frag(hostA, 1, 8, 80, true), frag(hostA, 1, 0, 8, true))
	v6 := make([]byte, 64)
	v6[0], v6[5], v6[6], v6[7] = 0x60, 24, 60, 64
	v6[8], v6[24], v6[39] = 0x20, 0x20, 1
	v6[40], v6[48], v6[51] = 44, 99, 1
	f.Add(v6, v6)
	f.Fuzz(func(t *testing.T, a, b []byte) {
		tr, re := New(Options{Datagrams: 8, Bytes: 8 << 10}), new(Reassembler)
		for _, b := range [][]byte{a, b, a} {
			var v packet.View
			if v.Decode(b) != packet.OK || v.Frag == packet.Whole {
				continue
			}
			b = b[:v.Len]
			re.Add(b, &v, 0)
			first := v
			if o, _, _ := tr.Take(0, b, &v, 0); o == First {
				tr.Decide(0, &first, 1, true)
				tr.Release(0, &first, func(b []byte, v *packet.View) {
					if len(b) != int(v.Len) {
						t.Fatalf("%d bytes of a packet of %d", len(b), v.Len)
					}
				})
			}
		}
		tr.Expire(life)
		(&rig{TB: t, Tracker: tr}).empty()
	})
}

func BenchmarkTake(b *testing.B) {
	tr := New(Options{})
	first, last := frag(hostA, 1, 0, 1480, true), frag(hostA, 1, 1480, 600, false)
	var v, was packet.View
	b.ReportAllocs()
	for b.Loop() {
		v.Decode(first)
		was = v
		tr.Take(0, first, &v, 0)
		tr.Decide(0, &was, 1, true)
		tr.Release(0, &was, nil)
		v.Decode(last)
		tr.Take(0, last, &v, 0)
	}
}
