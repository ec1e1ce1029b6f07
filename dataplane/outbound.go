package dataplane

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"syscall"

	"turnout/classifier"
	"turnout/classifier/packet"
	"turnout/dataplane/nat"
	"turnout/dataplane/segment"
)

/* What happens to a packet of the LAN, in order:
 *
 * 1. dispatch   reads super-packets until the TUN device has no more
 * 2. decode     headers to a View, or a reason
 * 3. source     only hosts of the LAN may send
 * 4. decide     an existing flow keeps its exit, else policy answers and the flow is pinned
 * 5. leave      direct: back to the kernel; reject: an answer; tunnel: size, NAT, MSS, ring
 * 6. flush      wakes each tunnel that got something, once a batch
 */

// A dispatcher is the state of the one goroutine that reads the TUN device.
type dispatcher struct {
	*Engine
	plan   *Plan
	frame  *frame
	writer *Writer
	view   packet.View
	header segment.Header
	woken  []*Tunnel // tunnels that got something in this batch
	answer [answerSize]byte
	debug  bool
}

// dispatch moves packets until the TUN device is closed or fails.
func (e *Engine) dispatch() error {
	d := &dispatcher{Engine: e, frame: e.frames.get(), writer: e.tun.NewWriter()}
	for {
		n, err := e.tun.Read(d.frame.data[:])
		if err != nil {
			return readFailed(err)
		}
		for more := true; more; {
			d.plan = e.plan.Load()
			d.debug = e.log.Enabled(context.Background(), slog.LevelDebug)
			for i := 0; i < batchSize && more; i++ {
				d.packet(n)
				n, more, err = e.tun.TryRead(d.frame.data[:])
			}
			d.flush()
		}
		if err != nil {
			return readFailed(err)
		}
	}
}

// readFailed says in words why there is nothing to read any more; nil when that
// is as it should be.
func readFailed(err error) error {
	switch {
	case errors.Is(err, os.ErrClosed):
		return nil
	case errors.Is(err, syscall.EBADFD):
		return fmt.Errorf("the TUN device is gone; somebody deleted its interface: %w", err)
	}
	return fmt.Errorf("reading the TUN device: %w", err)
}

// packet takes one packet of n bytes, virtio header included, from d.frame.
func (d *dispatcher) packet(n int) {
	why := packet.BadOffload
	if d.header.Decode(d.frame.data[:n]) {
		why = d.route(d.frame.data[segment.HeaderLen:n])
	}
	if why != packet.OK {
		d.Dropped.add(why)
	}
}

// route decides about one packet and hands it on.
func (d *dispatcher) route(b []byte) packet.Reason {
	v := &d.view
	if why := v.Decode(b); why != packet.OK {
		return why
	}
	b = b[:v.Len]
	if v.Version != 4 {
		return packet.IPv6Refused
	}
	lan := d.plan.network(v.Src)
	if lan == nil || v.Src == lan.Gateway {
		return packet.ForeignSource
	}
	if !forwardable(v.Dst) {
		return packet.BadAddress
	}
	if v.Proto == packet.ICMP { // of which the kernel has verified the IP header only
		if why := packet.VerifyHeader(b, v); why != packet.OK {
			return why
		}
	}
	flow, why := d.decide(b, lan)
	if why != packet.OK {
		return why
	}
	if classifier.ExitID(flow.Exit) == classifier.Direct {
		return d.direct(b)
	}
	return d.tunnel(b, &flow, lan)
}

// decide returns the packet's flow: the one it belongs to, or a new one pinned
// to the exit that policy answers. A flow whose exit is gone, or that is to ask
// again, gets the exit of a new one; if that is another, the flow is a new one.
func (d *dispatcher) decide(b []byte, lan *Network) (nat.Flow, packet.Reason) {
	v := &d.view
	flow, known := d.flows.Out(b, v, nat.LAN, d.now())
	if known && (d.plan.keeps(&flow) || v.IsError || v.Frag == packet.Later) {
		return flow, packet.OK
	}
	if v.IsError {
		return nat.Flow{}, packet.NoFlow
	}
	if v.Frag == packet.Later {
		return nat.Flow{}, packet.FragmentUnknown
	}
	verdict := d.plan.Table.Lookup(v)
	exit := d.plan.Resolve(verdict.Exit)
	if d.debug {
		d.explain(verdict, exit)
	}
	pin := nat.Pin{Exit: uint16(exit), Entry: verdict.Entry, By: uint8(verdict.By), Generation: d.plan.Generation}
	if known && pin.Exit == flow.Exit && d.plan.carries(exit) {
		return d.flows.Keep(flow, pin), packet.OK
	}
	if known {
		d.flows.Drop(flow)
	}
	switch exit {
	case classifier.Drop:
		return nat.Flow{}, packet.PolicyDrop
	case classifier.Reject:
		d.reject(b, lan)
		return nat.Flow{}, rejection(verdict)
	case classifier.Direct:
	default:
		t := d.plan.Tunnels[exit]
		if t == nil {
			d.unreachable(b, lan)
			return nat.Flow{}, packet.TunnelDown
		}
		pin.Masquerade = t.opt.Masquerade
		pin.Addr = t.opt.Address4
	}
	if known && v.Proto == packet.TCP && v.Flags&packet.SYN == 0 {
		// The far end knows the connection by the address it had. The host
		// learns at once that it is over, and makes a new one.
		d.reject(b, lan)
		return nat.Flow{}, packet.InvalidState
	}
	flow, why := d.flows.Open(b, v, nat.LAN, pin, d.now())
	if why == packet.NoFreePort || why == packet.FlowTableFull {
		d.unreachable(b, lan)
	}
	return flow, why
}

// rejection tells apart why a packet was rejected.
func rejection(v classifier.Verdict) packet.Reason {
	switch {
	case v.NotCovered:
		return packet.NotCovered
	case v.Entry < 0:
		return packet.NoExit
	}
	return packet.PolicyReject
}

// direct gives the packet back to the kernel, which sends it out by the
// uplink. The TTL was lowered on its way here and will be again.
func (d *dispatcher) direct(b []byte) packet.Reason {
	packet.SetTTL(b, &d.view, d.view.TTL+min(1, 255-d.view.TTL))
	if err := d.writer.WritePacket(&d.header, b); err != nil {
		return packet.WriteFailed
	}
	d.Direct.add(1, len(b))
	return packet.OK
}

// tunnel hands the packet to its tunnel. Size is checked before the addresses
// change, so that the answer quotes what the host sent.
func (d *dispatcher) tunnel(b []byte, flow *nat.Flow, lan *Network) packet.Reason {
	v := &d.view
	t := d.plan.Tunnels[flow.Exit]
	if t == nil {
		return packet.TunnelDown
	}
	if v.DF && d.header.Largest(v) > t.opt.MTU {
		d.fragmentationNeeded(b, lan, t.opt.MTU)
		t.Dropped.add(packet.TooBig)
		return packet.TooBig
	}
	partial := d.header.Partial(v)
	flow.RewriteOut(b, v, partial)
	if v.Proto == packet.TCP && v.Flags&packet.SYN != 0 {
		packet.ClampMSS(b, v, maxSegment(t.opt.MTU, v), partial)
	}
	kept, why := t.push(d.header, v, b, d.frame)
	if kept {
		d.frame = d.frames.get()
	}
	if why != packet.OK {
		t.Dropped.add(why)
		return why
	}
	d.wake(t)
	return packet.OK
}

// maxSegment is the largest MSS whose segments fit the MTU (RFC 6691: options
// are not counted).
func maxSegment(mtu int, v *packet.View) uint16 {
	if v.Version == 6 {
		return uint16(mtu - 60)
	}
	return uint16(mtu - 40)
}

// wake notes that a tunnel got something.
func (d *dispatcher) wake(t *Tunnel) {
	for _, w := range d.woken {
		if w == t {
			return
		}
	}
	d.woken = append(d.woken, t)
}

// flush wakes the tunnels of this batch.
func (d *dispatcher) flush() {
	for i, t := range d.woken {
		t.ring.signal()
		d.woken[i] = nil
	}
	d.woken = d.woken[:0]
}

// forwardable reports whether a packet may be routed to a at all: no
// multicast, broadcast, loopback or "this network" (RFC 1812, 5.3.7).
func forwardable(a packet.Addr) bool {
	if a.Is4() {
		top := a.V4() >> 24
		return top != 0 && top != 127 && top < 224
	}
	return a.Hi>>56 != 0xff && a != packet.Addr{} && a != packet.Addr{Lo: 1}
}

// explain logs one routing decision. It allocates: only for debugging.
func (d *dispatcher) explain(verdict classifier.Verdict, exit classifier.ExitID) {
	policy := d.plan.Table.Policy()
	v := &d.view
	args := []any{
		"from", v.Src.String(), "to", v.Dst.String(), "proto", v.Proto,
		"from_port", v.SrcPort, "port", v.DstPort, "dscp", v.TOS >> 2,
		"exit", policy.Exits[exit].Name, "by", verdict.By.String(),
	}
	if verdict.Entry >= 0 {
		entry := &policy.Entries[verdict.Entry]
		args = append(args, "match", entry.Text, "at", entry.Pos.String())
	}
	d.log.Debug("route", args...)
}
