package fragment

// blockSize is small enough that little is lost to small packets, and three
// blocks take what fits an Ethernet frame.
const blockSize = 512

// An arena holds copies of packets in a fixed number of blocks, which are
// linked where a packet needs several. A packet goes by the number of its
// first block; block 0 is never used.
type arena struct {
	data   []byte
	blocks []block
	free   uint32 // list of blocks given back
	fresh  uint32 // the first block that was never used
}

type block struct {
	next  uint32 // of the same packet, or of the free list
	after uint32 // first block of the datagram's next packet, by offset
	from  uint16 // the packet's place in its datagram
	size  uint16 // bytes of the packet
}

func newArena(blocks int) arena {
	return arena{data: make([]byte, blocks*blockSize), blocks: make([]block, blocks+1), fresh: 1}
}

func blocksOf(size int) int { return (size + blockSize - 1) / blockSize }

func (a *arena) bytes(i uint32) []byte { return a.data[(i-1)*blockSize : i*blockSize] }

// store copies packet b, which starts at from in its datagram. The caller has
// seen to it that there are blocks left.
func (a *arena) store(b []byte, from uint16) uint32 {
	first := a.take()
	a.blocks[first] = block{from: from, size: uint16(len(b))}
	last := first
	for b = b[copy(a.bytes(first), b):]; len(b) > 0; {
		i := a.take()
		b = b[copy(a.bytes(i), b):]
		a.blocks[i].next, a.blocks[last].next = 0, i
		last = i
	}
	return first
}

func (a *arena) take() uint32 {
	i := a.free
	if i == 0 {
		i = a.fresh
		a.fresh++
		return i
	}
	a.free = a.blocks[i].next
	return i
}

// load copies packet first to b, without its first skip bytes, and returns how
// many came of it.
func (a *arena) load(b []byte, first uint32, skip int) (n int) {
	left := int(a.blocks[first].size)
	for i := first; i != 0; i = a.blocks[i].next {
		piece := a.bytes(i)[:min(left, blockSize)]
		left -= len(piece)
		drop := min(skip, len(piece))
		skip -= drop
		n += copy(b[n:], piece[drop:])
	}
	return n
}

// release gives the blocks of packet first back and returns their number.
func (a *arena) release(first uint32) int {
	n, last := 1, first
	for a.blocks[last].next != 0 {
		last = a.blocks[last].next
		n++
	}
	a.blocks[last].next = a.free
	a.free = first
	return n
}
