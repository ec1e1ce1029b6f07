package dataplane

import (
	"sync"
	"sync/atomic"

	"turnout/classifier/packet"
	"turnout/dataplane/segment"
)

const (
	ringSlots = 512       // packets or super-packets; a power of two
	ringBytes = 1 << 20   // about 16 full super-packets, 740 segments
	smallSize = 8 << 10   // up to here a packet is copied into the ring
	frameCost = 16 << 10  // what a packet that keeps its frame counts at least
	frameSize = 65535 + 9 // the largest packet and a little slack for alignment
)

// A frame is the buffer that a packet is read into: the virtio header, then
// the packet. It has one owner at a time: the dispatcher, then a ring.
type frame struct {
	data [segment.HeaderLen + frameSize]byte
}

// framePool keeps frames for reuse. The garbage collector never sees them come
// and go: a router under load would otherwise hand it a gigabyte a second, and
// a frame of its making is touched from end to end. There are never more of
// them than the rings can hold, 64 each.
type framePool struct {
	mu   sync.Mutex
	free []*frame
}

func (p *framePool) get() *frame {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		f := p.free[n-1]
		p.free = p.free[:n-1]
		return f
	}
	return new(frame)
}

func (p *framePool) put(f *frame) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = append(p.free, f)
}

// A slot holds one packet that waits for its tunnel. Small packets are copied
// into the ring, because a frame is 64 KiB however little of it is used; a
// large one brings its frame along, so that a super-packet is copied no more
// often than in a plain WireGuard device.
type slot struct {
	header segment.Header
	view   packet.View
	frame  *frame // set for a large packet
	packet []byte // the packet, in frame or in the ring's memory
	cost   int    // bytes that it takes of the ring
}

// ring is the bounded queue of one tunnel. Any goroutine may push; one
// goroutine, the tunnel's Read, takes. The slot at the head belongs to the
// taker until drop.
type ring struct {
	push  sync.Mutex // among producers only
	head  atomic.Uint64
	tail  atomic.Uint64
	bytes atomic.Int64
	slots [ringSlots]slot
	// Copies lie in here one after the other, round and round. Producers know
	// where the next one goes; bytes says that the place is free.
	memory []byte
	next   int
	wake   chan struct{} // capacity 1: something was pushed
}

func newRing() *ring { return &ring{wake: make(chan struct{}, 1)} }

// put queues a packet. When f is not nil it is the frame that pkt lies in, and
// put may keep it: the caller must not use a kept frame again. It does not wake
// the taker, so that a batch wakes it once.
func (r *ring) put(h segment.Header, v *packet.View, pkt []byte, f *frame) (kept bool, why packet.Reason) {
	r.push.Lock()
	defer r.push.Unlock()
	tail := r.tail.Load()
	used := int(r.bytes.Load())
	if used == 0 {
		r.next = 0 // memory that is not needed stays untouched
	}
	kept = len(pkt) > smallSize && f != nil
	at, cost := r.next, len(pkt)
	switch {
	case kept:
		cost = max(cost, frameCost)
	case at+len(pkt) > ringBytes: // the end is too short for it
		at, cost = 0, len(pkt)+ringBytes-at
	}
	if tail-r.head.Load() == ringSlots || used+cost > ringBytes {
		return false, packet.QueueFull
	}
	s := &r.slots[tail%ringSlots]
	s.header, s.view, s.cost = h, *v, cost
	if kept {
		s.frame, s.packet = f, pkt
	} else {
		s.frame, s.packet = nil, r.copyTo(at, pkt)
	}
	r.bytes.Add(int64(cost))
	r.tail.Store(tail + 1)
	return kept, packet.OK
}

// copyTo copies a packet into the ring's memory.
func (r *ring) copyTo(at int, pkt []byte) []byte {
	if r.memory == nil {
		r.memory = make([]byte, ringBytes)
	}
	r.next = at + copy(r.memory[at:], pkt)
	return r.memory[at:r.next]
}

// signal wakes the taker.
func (r *ring) signal() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// peek returns the oldest packet, or nil. Only the taker may call it.
func (r *ring) peek() *slot {
	if head := r.head.Load(); head != r.tail.Load() {
		return &r.slots[head%ringSlots]
	}
	return nil
}

// drop gives the oldest slot back to the producers and its frame to the pool.
func (r *ring) drop(pool *framePool) {
	head := r.head.Load()
	s := &r.slots[head%ringSlots]
	if s.frame != nil {
		pool.put(s.frame)
		s.frame = nil
	}
	s.packet = nil
	r.bytes.Add(-int64(s.cost))
	r.head.Store(head + 1)
}
