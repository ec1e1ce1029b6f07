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
	smallSize = 2048      // up to here a packet is copied into its slot
	frameSize = 65535 + 9 // the largest packet and a little slack for alignment
)

// A frame is the buffer that a packet is read into: the virtio header, then
// the packet. It has one owner at a time: the dispatcher, then a ring.
type frame struct {
	data [segment.HeaderLen + frameSize]byte
}

// framePool keeps frames for reuse. The garbage collector never sees them come
// and go, because a router under load would otherwise hand it a gigabyte a
// second.
type framePool struct {
	mu   sync.Mutex
	free []*frame
}

const framesKept = 64 // 4 MiB, touched only as far as traffic needs

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
	if len(p.free) < framesKept {
		p.free = append(p.free, f)
	}
}

// A slot holds one packet that waits for its tunnel. Small packets are copied
// into the slot; a large one brings its frame along, so that a super-packet is
// copied no more often than in a plain WireGuard device.
type slot struct {
	header segment.Header
	view   packet.View
	frame  *frame // set for a large packet
	small  []byte // the slot's own memory, made when first needed
	packet []byte // the packet, in frame or in small
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
	wake  chan struct{} // capacity 1: something was pushed
}

func newRing() *ring { return &ring{wake: make(chan struct{}, 1)} }

// put queues a packet. When f is not nil it is the frame that pkt lies in, and
// put may keep it: the caller must not use a kept frame again. It does not wake
// the taker, so that a batch wakes it once.
func (r *ring) put(h segment.Header, v *packet.View, pkt []byte, f *frame) (kept bool, why packet.Reason) {
	r.push.Lock()
	defer r.push.Unlock()
	tail := r.tail.Load()
	if tail-r.head.Load() == ringSlots || r.bytes.Load()+int64(len(pkt)) > ringBytes {
		return false, packet.QueueFull
	}
	s := &r.slots[tail%ringSlots]
	s.header, s.view = h, *v
	if len(pkt) > smallSize && f != nil {
		s.frame, s.packet = f, pkt
	} else {
		if cap(s.small) < len(pkt) {
			s.small = make([]byte, max(smallSize, len(pkt)))
		}
		s.frame, s.packet = nil, s.small[:len(pkt)]
		copy(s.packet, pkt)
	}
	r.bytes.Add(int64(len(pkt)))
	r.tail.Store(tail + 1)
	return s.frame != nil, packet.OK
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
	r.bytes.Add(-int64(len(s.packet)))
	s.packet = nil
	r.head.Store(head + 1)
}
