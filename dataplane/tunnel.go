package dataplane

import (
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.zx2c4.com/wireguard/tun"

	"turnout/classifier"
	"turnout/classifier/packet"
	"turnout/dataplane/segment"
)

const (
	// batchSize is how many packets WireGuard takes and gives at once.
	batchSize = 128
	// inFlightMax bounds the packets that were fed to the WireGuard device and
	// that its socket has not sent. Without it a fast LAN puts seconds of
	// packets and gigabytes of buffers into the device's queues.
	inFlightMax = 512
	// inFlightPatience is how long a full window may see nothing sent before
	// it is taken for lost: packets that the device drops by itself never
	// reach its socket.
	inFlightPatience = 250 * time.Millisecond
	// unprovenBatch is the most that Read gives at once while nothing was sent
	// since the window was last full: 128 such batches, all that the device
	// stages for a peer without a session, are one window.
	unprovenBatch = inFlightMax / 128
	// sharedPatience and sharedBatch are for tunnels of several peers, where
	// the packets of a dead one pile up beside those of a living one: they may
	// hold it up for a moment, and the device stages 128 batches of them.
	sharedPatience = 25 * time.Millisecond
	sharedBatch    = 16
)

// TunnelOptions say what the data path must know of a tunnel.
type TunnelOptions struct {
	Name string
	Exit classifier.ExitID
	// MTU is the largest inner packet, in bytes.
	MTU int
	// Address is the tunnel's own address of each family that it has; the
	// source of masqueraded flows.
	Address4, Address6 packet.Addr
	Masquerade         bool
	// Peers is how many WireGuard peers share the tunnel.
	Peers int
}

// A Tunnel is one exit's end inside the data path: the virtual device that a
// WireGuard device reads packets from and writes packets to. Read, Write and
// Close never wait for one another.
type Tunnel struct {
	opt    TunnelOptions
	engine *Engine
	ring   *ring
	closed chan struct{}
	close  sync.Once
	events chan tun.Event

	// Out is towards the tunnel, In is out of it.
	Out, In Counters
	Dropped Drops

	out struct { // Read's own
		cutter segment.Cutter
		busy   bool // the slot at the ring's head is being cut
		frag   fragmenter
		timer  *time.Timer
	}
	inFlight atomic.Int64
	sending  atomic.Int64  // sends under way
	proven   atomic.Bool   // something was sent since the window was last lost
	blocked  atomic.Bool   // Read waits for room
	room     chan struct{} // capacity 1: the socket sent something

	in       inbound
	conduits conduits
}

var _ tun.Device = (*Tunnel)(nil)

func newTunnel(e *Engine, o TunnelOptions) *Tunnel {
	t := &Tunnel{
		opt:    o,
		engine: e,
		ring:   newRing(),
		closed: make(chan struct{}),
		events: make(chan tun.Event),
		room:   make(chan struct{}, 1),
	}
	t.out.timer = time.NewTimer(time.Hour)
	t.out.timer.Stop()
	t.in.writer = e.tun.NewWriter()
	return t
}

// Read gives WireGuard the next packets of the ring, super-packets cut to
// segments and what is too large fragmented, each straight into one of bufs
// behind offset. It waits while there are none, or while too many are in
// flight. Its only error is os.ErrClosed: any other would end the device.
func (t *Tunnel) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	for {
		if err := t.waitForRoom(); err != nil {
			return 0, err
		}
		n := t.fill(bufs[:min(t.window(), len(bufs))], sizes, offset)
		if n > 0 {
			t.inFlight.Add(int64(n))
			return n, nil
		}
		select {
		case <-t.ring.wake:
		case <-t.closed:
			return 0, os.ErrClosed
		}
	}
}

// window returns how many packets may be fed now. A full window opens again
// only for a whole batch, so that batches stay large under load.
func (t *Tunnel) window() int {
	room := inFlightMax - int(t.inFlight.Load())
	if !t.proven.Load() {
		return max(0, min(room, unprovenBatch))
	}
	if room < batchSize {
		return 0
	}
	if t.opt.Peers > 1 {
		return sharedBatch
	}
	return room
}

// patience is how long the full window may see nothing sent. While a send is
// under way nothing is lost: the uplink is slow.
func (t *Tunnel) patience() time.Duration {
	if t.opt.Peers > 1 && t.proven.Load() {
		return sharedPatience
	}
	return inFlightPatience
}

// waitForRoom blocks while the window is full, until the socket sent enough or
// the window is taken for lost.
func (t *Tunnel) waitForRoom() error {
	select {
	case <-t.closed:
		return os.ErrClosed
	default:
	}
	if t.window() > 0 {
		return nil
	}
	t.blocked.Store(true)
	defer t.blocked.Store(false)
	for t.window() == 0 {
		t.out.timer.Reset(t.patience())
		select {
		case <-t.room:
		case <-t.closed:
			return os.ErrClosed
		case <-t.out.timer.C:
			if t.sending.Load() == 0 {
				t.proven.Store(false)
				t.inFlight.Store(0)
			}
		}
	}
	return nil
}

// Sending tells the tunnel that data messages are about to be sent, which may
// take as long as the uplink lets it. A call of Sent follows each of Sending.
// Both may be called from any goroutine.
func (t *Tunnel) Sending() { t.sending.Add(1) }

// Sent tells the tunnel that n data messages left its socket, or were dropped
// there.
func (t *Tunnel) Sent(n int) {
	t.sending.Add(-1)
	if t.inFlight.Add(-int64(n)) < 0 {
		t.inFlight.Store(0) // the window was taken for lost, and was not
	}
	if !t.proven.Load() {
		t.proven.Store(true)
	}
	if t.blocked.Load() {
		select {
		case t.room <- struct{}{}:
		default:
		}
	}
}

// fill cuts packets of the ring into bufs and returns how many it made.
func (t *Tunnel) fill(bufs [][]byte, sizes []int, offset int) int {
	n, bytes := 0, 0
	for n < len(bufs) {
		size := t.next(bufs[n][offset:])
		if size == 0 {
			break
		}
		sizes[n] = size
		bytes += size
		n++
	}
	if n > 0 {
		t.Out.add(n, bytes)
	}
	return n
}

// next writes the tunnel's next packet into dst and returns its length, 0 when
// the ring is empty.
func (t *Tunnel) next(dst []byte) int {
	o := &t.out
	for {
		if n := o.frag.next(dst); n > 0 {
			return n
		}
		if !o.busy {
			s := t.ring.peek()
			if s == nil {
				return 0
			}
			if why := o.cutter.Start(s.header, s.packet, &s.view); why != packet.OK {
				t.drop(why)
				t.ring.drop(&t.engine.frames)
				continue
			}
			o.busy = true
		}
		n := o.cutter.Next(dst)
		if n == 0 {
			o.busy = false
			t.ring.drop(&t.engine.frames)
			continue
		}
		if n <= t.opt.MTU {
			return n
		}
		if !o.frag.start(dst[:n], t.opt.MTU) {
			t.drop(packet.TooBig)
		}
	}
}

func (t *Tunnel) drop(why packet.Reason) {
	t.Dropped.add(why)
	t.engine.Dropped.add(why)
}

// push queues a packet for the tunnel. It does not wake the tunnel: flush does.
func (t *Tunnel) push(h segment.Header, v *packet.View, pkt []byte, f *frame) (kept bool, why packet.Reason) {
	select {
	case <-t.closed:
		return false, packet.TunnelDown
	default:
	}
	return t.ring.put(h, v, pkt, f)
}

// File returns nil: there is no file behind the device.
func (t *Tunnel) File() *os.File { return nil }

// Name returns the tunnel's name.
func (t *Tunnel) Name() (string, error) { return t.opt.Name, nil }

// MTU returns the largest inner packet, in bytes.
func (t *Tunnel) MTU() (int, error) { return t.opt.MTU, nil }

// Events never has any: who owns the WireGuard device brings it up and down.
// The channel closes with the device, or a goroutine of WireGuard would leak.
func (t *Tunnel) Events() <-chan tun.Event { return t.events }

// BatchSize returns how many packets Read and Write take at once.
func (t *Tunnel) BatchSize() int { return batchSize }

// Close ends Read for good. Write may still be called and drops everything.
func (t *Tunnel) Close() error {
	t.close.Do(func() {
		close(t.closed)
		close(t.events)
	})
	return nil
}
