package peers

import (
	"net/netip"
	"sync"
	"sync/atomic"

	"golang.zx2c4.com/wireguard/conn"
)

// Bounds of a pile. There are two, so that twice as much can wait: as a
// socket's receive queue, they hold what comes while the process waits for a
// CPU.
const (
	pileBytes = 2 << 20
	pileCount = 2048
)

// A pile is datagrams in the order of their arrival, one after the other in
// memory that is allocated once. Pages that were never needed cost nothing.
type pile struct {
	data  []byte
	ends  []int // of each datagram in data
	names []sockaddr
}

func newPile() *pile {
	return &pile{make([]byte, 0, pileBytes), make([]int, 0, pileCount), make([]sockaddr, 0, pileCount)}
}

// add copies a datagram onto the pile, if there is room.
func (p *pile) add(datagram []byte, name *sockaddr) bool {
	if len(p.ends) == pileCount || len(p.data)+len(datagram) > pileBytes {
		return false
	}
	p.data = append(p.data, datagram...)
	p.ends = append(p.ends, len(p.data))
	p.names = append(p.names, *name)
	return true
}

func (p *pile) clear() { p.data, p.ends, p.names = p.data[:0], p.ends[:0], p.names[:0] }

// An inbox is the queue between a Transport and the one goroutine that takes.
// Datagrams come onto one pile while the other one is taken from; then the two
// change places, so that nobody copies out under the lock.
type inbox struct {
	lost   *atomic.Uint64 // datagrams that found no room
	wake   chan struct{}  // capacity 1: the pile has a first datagram
	closed chan struct{}

	mu      sync.Mutex
	filling *pile

	taking *pile // the taker's own, as what follows
	next   int   // datagram of it
	off    int   // where that one starts
	from   senders
}

func newInbox(lost *atomic.Uint64) *inbox {
	return &inbox{
		lost:    lost,
		wake:    make(chan struct{}, 1),
		closed:  make(chan struct{}),
		filling: newPile(),
		taking:  newPile(),
	}
}

// put queues a copy of a datagram, or loses it.
func (q *inbox) put(datagram []byte, from netip.AddrPort) {
	name, _, err := sockaddrOf(from)
	if err != nil {
		q.lost.Add(1)
		return
	}
	q.mu.Lock()
	ok := q.filling.add(datagram, &name)
	first := len(q.filling.ends) == 1
	q.mu.Unlock()
	if !ok {
		q.lost.Add(1)
	}
	if first {
		select {
		case q.wake <- struct{}{}:
		default:
		}
	}
}

// take fills bufs with what is there and returns how many it filled.
func (q *inbox) take(bufs [][]byte, sizes []int, eps []conn.Endpoint) int {
	for n := range bufs {
		if q.next == len(q.taking.ends) && !q.turn() {
			return n
		}
		end := q.taking.ends[q.next]
		sizes[n] = copy(bufs[n], q.taking.data[q.off:end])
		eps[n] = q.from.of(&q.taking.names[q.next])
		q.next, q.off = q.next+1, end
	}
	return len(bufs)
}

// turn exchanges the piles when all of the taken one is used up. It reports
// whether there is anything on the new one.
func (q *inbox) turn() bool {
	q.taking.clear()
	q.next, q.off = 0, 0
	q.mu.Lock()
	defer q.mu.Unlock()
	q.filling, q.taking = q.taking, q.filling
	return len(q.taking.ends) > 0
}
