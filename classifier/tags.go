package classifier

import (
	"math/bits"
	"math/rand/v2"
	"sync/atomic"

	"turnout/classifier/packet"
)

// Tags says of single destination addresses what has been learnt about them:
// a number that entries name in Entry.Tags. It outlives the tables that use
// it. Any number of goroutines may read while one writes; a reader sees each
// address before or after a change, never in between. Learning an address is
// one insertion into a hash table and compiles nothing.
//
// The zero Tags is empty and ready for use.
type Tags struct {
	slots atomic.Pointer[tagSlots]
	used  int // slots of an address, forgotten ones included; the writer's
	live  int // addresses that have a tag
}

// tagSlots is one size of the table: open addressing, linear probing. An
// address keeps its slot until the table is copied.
type tagSlots struct {
	seed uint64
	slot []tagSlot // a power of two, at most half in use
}

// A tagSlot belongs to an address from when its state is first set: the
// address is stored before and never changes.
type tagSlot struct {
	hi, lo atomic.Uint64
	state  atomic.Uint64 // 0: free; tagKnown|tag; tagForgotten
}

const (
	tagKnown     = 1 << 32
	tagForgotten = 2 << 32
	minTagSlots  = 64
)

// Get returns the tag of an address.
func (t *Tags) Get(a packet.Addr) (tag uint32, ok bool) {
	if t == nil {
		return 0, false
	}
	s := t.slots.Load()
	if s == nil {
		return 0, false
	}
	_, state := s.find(a)
	return uint32(state), state&tagKnown != 0
}

// find returns the slot of a, or the free one where it would go, and its state.
// One is always free, so the search ends. The state is read once, and before
// the address: a slot that was free may be another address's a moment later.
func (s *tagSlots) find(a packet.Addr) (*tagSlot, uint64) {
	mask := uint64(len(s.slot) - 1)
	for i := s.hash(a); ; i++ {
		e := &s.slot[i&mask]
		state := e.state.Load()
		if state == 0 || e.lo.Load() == a.Lo && e.hi.Load() == a.Hi {
			return e, state
		}
	}
}

// hash is keyed, because who answers a question of names chooses addresses.
func (s *tagSlots) hash(a packet.Addr) uint64 {
	hi, lo := bits.Mul64(a.Lo^s.seed, a.Hi^0x9e3779b97f4a7c15^s.seed>>32)
	x := (hi ^ lo ^ a.Lo) * 0xd6e8feb86659fd93
	return x ^ x>>32
}

// Set gives an address a tag, in place of an earlier one.
func (t *Tags) Set(a packet.Addr, tag uint32) {
	s := t.slots.Load()
	if s == nil || 2*(t.used+1) > len(s.slot) {
		s = t.grow(s)
	}
	e, before := s.find(a)
	switch {
	case before == 0:
		e.hi.Store(a.Hi)
		e.lo.Store(a.Lo)
		t.used++
		t.live++
	case before == tagForgotten:
		t.live++
	}
	e.state.Store(tagKnown | uint64(tag))
}

// Forget takes an address's tag away.
func (t *Tags) Forget(a packet.Addr) {
	s := t.slots.Load()
	if s == nil {
		return
	}
	if e, state := s.find(a); state&tagKnown != 0 {
		e.state.Store(tagForgotten)
		t.live--
	}
}

// Len returns how many addresses have a tag. It is the writer's to ask.
func (t *Tags) Len() int { return t.live }

// grow copies what is known into a table with room for as many again, and
// leaves out what was forgotten.
func (t *Tags) grow(old *tagSlots) *tagSlots {
	size := minTagSlots
	for size < 4*(t.live+1) {
		size *= 2
	}
	s := &tagSlots{seed: rand.Uint64(), slot: make([]tagSlot, size)}
	if old != nil {
		for i := range old.slot {
			e := &old.slot[i]
			state := e.state.Load()
			if state&tagKnown == 0 {
				continue
			}
			a := packet.Addr{Hi: e.hi.Load(), Lo: e.lo.Load()}
			n, _ := s.find(a)
			n.hi.Store(a.Hi)
			n.lo.Store(a.Lo)
			n.state.Store(state)
		}
	}
	t.used = t.live
	t.slots.Store(s)
	return s
}
