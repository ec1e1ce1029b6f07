package classifier

import "math/bits"

// A sweep is one dimension of a list of boxes, cut at every edge of a box:
// which intervals between the cuts each box is in. It is what a split is
// chosen by and made from; its memory is used again.
type sweep struct {
	dim    dim
	n      int      // boxes
	events []uint64 // where a box begins or has ended, in order: at<<32 | box<<1 | ended
	spare  []uint64
	at     []uint32 // where intervals begin
	first  []uint32 // by box: its first interval
	last   []uint32 // by box: its last interval
	count  []int32  // by interval: boxes that stay

	widest int     // boxes in more intervals than this go to the rest
	rest   int     // how many that are
	typed  float64 // boxes of an interval, as a packet of a random box finds it
	kept   int     // boxes that stay, times the intervals each is in
}

// measure sweeps list, whose boxes all reach into r, in dimension d. It fails
// when no box has an edge there. room is how many entries the boxes that stay
// may become.
func (s *sweep) measure(boxes []box, list []int32, r *region, d dim, room int) bool {
	s.dim, s.n = d, len(list)
	s.events = s.events[:0]
	for i, n := range list {
		b := &boxes[n]
		if b.lo[d] > r.lo[d] {
			s.events = append(s.events, uint64(b.lo[d])<<32|uint64(i)<<1)
		}
		if b.hi[d] < r.hi[d] {
			s.events = append(s.events, uint64(b.hi[d]+1)<<32|uint64(i)<<1|1)
		}
	}
	if len(s.events) == 0 {
		return false
	}
	s.spare = grown(s.spare, len(s.events))
	s.events, s.spare = sortByHalf(s.events, s.spare)
	s.number(r.lo[d])
	s.evict(room)
	return true
}

// number finds the intervals of each box.
func (s *sweep) number(lowest uint32) {
	s.at = append(s.at[:0], lowest)
	s.first, s.last = grown(s.first, s.n), grown(s.last, s.n)
	clear(s.first)
	for i := range s.last {
		s.last[i] = 1<<32 - 1
	}
	for _, e := range s.events {
		if at := uint32(e >> 32); at != s.at[len(s.at)-1] {
			s.at = append(s.at, at)
		}
		i, here := uint32(e)>>1, uint32(len(s.at)-1)
		if e&1 != 0 {
			s.last[i] = here - 1
		} else {
			s.first[i] = here
		}
	}
	end := uint32(len(s.at) - 1)
	for i := range s.last {
		s.last[i] = min(s.last[i], end)
	}
}

// evict sets widest so that the boxes that stay fit into room, and measures
// what is left.
func (s *sweep) evict(room int) {
	var size, boxes [33]int // by the length of the number of intervals
	for i := range s.n {
		width := s.last[i] - s.first[i] + 1
		c := bits.Len32(width)
		size[c] += int(width)
		boxes[c]++
	}
	class, total := 32, 0
	for _, n := range size {
		total += n
	}
	s.rest = 0
	for ; class > 1 && total > room; class-- {
		total -= size[class]
		s.rest += boxes[class]
	}
	s.widest, s.kept = 1<<class-1, total

	s.count = grown(s.count, len(s.at)+1)
	clear(s.count)
	for i := range s.n {
		if s.stays(i) {
			s.count[s.first[i]]++
			s.count[s.last[i]+1]--
		}
	}
	open, squares := int32(0), 0.0
	for _, c := range s.count {
		open += c
		squares += float64(open) * float64(open)
	}
	s.typed = squares / float64(max(1, total))
}

func (s *sweep) stays(i int) bool { return int(s.last[i]-s.first[i]) < s.widest }

// grown returns a slice of n elements, list's own memory if that is enough.
func grown[T any](list []T, n int) []T {
	if cap(list) < n {
		return make([]T, n, n+n/4)
	}
	return list[:n]
}

// sortByHalf sorts by the upper 32 bits, equal ones in the order in which they
// are, and returns the sorted list and the one that is spare then.
func sortByHalf(list, spare []uint64) (sorted, other []uint64) {
	spare = spare[:len(list)]
	if len(list) < 64 {
		for i := 1; i < len(list); i++ {
			for j := i; j > 0 && list[j-1]>>32 > list[j]>>32; j-- {
				list[j-1], list[j] = list[j], list[j-1]
			}
		}
		return list, spare
	}
	for shift := 32; shift < 64; shift += 8 {
		var start [256]int
		for _, x := range list {
			start[uint8(x>>shift)]++
		}
		sum := 0
		for i, n := range start {
			start[i], sum = sum, sum+n
		}
		for _, x := range list {
			k := uint8(x >> shift)
			spare[start[k]] = x
			start[k]++
		}
		list, spare = spare, list
	}
	return list, spare
}
