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
 * 4. fragment   later ones wait for their first, and share its fate
 * 5. decide     its flow, see decide.go; a new one is pinned
 * 6. leave      direct: back to the kernel; hairpin: to the other host; tunnel: size, NAT, MSS, ring
 * 7. flush      wakes each tunnel that got something, once a batch
 */

// A dispatcher is the state of the one goroutine that reads the TUN device.
type dispatcher struct {
	*Engine
	plan   *Plan
	frame  *frame
	writer *Writer
	view   packet.View
	header segment.Header
	lent   bool // the packet lies in somebody else's memory, not in frame
	woken  wakes
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
			d.woken.flush()
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
	// The gateway itself answers those who reach its services by a forward.
	if lan == nil || v.Src == lan.Gateway && v.Dst != d.plan.Inside {
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
	if v.Frag != packet.Whole {
		return d.fragment(b, lan)
	}
	way, why := d.decide(b, lan)
	if why != packet.OK {
		return why
	}
	return d.leave(b, &way, lan, 0)
}

// leave sends the packet the way of its flow. id, not 0, is the identification
// of the datagram that it is a fragment of.
func (d *dispatcher) leave(b []byte, way *course, lan *Network, id uint16) packet.Reason {
	switch way.Exit {
	case nat.Direct:
		return d.direct(b)
	case nat.Hairpin:
		return d.hairpin(b, way, id)
	}
	return d.tunnel(b, way, lan, id)
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

// hairpin gives a packet to the LAN host at the other end, who sees it come
// from the tunnel's own address (RFC 4787, REQ-9a).
func (d *dispatcher) hairpin(b []byte, way *course, id uint16) packet.Reason {
	way.translate(b, &d.view, &d.header, d.ids, id)
	if err := d.writer.WritePacket(&d.header, b); err != nil {
		return packet.WriteFailed
	}
	return packet.OK
}

// tunnel hands the packet to its tunnel. Size is checked before the addresses
// change, so that the answer quotes what the host sent.
func (d *dispatcher) tunnel(b []byte, way *course, lan *Network, id uint16) packet.Reason {
	v := &d.view
	t := d.plan.tunnel(classifier.ExitID(way.Exit))
	if t == nil {
		return packet.TunnelDown
	}
	if v.DF && d.header.Largest(v) > t.opt.MTU {
		d.fragmentationNeeded(b, lan, t.opt.MTU)
		t.Dropped.add(packet.TooBig)
		return packet.TooBig
	}
	partial := d.header.Partial(v)
	way.translate(b, v, &d.header, d.ids, id)
	if v.Proto == packet.TCP && v.Flags&packet.SYN != 0 {
		packet.ClampMSS(b, v, maxSegment(t.opt.MTU, v), partial)
	}
	frame := d.frame
	if d.lent {
		frame = nil
	}
	kept, why := t.push(d.header, v, b, frame)
	if kept {
		d.frame = d.frames.get()
	}
	if why != packet.OK {
		t.Dropped.add(why)
		return why
	}
	d.woken.add(t)
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
