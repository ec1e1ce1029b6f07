package fragment

import "turnout/classifier/packet"

// Held fragments lie in blocks of a fixed size, which are made when they are
// first needed and then kept. A fragment larger than a block takes several.
const (
	blockSize = 2048
	chunk     = 64 // blocks that are made at once
)

type block struct {
	data [blockSize]byte
	next int32 // block of the same fragment, or free one; 0: none
}

// A held is one fragment that waits. Number 0 is never used.
type held struct {
	view   packet.View
	from   uint16 // where it belongs
	first  int32  // block
	blocks int32
	next   int32 // of its datagram, or free one; 0: none
}

// A hold keeps all fragments that wait.
type hold struct {
	chunks     [][]block
	blocks     int32 // ever made, and one
	free       int32
	list       []held
	freeHeld   int32
	used, most int32 // blocks
}

func newHold(bytes int) hold {
	return hold{list: make([]held, 1), blocks: 1, most: int32(bytes / blockSize)}
}

func (h *hold) block(n int32) *block { return &h.chunks[n/chunk][n%chunk] }

// need is how many blocks n bytes take.
func need(n int) int32 { return int32((n + blockSize - 1) / blockSize) }

// put copies a fragment, for which there must be room, and returns its number.
func (h *hold) put(b []byte, v *packet.View, from uint16, next int32) int32 {
	i := h.freeHeld
	if i != 0 {
		h.freeHeld = h.list[i].next
	} else {
		i = int32(len(h.list))
		h.list = append(h.list, held{})
	}
	e := &h.list[i]
	*e = held{view: *v, from: from, blocks: need(len(b)), next: next}
	h.used += e.blocks
	for at := &e.first; len(b) > 0; {
		*at = h.take()
		p := h.block(*at)
		b = b[copy(p.data[:], b):]
		p.next, at = 0, &p.next
	}
	return i
}

func (h *hold) take() int32 {
	if n := h.free; n != 0 {
		h.free = h.block(n).next
		return n
	}
	n := h.blocks
	if int(n/chunk) == len(h.chunks) {
		h.chunks = append(h.chunks, make([]block, chunk))
	}
	h.blocks++
	return n
}

// drop gives fragment i back and returns the next of its datagram.
func (h *hold) drop(i int32) (next int32) {
	e := &h.list[i]
	for n := e.first; n != 0; {
		p := h.block(n)
		n, p.next, h.free = p.next, h.free, n
	}
	h.used -= e.blocks
	next = e.next
	*e = held{next: h.freeHeld}
	h.freeHeld = i
	return next
}

// copyTo writes fragment i into dst.
func (h *hold) copyTo(dst []byte, i int32) {
	size := int(h.list[i].view.Len)
	for n, at := h.list[i].first, 0; n != 0; {
		p := h.block(n)
		at += copy(dst[at:size], p.data[:])
		n = p.next
	}
}
