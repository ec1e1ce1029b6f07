package nat

// An index is an open-addressing hash table with linear probing: a slot holds
// the number of a record in a slab and eight bits of its hash, which spare
// most visits to records that are not the wanted one. It holds no keys: the
// caller compares the candidates and knows how to hash a record again.
//
// It doubles when it is three quarters full. The records then move bit by bit,
// some with each that is added: to move a million at once would hold up every
// packet for a sixth of a second. Until all have moved both arrays are searched.
type index struct {
	slots []uint32 // a power of two of them
	old   []uint32 // what has not moved yet; nil most of the time
	moved uint32   // slots of old, from start on, that are empty for good
	start uint32
	used  int
	hash  func(record uint32) uint64
	arena *arena
}

const (
	recordBits = 24
	recordMask = 1<<recordBits - 1 // record 0 is never used: a zero slot is empty
	minSlots   = 1 << 10
	inOld      = 1 << 31 // a position in the old array
	// stride is how many slots of the old array are emptied with each record
	// added. Half of it would do to be done before the next doubling.
	stride = 4
)

func newIndex(a *arena, hash func(uint32) uint64) index {
	return index{slots: array[uint32](a, minSlots), hash: hash, arena: a}
}

// The low bits of a hash say where to begin, the top eight are kept in the slot.
func slotOf(h uint64, record uint32) uint32 {
	return uint32(h>>56)<<recordBits | record
}

// candidate returns the first record at or after position at that may have
// hash h, and its position; record 0 when there is none. A search begins at 0
// and goes on at the position after the last. Positions count from where h
// begins, in the old array from inOld.
func (x *index) candidate(h uint64, at uint32) (record, found uint32) {
	if at >= inOld {
		return x.candidateInOld(h, at&^inOld)
	}
	mask := uint32(len(x.slots) - 1)
	want := uint32(h >> 56)
	for {
		s := x.slots[(uint32(h)+at)&mask]
		if s == 0 {
			break
		}
		if s>>recordBits == want {
			return s & recordMask, at
		}
		at++
	}
	if x.old == nil {
		return 0, at
	}
	return x.candidateInOld(h, 0)
}

// candidateInOld is kept apart so that the loop above stays small.
func (x *index) candidateInOld(h uint64, at uint32) (record, found uint32) {
	mask := uint32(len(x.old) - 1)
	for ; ; at++ {
		s := x.old[(uint32(h)+at)&mask]
		if s == 0 {
			return 0, at | inOld
		}
		if s>>recordBits == uint32(h>>56) {
			return s & recordMask, at | inOld
		}
	}
}

// add enters a record that is not in the index.
func (x *index) add(record uint32, h uint64) {
	if (x.used+1)*4 > len(x.slots)*3 {
		x.grow()
	}
	x.used++
	put(x.slots, record, h)
	if x.old != nil {
		x.move(stride)
	}
}

func put(s []uint32, record uint32, h uint64) {
	mask := uint32(len(s) - 1)
	p := uint32(h) & mask
	for s[p] != 0 {
		p = (p + 1) & mask
	}
	s[p] = slotOf(h, record)
}

// grow makes room for twice as many. By now all of the last doubling have moved.
func (x *index) grow() {
	if x.old != nil {
		x.move(uint32(len(x.old)))
	}
	x.old, x.slots = x.slots, array[uint32](x.arena, 2*len(x.slots))
	x.moved, x.start = 0, 0
	for x.old[x.start] != 0 {
		x.start++
	}
}

// move empties at least n slots of the old array, and on to the next empty one:
// records that were put one after the other move together, so that a search
// never meets a hole where one of them was.
func (x *index) move(n uint32) {
	mask := uint32(len(x.old) - 1)
	for end := x.moved + n; x.moved < uint32(len(x.old)); x.moved++ {
		p := (x.start + x.moved) & mask
		slot := x.old[p]
		if slot == 0 && x.moved >= end {
			return
		}
		if slot != 0 {
			put(x.slots, slot&recordMask, x.hash(slot&recordMask))
			x.old[p] = 0
		}
	}
	discard(x.arena, x.old)
	x.old = nil
}

// replace puts a record in the place of another with the same hash.
func (x *index) replace(old, record uint32, h uint64) {
	s, p := x.find(old, h)
	s[p] = slotOf(h, record)
}

// find returns where a record of the index is.
func (x *index) find(record uint32, h uint64) ([]uint32, uint32) {
	for _, s := range [...][]uint32{x.slots, x.old} {
		mask := uint32(len(s) - 1)
		for p := uint32(h) & mask; len(s) > 0 && s[p] != 0; p = (p + 1) & mask {
			if s[p] == slotOf(h, record) {
				return s, p
			}
		}
	}
	panic("nat: a record is missing in its index")
}

// remove takes a record out and closes the gap: every record after it moves
// back as far as its hash allows, so that no tombstones pile up.
func (x *index) remove(record uint32, h uint64) {
	s, gap := x.find(record, h)
	mask := uint32(len(s) - 1)
	x.used--
	for p := (gap + 1) & mask; s[p] != 0; p = (p + 1) & mask {
		home := uint32(x.hash(s[p]&recordMask)) & mask
		// It may fill the gap unless its home lies after the gap.
		if (p-home)&mask >= (p-gap)&mask {
			s[gap] = s[p]
			gap = p
		}
	}
	s[gap] = 0
}
