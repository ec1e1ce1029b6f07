package fragment

// slots hands out the numbers of a fixed array of records and finds them by
// hash: records whose hashes share their low bits are in one chain. Record 0
// is never used.
type slots struct {
	heads []uint32
	next  []uint32 // in the chain, or of the free list
	free  uint32   // list of records given back
	fresh uint32   // the first record that was never used
}

func newSlots(n int) slots {
	size := 1
	for size < n {
		size *= 2
	}
	return slots{heads: make([]uint32, size), next: make([]uint32, n+1), fresh: 1}
}

func (s *slots) head(h uint64) *uint32 { return &s.heads[h&uint64(len(s.heads)-1)] }

// first returns the first record that may have hash h; the others follow by
// next, until 0.
func (s *slots) first(h uint64) uint32 { return *s.head(h) }

// add enters a record that is not in use and returns its number. There must be one.
func (s *slots) add(h uint64) uint32 {
	i := s.free
	if i != 0 {
		s.free = s.next[i]
	} else {
		i = s.fresh
		s.fresh++
	}
	head := s.head(h)
	s.next[i], *head = *head, i
	return i
}

// remove gives record i, which was added by hash h, back.
func (s *slots) remove(i uint32, h uint64) {
	at := s.head(h)
	for *at != i {
		at = &s.next[*at]
	}
	*at = s.next[i]
	s.next[i], s.free = s.free, i
}
