package classifier

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"

	"turnout/classifier/packet"
)

func TestTagsAgainstMap(t *testing.T) {
	r := newRandom(t)
	var tags Tags
	if _, ok := tags.Get(packet.Addr4(1)); ok || tags.Len() != 0 {
		t.Error("the empty Tags knows something")
	}
	tags.Forget(packet.Addr4(1))
	known := map[packet.Addr]uint32{}
	for range 50_000 {
		a := packet.Addr4(r.Uint32N(3000))
		if r.IntN(2) == 0 {
			a = packet.Addr{Hi: uint64(r.IntN(50)) << 32, Lo: uint64(r.IntN(50))}
		}
		switch n := r.Uint32(); n % 3 {
		case 0:
			delete(known, a)
			tags.Forget(a)
		default:
			known[a] = n
			tags.Set(a, n)
		}
		b := packet.Addr4(r.Uint32N(3000))
		want, wantOK := known[b]
		if got, ok := tags.Get(b); got != want && ok || ok != wantOK {
			t.Fatalf("%v has tag %d, %v, want %d, %v", b, got, ok, want, wantOK)
		}
	}
	if tags.Len() != len(known) {
		t.Errorf("%d addresses, want %d", tags.Len(), len(known))
	}
	for a, want := range known {
		if got, ok := tags.Get(a); got != want || !ok {
			t.Fatalf("%v has tag %d, %v, want %d", a, got, ok, want)
		}
	}
}

// TestTagsForgetfulTableStaysSmall: addresses come and go for ever.
func TestTagsForgetfulTableStaysSmall(t *testing.T) {
	var tags Tags
	var last *tagSlots
	copies := 0
	for i := range uint32(200_000) {
		tags.Set(packet.Addr4(i), i)
		if s := tags.slots.Load(); s != last {
			last = s
			copies++
		}
		if i >= 10 {
			tags.Forget(packet.Addr4(i - 10))
		}
	}
	if n := len(tags.slots.Load().slot); n > 2*minTagSlots {
		t.Errorf("%d slots for 10 addresses", n)
	}
	if copies > 20_000 {
		t.Errorf("copied %d times in 200,000", copies)
	}
}

// TestTagsWhileRead reads while one writes. An address has the tag that goes
// with it or none, never another's.
func TestTagsWhileRead(t *testing.T) {
	var tags Tags
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for i := uint32(0); !stop.Load(); i++ {
				a := packet.Addr{Hi: uint64(i % 997), Lo: uint64(i % 991)}
				if tag, ok := tags.Get(a); ok && tag != i%997<<16|i%991 {
					t.Errorf("%v has tag %x", a, tag)
					return
				}
			}
		})
	}
	for i := range uint32(100_000) {
		a := packet.Addr{Hi: uint64(i % 997), Lo: uint64(i % 991)}
		if i%5 == 0 {
			tags.Forget(a)
		} else {
			tags.Set(a, i%997<<16|i%991)
		}
	}
	stop.Store(true)
	wg.Wait()
}

// TestTagsSurviveCompiling: what is learnt holds in the next table too, and
// learning after compiling needs no compiling.
func TestTagsSurviveCompiling(t *testing.T) {
	p := &Policy{Exits: three, Entries: []Entry{{Exit: Drop, Tags: []uint32{7}}, {Exit: Direct}}}
	tags := new(Tags)
	first, err := CompileTags(p, tags)
	if err != nil {
		t.Fatal(err)
	}
	v := view4("8.8.8.8", packet.TCP, 443, true)
	want := func(table *Table, exit ExitID) {
		t.Helper()
		if got := table.Lookup(v); got.Exit != exit {
			t.Errorf("%+v, want exit %d", got, exit)
		}
	}
	want(first, Direct)
	tags.Set(packet.AddrFrom(netip.MustParseAddr("8.8.8.8")), 7)
	want(first, Drop)
	second, err := CompileTags(p, first.Tags())
	if err != nil {
		t.Fatal(err)
	}
	want(second, Drop)
	tags.Set(v.Dst, 8) // a tag that no entry names
	want(second, Direct)
}
