package nat

// An index is an open-addressing hash table with linear probing: a slot holds
// the number of a record in a slab and eight bits of its hash, which spare
// most visits to records that are not the wanted one. It holds no keys: the
// caller compares the candidates and knows how to hash a record again.
type index struct {
	slots []uint32
	used  int
	hash  func(record uint32) uint64
	arena *arena
}

const (
	recordBits = 24
	recordMask = 1<<recordBits - 1 // record 0 is never used: a zero slot is empty
	minSlots   = 1 << 10
)

func newIndex(a *arena, hash func(uint32) uint64) index {
	return index{slots: array[uint32](a, minSlots), hash: hash, arena: a}
}

// The low bits of a hash say where to begin, the top eight are kept in the slot.
func slotOf(h uint64, record uint32) uint32 {
	return uint32(h>>56)<<recordBits | record
}

// candidate returns the first record at or after position at, counted from
// where h begins, that may have hash h, and its position; record 0 when there
// is none. The search goes on at the position after it.
func (x *index) candidate(h uint64, at uint32) (record, found uint32) {
	mask := uint32(len(x.slots) - 1)
	want := uint32(h >> 56)
	for {
		s := x.slots[(uint32(h)+at)&mask]
		if s == 0 {
			return 0, at
		}
		if s>>recordBits == want {
			return s & recordMask, at
		}
		at++
	}
}

// add enters a record that is not in the index.
func (x *index) add(record uint32, h uint64) {
	if (x.used+1)*4 > len(x.slots)*3 {
		x.grow()
	}
	x.used++
	x.put(record, h)
}

func (x *index) put(record uint32, h uint64) {
	mask := uint32(len(x.slots) - 1)
	p := uint32(h) & mask
	for x.slots[p] != 0 {
		p = (p + 1) & mask
	}
	x.slots[p] = slotOf(h, record)
}

// grow doubles the index. It is the one operation whose time grows with the
// table; it happens once for each doubling of the number of flows.
func (x *index) grow() {
	old := x.slots
	x.slots = array[uint32](x.arena, 2*len(old))
	for _, s := range old {
		if s != 0 {
			r := s & recordMask
			x.put(r, x.hash(r))
		}
	}
	discard(x.arena, old)
}

// replace puts a record in the place of another with the same hash.
func (x *index) replace(old, record uint32, h uint64) {
	mask := uint32(len(x.slots) - 1)
	p := uint32(h) & mask
	for x.slots[p] != slotOf(h, old) {
		p = (p + 1) & mask
	}
	x.slots[p] = slotOf(h, record)
}

// remove takes a record out and closes the gap: every record after it moves
// back as far as its hash allows, so that no tombstones pile up.
func (x *index) remove(record uint32, h uint64) {
	mask := uint32(len(x.slots) - 1)
	gap := uint32(h) & mask
	for x.slots[gap] != slotOf(h, record) {
		if x.slots[gap] == 0 {
			return
		}
		gap = (gap + 1) & mask
	}
	x.used--
	for p := (gap + 1) & mask; x.slots[p] != 0; p = (p + 1) & mask {
		home := uint32(x.hash(x.slots[p]&recordMask)) & mask
		// It may fill the gap unless its home lies after the gap.
		if (p-home)&mask >= (p-gap)&mask {
			x.slots[gap] = x.slots[p]
			gap = p
		}
	}
	x.slots[gap] = 0
}
