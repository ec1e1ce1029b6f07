package fragment

import (
	"bytes"
	"testing"

	"turnout/classifier/packet"
)

func add(t testing.TB, r *Reassembler, b []byte, now uint32) ([]byte, Verdict) {
	t.Helper()
	return r.Add(b, decode(t, b), now)
}

// Every order of arrival makes the whole again.
func TestReassembleAllOrders(t *testing.T) {
	forAll(t, 5*48-5, func(t *testing.T, m message) {
		parts := m.cut(48)
		r := NewReassembler()
		for _, order := range permutations(len(parts)) {
			for i, k := range order {
				whole, verdict := add(t, r, parts[k], 1)
				switch {
				case i < len(order)-1 && (verdict != Verdict{Action: Held} || whole != nil):
					t.Fatalf("order %v: %+v", order, verdict)
				case i == len(order)-1 && (verdict.Action != Pass || !bytes.Equal(whole, m.whole())):
					t.Fatalf("order %v: %+v\n got % x\nwant % x", order, verdict, whole, m.whole())
				}
			}
			r.table.verify(t)
		}
		if r.table.oldest() != 0 {
			t.Fatal("something is left")
		}
	})
}

// Datagrams of all sizes, cut at random, several at a time.
func TestReassembleRandom(t *testing.T) {
	rng := newRandom(t)
	r := NewReassembler()
	for n := range 500 {
		type one struct {
			m     message
			parts [][]byte
		}
		var mixed []one
		left := 0
		for i := range 1 + rng.IntN(4) {
			size := 64 + rng.IntN(4000)
			if rng.IntN(8) == 0 {
				size = 60000 + rng.IntN(5516)
			}
			m := newMessage(rng.IntN(2) == 0, packet.UDP, size)
			if m.v6 {
				m.data = m.data[:min(size, 65480)] // its largest fragment header is in the way
			}
			m.id = uint32(n*8 + i)
			parts := m.cut(max(48, size/64/8*8+8))
			rng.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
			mixed = append(mixed, one{m, parts})
			left += len(parts)
		}
		for left > 0 {
			o := &mixed[rng.IntN(len(mixed))]
			if len(o.parts) == 0 {
				continue
			}
			whole, verdict := add(t, r, o.parts[0], 1)
			o.parts = o.parts[1:]
			left--
			if len(o.parts) > 0 && verdict.Action != Held {
				t.Fatalf("%+v", verdict)
			}
			if len(o.parts) == 0 && !bytes.Equal(whole, o.m.whole()) {
				t.Fatalf("%+v: %d bytes of %d", verdict, len(whole), len(o.m.whole()))
			}
		}
	}
	r.table.verify(t)
}

// What poisons a datagram for a Tracker does here, in both orders.
func TestReassemblerPoison(t *testing.T) {
	for _, row := range contradictions {
		for _, swapped := range []bool{false, true} {
			t.Run(row.name, func(t *testing.T) {
				m := newMessage(false, packet.UDP, 240)
				a, b := m.part(row.a[0], row.a[1], row.am), m.part(row.b[0], row.b[1], row.bm)
				if swapped {
					a, b = b, a
				}
				r := NewReassembler()
				if _, got := add(t, r, a, 1); got.Action != Held {
					t.Fatalf("%+v", got)
				}
				if _, got := add(t, r, b, 1); got != (Verdict{Action: Drop, Reason: packet.FragmentOverlap, Lost: 1}) {
					t.Fatalf("%+v", got)
				}
				for range 2 {
					for _, p := range m.cut(48) {
						if whole, got := add(t, r, p, 30); whole != nil || got != (Verdict{Action: Drop, Reason: packet.FragmentOverlap}) {
							t.Fatalf("%+v", got)
						}
					}
				}
				if _, got := add(t, r, m.part(0, 48, true), 31); got.Action != Held {
					t.Fatalf("30 s later: %+v", got)
				}
				r.table.verify(t)
			})
		}
	}
}

func TestReassemblerBeyondALargestPacket(t *testing.T) {
	m := newMessage(false, packet.UDP, 65515)
	large := m
	large.options = 40
	r := NewReassembler()
	add(t, r, large.part(0, 48, true), 1)
	if _, got := add(t, r, m.part(48, 65515, false), 1); got.Reason != packet.FragmentOverlap {
		t.Fatalf("%+v", got)
	}
	m.id++
	add(t, r, m.part(0, 48, true), 1)
	if whole, got := add(t, r, m.part(48, 65515, false), 1); !bytes.Equal(whole, m.whole()) || len(whole) != 65535 {
		t.Fatalf("%d bytes: %+v", len(whole), got)
	}
}

func TestReassemblerExpires(t *testing.T) {
	m := newMessage(false, packet.UDP, 240)
	r := NewReassembler()
	add(t, r, m.part(0, 48, true), 1)
	add(t, r, m.part(48, 96, true), 29)
	if n := r.Expire(30); n != 0 {
		t.Fatalf("%d lost after 29 s", n)
	}
	if n := r.Expire(31); n != 2 {
		t.Fatalf("%d lost after 30 s, want 2", n)
	}
	if whole, got := add(t, r, m.part(96, 240, false), 31); whole != nil || got.Action != Held {
		t.Fatalf("%+v", got)
	}
}

// The oldest give way, counted, to the 65th datagram and beyond 1 MiB.
func TestReassemblerIsBounded(t *testing.T) {
	m := newMessage(false, packet.UDP, 65515)
	r := NewReassembler()
	for i := range 200 {
		m.id = uint32(i)
		want := Verdict{Action: Held}
		if i >= 64 {
			want.Lost, want.Reason = 1, packet.FragmentLimit
		}
		if _, got := add(t, r, m.part(0, 48, true), 1); got != want {
			t.Fatalf("datagram %d: %+v", i, got)
		}
	}
	r.Expire(100)
	lost := 0
	for i := range 40 {
		m.id = uint32(i)
		_, got := add(t, r, m.part(48, 48+60000, true), 101)
		if got.Action != Held {
			t.Fatalf("datagram %d: %+v", i, got)
		}
		lost += got.Lost
		r.table.verify(t)
	}
	if n := len(r.table.inUse(t)); n != 17 || lost != 23 { // of 118 blocks each
		t.Fatalf("%d datagrams of 60,000 bytes, %d lost", n, lost)
	}
	m.id = 39 // the newest is whole still
	add(t, r, m.part(0, 48, true), 101)
	if whole, got := add(t, r, m.part(60048, 65515, false), 101); !bytes.Equal(whole, m.whole()) {
		t.Fatalf("%d bytes: %+v", len(whole), got)
	}
}

// A datagram that would have to make room for itself is refused.
func TestReassemblerOldestGrows(t *testing.T) {
	m := newMessage(false, packet.UDP, 65515)
	r := NewReassembler()
	add(t, r, m.part(0, 48, true), 1)
	for m.id = 1; m.id <= 17; m.id++ {
		if _, got := add(t, r, m.part(48, 48+60000, true), 1); got != (Verdict{Action: Held}) {
			t.Fatalf("%+v", got)
		}
	}
	m.id = newMessage(false, packet.UDP, 8).id
	if _, got := add(t, r, m.part(48, 48+60000, true), 1); got != (Verdict{Action: Drop, Reason: packet.FragmentLimit, Lost: 1}) {
		t.Fatalf("%+v", got)
	}
	r.table.verify(t)
}

// What is behind a packet in its buffer is not part of it.
func TestReassembleFromLongerBuffer(t *testing.T) {
	forAll(t, 96, func(t *testing.T, m message) {
		r := NewReassembler()
		parts := m.cut(48)
		add(t, r, append(parts[1], 1, 2, 3), 1)
		if whole, got := add(t, r, append(parts[0], 1, 2, 3), 1); !bytes.Equal(whole, m.whole()) {
			t.Fatalf("%+v: % x", got, whole)
		}
	})
}

func TestReassemblerTooManyFragments(t *testing.T) {
	m := newMessage(false, packet.UDP, 1000)
	r := NewReassembler()
	parts := m.cut(8)
	for i := range 64 {
		add(t, r, parts[i+1], 1)
	}
	if _, got := add(t, r, parts[65], 1); got != (Verdict{Action: Drop, Reason: packet.FragmentLimit, Lost: 64}) {
		t.Fatalf("%+v", got)
	}
}
