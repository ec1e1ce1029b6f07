package nat

const (
	chunkBits = 10
	chunkSize = 1 << chunkBits
)

// A slab is a growing array of records that never moves: it grows by chunks,
// so that a new flow never waits for the copying of all others. Record 0 stays
// unused. The records must hold no pointers.
type slab[T any] struct {
	chunks [][]T
	next   uint32 // first record never handed out
}

func newSlab[T any]() slab[T] { return slab[T]{next: 1} }

func (s *slab[T]) at(i uint32) *T { return &s.chunks[i>>chunkBits][i&(chunkSize-1)] }

// extend returns a record that was never used before.
func (s *slab[T]) extend() uint32 {
	i := s.next
	s.next++
	if int(i>>chunkBits) == len(s.chunks) {
		s.chunks = append(s.chunks, make([]T, chunkSize))
	}
	return i
}
