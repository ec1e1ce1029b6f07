package peers

import (
	"encoding/binary"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.zx2c4.com/wireguard/tun"
)

const (
	// windowMax bounds the received packets that wireguard-go holds at a time.
	// Its own queues are bounded in batches, 1,024 of up to 128 packets, each in
	// a buffer of 64 KiB: it reads faster than it decrypts, and takes hundreds of
	// megabytes where the socket's queue is the place to wait.
	windowMax = 512
	// windowLow is where a full window opens, so that batches stay large.
	windowLow = 256
	// windowPatience is how long a full window may see nothing delivered before
	// it is taken for lost: packets that wireguard-go drops after it has queued
	// them, replayed ones for example, are never delivered.
	windowPatience = 20 * time.Millisecond
)

// A window counts the received data messages that wireguard-go holds: lent by
// receivers, given back by what comes out of the tunnel.
type window struct {
	held    atomic.Int64
	waiting atomic.Int32
	room    chan struct{} // capacity 1
}

func newWindow() *window { return &window{room: make(chan struct{}, 1)} }

// wait returns when there is room. timer is the caller's own, and stopped.
func (w *window) wait(timer *time.Timer) {
	if w.held.Load() < windowMax {
		return
	}
	w.waiting.Add(1)
	defer w.waiting.Add(-1)
	for held := w.held.Load(); held > windowLow; held = w.held.Load() {
		timer.Reset(windowPatience)
		select {
		case <-w.room:
			timer.Stop()
		case <-timer.C:
			w.held.CompareAndSwap(held, 0)
		}
	}
}

// back counts n packets that wireguard-go holds no more.
func (w *window) back(n int) {
	held := w.held.Add(-int64(n))
	if held < 0 { // it was taken for lost, and was not
		w.held.CompareAndSwap(held, 0)
	}
	if held <= windowLow && w.waiting.Load() > 0 {
		select {
		case w.room <- struct{}{}:
		default:
		}
	}
}

// A loan is what one receiver has handed to wireguard-go in its last call.
type loan struct {
	window *window
	timer  *time.Timer
	bufs   []uintptr // of the data messages
	at     []int     // and which buffers they were
}

func newLoan(w *window) loan {
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	return loan{window: w, timer: timer}
}

// settle takes out of the window what wireguard-go did not keep in the last
// call, and waits for room. It exchanges the buffers of packets that it keeps;
// those of strangers, without a session of ours, stay: nobody outside can
// fill the window.
func (l *loan) settle(bufs [][]byte) {
	unused := 0
	for i, at := range l.at {
		if at < len(bufs) && address(bufs[at]) == l.bufs[i] {
			unused++
		}
	}
	l.bufs, l.at = l.bufs[:0], l.at[:0]
	l.window.back(unused)
	l.window.wait(l.timer)
}

// lend counts the data messages among the received packets.
func (l *loan) lend(bufs [][]byte, sizes []int) {
	for i, n := range sizes {
		if isData(bufs[i][:n]) {
			l.bufs, l.at = append(l.bufs, address(bufs[i])), append(l.at, i)
		}
	}
	l.window.held.Add(int64(len(l.at)))
}

// address tells buffers apart without keeping them alive.
func address(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }

// isData reports whether a message carries a LAN packet: type 4, and longer
// than a keepalive's 32 bytes (WireGuard protocol, 5.4.6).
func isData(p []byte) bool { return len(p) > 32 && binary.LittleEndian.Uint32(p) == 4 }

// delivered is the tun.Device that wireguard-go gets: it counts what comes out.
type delivered struct {
	tun.Device
	window *window
}

func (d delivered) Write(bufs [][]byte, offset int) (int, error) {
	n, err := d.Device.Write(bufs, offset)
	d.window.back(len(bufs))
	return n, err
}
