package dataplane

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"

	"turnout/classifier/packet"
	"turnout/dataplane/fragment"
	"turnout/dataplane/segment"
)

/* A tunnel inside of another one, in order:
 *
 *	LAN ─► inner Tunnel ─► WireGuard ─► Conduit.Send ─► ring of the outer Tunnel ─► WireGuard ─► UDP socket
 *	LAN ◄─ inner Tunnel ◄─ WireGuard ◄─ receive     ◄─  outer Tunnel.deliver     ◄─ WireGuard ◄─ UDP socket
 *
 * 1. Send      puts IP and UDP headers before each datagram, into the ring
 * 2. deliver   asks toConduit about what is for the tunnel's own address
 * 3. receive   takes the payload of what is for an open port
 */

// conduitHeaders are the bytes of an IPv4 and a UDP header.
const conduitHeaders = 20 + 8

// Ports that Open chooses from: those that nobody is registered for (RFC 6335,
// 6), in an order that nobody can guess (RFC 6056).
const (
	firstPort = 49152
	numPorts  = 1<<16 - firstPort
)

// ConduitMTU returns the MTU of a tunnel that travels by a conduit of a tunnel
// with the MTU outer: 60 bytes less, which are 20 of IPv4, 8 of UDP and 32 of
// WireGuard, so that a full packet fits. It is not less than 576, the packet
// that every host must take (RFC 791, 3.1) and that many take for the smallest
// MTU there can be; below, the outer tunnel fragments. An inner tunnel of less
// than 1,280 cannot carry IPv6 (RFC 8200, 5).
func ConduitMTU(outer int) int { return max(outer-conduitHeaders-32, 576) }

// A Conduit is one UDP port at a tunnel's own IPv4 address, for a WireGuard
// device whose datagrams are to travel through the tunnel, in process. It is
// told apart from the flows of the LAN by the port alone: the flow table must
// leave that port free. Methods may be called from any goroutine.
//
// A tunnel must not travel by a conduit of its own, nor by way of others: its
// datagrams would go round for ever. Nothing here looks for that, because a
// device keeps the conduit that it was opened with, and so it is enough to
// open one only over tunnels whose devices are open already.
type Conduit struct {
	tunnel *Tunnel
	open   atomic.Pointer[openPort] // nil: closed

	mu     sync.Mutex // of buffer
	buffer [1 << 16]byte
}

// An openPort is where the datagrams for one port go.
type openPort struct {
	port    uint16
	receive func(datagram []byte, from netip.AddrPort)
}

// conduits are what a tunnel knows of its conduits. Nobody who reads packets
// locks: the list is replaced as a whole, and nil when it is empty.
type conduits struct {
	mu   sync.Mutex
	open atomic.Pointer[[]*openPort]
}

// Conduit returns a new conduit through the tunnel, still closed.
func (t *Tunnel) Conduit() *Conduit { return &Conduit{tunnel: t} }

// ConduitPorts returns the UDP ports at the tunnel's own address that are not
// for flows of the LAN at the moment.
func (t *Tunnel) ConduitPorts() []uint16 {
	var ports []uint16
	if list := t.conduits.open.Load(); list != nil {
		for _, p := range *list {
			ports = append(ports, p.port)
		}
	}
	return ports
}

// Port returns the open port, 0 when the conduit is closed.
func (c *Conduit) Port() uint16 {
	if p := c.open.Load(); p != nil {
		return p.port
	}
	return 0
}

// Open starts receiving on a port, 0 meaning any that no conduit of the tunnel
// has, and returns it. receive gets the payload of each datagram that comes out
// of the tunnel to that port, borrowed until it returns; the tunnel stands
// still meanwhile, so it must not wait. One call may still be under way when
// Close returns.
func (c *Conduit) Open(port uint16, receive func(datagram []byte, from netip.AddrPort)) (uint16, error) {
	t := c.tunnel
	if !t.opt.Address4.Is4() {
		return 0, fmt.Errorf("tunnel %s has no IPv4 address, so no other tunnel can travel through it", t.opt.Name)
	}
	t.conduits.mu.Lock()
	defer t.conduits.mu.Unlock()
	if c.open.Load() != nil {
		return 0, fmt.Errorf("a conduit of tunnel %s was opened twice", t.opt.Name)
	}
	port, err := t.freePort(port)
	if err != nil {
		return 0, err
	}
	p := &openPort{port, receive}
	c.open.Store(p)
	t.setPorts(append(t.ports(), p))
	return port, nil
}

// freePort returns port, or any for 0, if no conduit has it.
func (t *Tunnel) freePort(port uint16) (uint16, error) {
	used := t.ports()
	if port != 0 {
		if findPort(used, port) != nil {
			return 0, fmt.Errorf("UDP port %d inside tunnel %s: %w", port, t.opt.Name, syscall.EADDRINUSE)
		}
		return port, nil
	}
	start := rand.IntN(numPorts)
	for i := range numPorts {
		port = uint16(firstPort + (start+i)%numPorts)
		if findPort(used, port) == nil && !t.forwards(port) {
			return port, nil
		}
	}
	return 0, fmt.Errorf("no UDP port is left inside tunnel %s: %w", t.opt.Name, syscall.EADDRINUSE)
}

// forwards reports whether a UDP port at the tunnel's own address is sent on.
func (t *Tunnel) forwards(port uint16) bool {
	plan := t.engine.plan.Load()
	if plan == nil {
		return false
	}
	v := packet.View{Proto: packet.UDP, DstPort: port, HasPorts: true}
	f, _ := plan.forward(&v, false, func(at *Tunnel) bool { return at == t })
	return f != nil
}

// ports returns a copy of the open ports; conduits.mu is held, as for setPorts.
func (t *Tunnel) ports() []*openPort {
	if list := t.conduits.open.Load(); list != nil {
		return append([]*openPort(nil), *list...)
	}
	return nil
}

func (t *Tunnel) setPorts(list []*openPort) {
	if len(list) == 0 {
		t.conduits.open.Store(nil)
		return
	}
	t.conduits.open.Store(&list)
}

func findPort(list []*openPort, port uint16) *openPort {
	for _, p := range list {
		if p.port == port {
			return p
		}
	}
	return nil
}

// Close ends receiving and gives the port back. Closing twice is fine, and the
// conduit may be opened again.
func (c *Conduit) Close() error {
	t := c.tunnel
	t.conduits.mu.Lock()
	defer t.conduits.mu.Unlock()
	closed := c.open.Swap(nil)
	if closed == nil {
		return nil
	}
	var left []*openPort
	for _, p := range t.ports() {
		if p != closed {
			left = append(left, p)
		}
	}
	t.setPorts(left)
	return nil
}

// Send queues datagrams for the tunnel, from the open port and to one IPv4
// address; they are copied. It never waits: what the tunnel's ring has no room
// for, or what is too large for a packet, is dropped and counted there. What is
// larger than the tunnel's MTU leaves in fragments.
func (c *Conduit) Send(datagrams [][]byte, to netip.AddrPort) error {
	t := c.tunnel
	p := c.open.Load()
	if p == nil {
		return net.ErrClosed
	}
	dst := packet.AddrFrom(to.Addr())
	if !dst.Is4() {
		return fmt.Errorf("sending to %v inside tunnel %s, which carries IPv4: %w", to, t.opt.Name, syscall.EAFNOSUPPORT)
	}
	v := packet.View{
		Src: t.opt.Address4, Dst: dst, SrcPort: p.port, DstPort: to.Port(), HasPorts: true,
		L4: 20, Payload: conduitHeaders, Proto: packet.UDP, TTL: 64, Version: 4,
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	queued := false
	for _, d := range datagrams {
		if why := c.push(&v, d); why != packet.OK {
			t.drop(why)
			continue
		}
		queued = true
	}
	if queued {
		t.ring.signal()
	}
	return nil
}

// push queues one datagram as the packet that v describes but for length and
// identification. The sum of the payload is left to who cuts packets out of the
// ring and has it in the cache then.
func (c *Conduit) push(v *packet.View, datagram []byte) packet.Reason {
	n := conduitHeaders + len(datagram)
	if n >= len(c.buffer) {
		return packet.TooBig
	}
	v.Len = uint16(n)
	// DF is clear, so no two packets on their way may have the same number
	// (RFC 6864, 4.2).
	v.ID = c.tunnel.engine.ids.Next(v.Dst, v.Proto, 1)
	b := c.buffer[:n]
	putHeaders(b, v)
	copy(b[conduitHeaders:], datagram)
	partial := segment.Header{Flags: segment.NeedsChecksum, CsumStart: 20, CsumOffset: 6}
	_, why := c.tunnel.push(partial, v, b, nil)
	return why
}

// putHeaders writes the headers that v describes. The UDP checksum is the sum
// of the pseudo-header only.
func putHeaders(b []byte, v *packet.View) {
	be := binary.BigEndian
	clear(b[:conduitHeaders])
	b[0], b[8], b[9] = 4<<4|20/4, v.TTL, v.Proto
	be.PutUint16(b[2:], v.Len)
	be.PutUint16(b[4:], v.ID)
	be.PutUint32(b[12:], v.Src.V4())
	be.PutUint32(b[16:], v.Dst.V4())
	be.PutUint16(b[10:], ^packet.Checksum(b[:20], 0))
	l4 := b[20:]
	be.PutUint16(l4, v.SrcPort)
	be.PutUint16(l4[2:], v.DstPort)
	be.PutUint16(l4[4:], uint16(len(l4)))
	be.PutUint16(l4[6:], packet.Checksum(nil, packet.PseudoSum(v, len(l4))))
}

// toConduit gives a packet out of the tunnel to the open conduit that it is
// for. It reports whether there is one; then why says how it went. Decode has
// held the length against that of the packet.
func (t *Tunnel) toConduit(open []*openPort, b []byte) (mine bool, why packet.Reason) {
	v := &t.in.view
	p := t.conduitOf(open, v)
	if p == nil {
		return false, packet.OK
	}
	l4 := b[v.L4:]
	if l4[6]|l4[7] != 0 && packet.Checksum(l4, packet.PseudoSum(v, len(l4))) != 0xffff {
		return true, packet.BadChecksum
	}
	p.receive(b[v.Payload:], netip.AddrPortFrom(v.Src.Netip(), v.SrcPort))
	return true, packet.OK
}

// conduitOf returns the open conduit that v is for, nil for none. The ports of
// a later fragment are those of its first.
func (t *Tunnel) conduitOf(open []*openPort, v *packet.View) *openPort {
	if v.Proto != packet.UDP || v.Dst != t.opt.Address4 {
		return nil
	}
	return findPort(open, v.DstPort)
}

// toConduitInPieces does what toConduit does, for fragments: the datagram is
// for the conduit's device, which knows no pieces.
func (t *Tunnel) toConduitInPieces(b []byte) (mine bool) {
	open := t.conduits.open.Load()
	if open == nil || t.conduitOf(*open, &t.in.view) == nil {
		return false
	}
	if t.in.pieces == nil {
		t.in.pieces = fragment.NewReassembler()
	}
	whole, f := t.in.pieces.Add(b, &t.in.view, uint32(t.engine.now()))
	t.lost(f.Reason, f.Lost)
	if f.Action == fragment.Drop {
		t.drop(f.Reason)
	}
	if f.Action != fragment.Pass {
		return true
	}
	why := t.in.view.Decode(whole)
	if why == packet.OK {
		_, why = t.toConduit(*open, whole)
	}
	if why != packet.OK {
		t.drop(why)
	}
	return true
}
