// Package peerstest plays the data path for tests of tunnels: a tun.Device in
// memory whose far side is the test.
package peerstest

import (
	"os"
	"sync"
	"sync/atomic"

	"golang.zx2c4.com/wireguard/tun"
)

const queue = 4096 // packets in each direction

// A TUN is a tun.Device without a kernel. As a data path must, it never lets
// Read, Write and Close wait for one another: a Write into a full queue drops.
// It is safe for concurrent use.
type TUN struct {
	// Dropped counts packets out of the tunnel that nobody received in time.
	Dropped atomic.Uint64

	mtu     int
	in, out chan []byte
	events  chan tun.Event
	closed  chan struct{}
	once    sync.Once
}

var _ tun.Device = (*TUN)(nil)

// NewTUN returns a device for inner packets of at most mtu bytes.
func NewTUN(mtu int) *TUN {
	return &TUN{
		mtu:    mtu,
		in:     make(chan []byte, queue),
		out:    make(chan []byte, queue),
		events: make(chan tun.Event),
		closed: make(chan struct{}),
	}
}

// Send puts an IP packet into the tunnel, waiting while the queue is full. It
// reports whether the device is still open. pkt must not change afterwards.
func (t *TUN) Send(pkt []byte) bool {
	select {
	case <-t.closed:
		return false
	case t.in <- pkt:
		return true
	}
}

// Received delivers the packets that come out of the tunnel; they are the
// receiver's. It is never closed.
func (t *TUN) Received() <-chan []byte { return t.out }

// Closed is closed by Close.
func (t *TUN) Closed() <-chan struct{} { return t.closed }

// Read implements tun.Device.
func (t *TUN) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	select {
	case <-t.closed:
		return 0, os.ErrClosed
	case p := <-t.in:
		sizes[0] = copy(bufs[0][offset:], p)
	}
	for n := 1; n < len(bufs); n++ {
		select {
		case p := <-t.in:
			sizes[n] = copy(bufs[n][offset:], p)
		default:
			return n, nil
		}
	}
	return len(bufs), nil
}

// Write implements tun.Device.
func (t *TUN) Write(bufs [][]byte, offset int) (int, error) {
	for _, b := range bufs {
		select {
		case t.out <- append([]byte(nil), b[offset:]...):
		default:
			t.Dropped.Add(1)
		}
	}
	return len(bufs), nil
}

// Close implements tun.Device; closing twice is fine.
func (t *TUN) Close() error {
	t.once.Do(func() {
		close(t.closed)
		close(t.events)
	})
	return nil
}

func (t *TUN) File() *os.File           { return nil }
func (t *TUN) MTU() (int, error)        { return t.mtu, nil }
func (t *TUN) Name() (string, error)    { return "memory", nil }
func (t *TUN) Events() <-chan tun.Event { return t.events }
func (t *TUN) BatchSize() int           { return 128 }
