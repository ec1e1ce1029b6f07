package fragment

import (
	"sync"
	"testing"

	"turnout/classifier/packet"
)

// One destination's numbers do not come again before all were given, and 0 is
// none of them.
func TestIDsDoNotRepeat(t *testing.T) {
	s := NewIDs()
	dst := packet.Addr4(0xc6336401)
	var seen [1 << 16]bool
	for i := range maxID {
		id := s.Next(dst, packet.UDP, 1)
		if id == 0 || seen[id] {
			t.Fatalf("%d is number %d, again", id, i)
		}
		seen[id] = true
	}
	if id := s.Next(dst, packet.UDP, 1); !seen[id] {
		t.Fatalf("%d comes from nowhere", id)
	}
}

// A row of numbers has no turn in it, however long.
func TestIDsInARow(t *testing.T) {
	s, rng := NewIDs(), newRandom(t)
	dst := packet.Addr4(0xc6336401)
	end := 0
	for range 100_000 {
		n := 1 + rng.IntN(60)
		if rng.IntN(1000) == 0 {
			n = 1 + rng.IntN(maxID)
		}
		first := int(s.Next(dst, packet.UDP, n))
		if first < 1 || first+n-1 > maxID {
			t.Fatalf("%d numbers from %d", n, first)
		}
		if end != 0 && first != end && first != 1 {
			t.Fatalf("%d after %d", first, end)
		}
		end = first + n
	}
	if first := s.Next(dst, packet.UDP, maxID); first != 1 {
		t.Fatalf("all numbers from %d", first)
	}
}

// Goroutines that share a destination never get the same number.
func TestIDsConcurrently(t *testing.T) {
	s := NewIDs()
	dst := packet.Addr{Hi: 0x2001 << 48, Lo: 8}
	var got [4][]uint16
	var wg sync.WaitGroup
	for g := range got {
		wg.Go(func() {
			for range maxID / len(got) / 3 {
				got[g] = append(got[g], s.Next(dst, packet.UDP, 3))
			}
		})
	}
	wg.Wait()
	seen, twice := map[uint16]bool{}, 0
	for _, list := range got {
		for _, first := range list {
			for i := range uint16(3) {
				if seen[first+i] {
					twice++
				}
				seen[first+i] = true
			}
		}
	}
	if twice > 0 {
		t.Fatalf("%d numbers were given twice", twice)
	}
}

// Counters begin anywhere, and destinations and protocols are spread over them
// so that nobody can tell from its own numbers what others send.
func TestIDsAreSpread(t *testing.T) {
	s, other := NewIDs(), NewIDs()
	moved, alike := map[int]bool{}, 0
	for i := range 4096 {
		dst, proto := packet.Addr4(0xc6336400+uint32(i/2)), uint8(packet.UDP-i%2)
		before := s.snapshot()
		s.Next(dst, proto, 1)
		for c, next := range s.snapshot() {
			if next != before[c] {
				moved[c] = true
			}
		}
		if s.Next(dst, proto, 1) == other.Next(dst, proto, 1) {
			alike++
		}
	}
	// 4096 throws into 2048 places leave about 2048/e² empty: 277, ± 14.
	if len(moved) < 1650 {
		t.Errorf("only %d counters are in use", len(moved))
	}
	if alike > 20 {
		t.Errorf("%d of 4096 numbers are the same in two routers", alike)
	}
}

func (s *IDs) snapshot() (all [2048]uint32) {
	for i := range s.counters {
		all[i] = s.counters[i].Load()
	}
	return all
}
