package nat

// A slab is an array of records that are handed out one by one and never move.
// It has its full size from the beginning, but only as much memory as was
// touched. Record 0 stays unused.
type slab[T any] struct {
	records []T
	next    uint32 // first record never handed out
	ready   uint32 // records from here on have no memory yet
	// more readies some further records; nil where all are.
	more func(ready uint32) (uint32, bool)
}

// newSlab returns a slab for records 1 to n.
func newSlab[T any](a *arena, n int) slab[T] {
	return slab[T]{records: array[T](a, n+1), next: 1, ready: uint32(n + 1)}
}

func (s *slab[T]) at(i uint32) *T { return &s.records[i] }

// extend returns a record that was never used before, 0 when there is none.
func (s *slab[T]) extend() uint32 {
	if !s.room() {
		return 0
	}
	s.next++
	return s.next - 1
}

// room reports whether extend has a record to give.
func (s *slab[T]) room() bool { return s.next < s.ready || s.grow() }

// grow readies some more records, if it can.
func (s *slab[T]) grow() (ok bool) {
	if s.more != nil {
		s.ready, ok = s.more(s.ready)
	}
	return ok
}
