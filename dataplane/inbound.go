package dataplane

import (
	"sync"
	"time"

	"turnout/classifier"
	"turnout/classifier/packet"
	"turnout/dataplane/answer"
	"turnout/dataplane/fragment"
	"turnout/dataplane/nat"
	"turnout/dataplane/segment"
)

/* What happens to a packet out of a tunnel, in order; the mirror of outbound.go:
 *
 * 1. Write      takes a batch of decrypted packets from WireGuard
 * 2. decode     headers and header checksums: the peer is authenticated, not honest
 * 3. source     a tunnel may not speak as a LAN host
 * 4. fragment   later ones wait for their first, and share its fate: see fragments.go
 * 5. conduit    what is for a tunnel inside of this one is its device's
 * 6. find       only what belongs to a flow of this very tunnel goes on, or what
 *               may begin one: see admit.go
 * 7. arrive     TTL, size, NAT, MSS: to the LAN, or relayed to another tunnel
 * 8. coalesce   segments of one flow merge to super-packets, written to the TUN
 */

// inbound is the state of Write. Several peers of one tunnel may write at once.
type inbound struct {
	mu     sync.Mutex
	view   packet.View
	merge  segment.Coalescer
	writer *Writer
	woken  wakes                 // tunnels that got something relayed
	pieces *fragment.Reassembler // for conduits; made at the first fragment for one
	answer [answerSize]byte
}

// Write takes packets out of the tunnel, each behind offset in one of bufs, and
// hands on those that belong to a flow of this tunnel or may begin one. The packets
// are changed in place. It always reports success: what is not delivered is
// counted, because WireGuard would log an error for every batch.
func (t *Tunnel) Write(bufs [][]byte, offset int) (int, error) {
	plan := t.engine.plan.Load()
	in := &t.in
	in.mu.Lock()
	defer in.mu.Unlock()
	n, bytes := 0, 0
	for _, buf := range bufs {
		if plan == nil || len(buf) < offset {
			t.drop(packet.Closed)
			continue
		}
		b := buf[offset:]
		n++
		bytes += len(b)
		if why := t.deliver(b, plan); why != packet.OK {
			t.drop(why)
		}
	}
	t.flush() // borrowed: the coalescer holds parts of bufs until here
	in.woken.flush()
	t.In.add(n, bytes)
	return len(bufs), nil
}

// flush writes what the coalescer has to the TUN device.
func (t *Tunnel) flush() {
	for range t.in.merge.Flush(t.in.writer) {
		t.drop(packet.WriteFailed)
	}
}

// deliver checks one packet and hands it on.
func (t *Tunnel) deliver(b []byte, plan *Plan) packet.Reason {
	v := &t.in.view
	if why := v.Decode(b); why != packet.OK {
		return why
	}
	b = b[:v.Len]
	if v.Version != 4 {
		return packet.IPv6Refused
	}
	if why := packet.VerifyHeader(b, v); why != packet.OK {
		return why
	}
	if plan.within(v.Src) || !forwardable(v.Src) {
		return packet.SpoofedSource
	}
	if v.Frag != packet.Whole {
		return t.fragment(b, plan)
	}
	if open := t.conduits.open.Load(); open != nil {
		if mine, why := t.toConduit(*open, b); mine {
			return why
		}
	}
	way, why := t.find(b, plan)
	if why != packet.OK {
		return why
	}
	return t.arrive(b, plan, &way, 0)
}

// find returns the packet's flow: one that ends or, of a relay, begins at this
// tunnel, or a new one, see admit.go.
func (t *Tunnel) find(b []byte, plan *Plan) (course, packet.Reason) {
	e, v := t.engine, &t.in.view
	exit := uint16(t.opt.Exit)
	// Any router on the way may send an error: only its address can be judged.
	if v.IsError && plan.ours(v.Src) {
		return course{}, packet.SpoofedSource
	}
	flow, why := e.flows.In(b, v, exit, e.now())
	if why == packet.OK && flow.FullCone && flow.Inbound && plan.ours(v.Src) { // nobody has judged who began it
		e.flows.Drop(flow)
		return course{}, packet.SpoofedSource
	}
	if why != packet.NoFlow {
		return course{flow, true}, why
	}
	if flow, ok := e.flows.Out(b, v, exit, e.now()); ok {
		return course{Flow: flow}, packet.OK
	}
	switch {
	case v.IsError:
		return course{}, packet.NoFlow
	case v.Frag == packet.Later:
		return course{}, packet.FragmentUnknown
	}
	return t.admit(b, plan)
}

// arrive hands the packet to the side that its flow leads to.
func (t *Tunnel) arrive(b []byte, plan *Plan, way *course, id uint16) packet.Reason {
	to := way.Exit
	if way.back {
		to = way.Near
	}
	if way.back && to == nat.LAN {
		return t.toLAN(b, plan, way, id)
	}
	next := plan.tunnel(classifier.ExitID(to))
	if next == nil {
		return packet.TunnelDown
	}
	return t.relay(b, next, way, id)
}

// toLAN leaves the packet with the coalescer, as the LAN host is to see it.
func (t *Tunnel) toLAN(b []byte, plan *Plan, way *course, id uint16) packet.Reason {
	v := &t.in.view
	lan := plan.network(way.LAN)
	if lan == nil {
		return packet.NotLANDestination
	}
	if why := t.passable(b, lan.MTU); why != packet.OK {
		return why
	}
	way.translate(b, v, &segment.Header{}, t.engine.ids, id)
	if v.Proto == packet.TCP && v.Flags&packet.SYN != 0 {
		packet.ClampMSS(b, v, maxSegment(t.opt.MTU, v), false)
	}
	t.in.merge.Add(b, v)
	return packet.OK
}

// relay hands the packet to another tunnel, or to this one for another of its
// peers. No kernel is on the way, so the TTL is lowered here.
func (t *Tunnel) relay(b []byte, to *Tunnel, way *course, id uint16) packet.Reason {
	v := &t.in.view
	if why := t.passable(b, to.opt.MTU); why != packet.OK {
		return why
	}
	packet.SetTTL(b, v, v.TTL-1)
	way.translate(b, v, &segment.Header{}, t.engine.ids, id)
	if v.Proto == packet.TCP && v.Flags&packet.SYN != 0 {
		packet.ClampMSS(b, v, maxSegment(min(t.opt.MTU, to.opt.MTU), v), false)
	}
	if _, why := to.push(segment.Header{}, v, b, nil); why != packet.OK {
		return why
	}
	t.in.woken.add(to)
	return packet.OK
}

// passable answers, through the tunnel, what the kernel would otherwise answer
// by the uplink, to the sender and anyone on the way: the TTL that runs out at
// this hop, and what is too large for the next.
func (t *Tunnel) passable(b []byte, mtu int) packet.Reason {
	v := &t.in.view
	switch {
	case v.TTL <= 1:
		t.answerSender(b, icmpTimeExceeded, 0, 0)
		return packet.TTLExpired
	case len(b) > mtu && v.DF:
		t.answerSender(b, icmpUnreachable, codeNeedsFragment, uint16(mtu))
		return packet.TooBig
	}
	return packet.OK
}

// answerSender sends an ICMP error about b, which is still as the tunnel gave
// it, back through the tunnel.
func (t *Tunnel) answerSender(b []byte, typ, code uint8, mtu uint16) {
	v := &t.in.view
	if !t.engine.toTunnels.Allow(v.Src, time.Now()) {
		return
	}
	n := answer.ICMPError(t.in.answer[:], b, v, t.opt.Address4, typ, code, mtu)
	if n == 0 {
		return
	}
	var reply packet.View
	if reply.Decode(t.in.answer[:n]) != packet.OK {
		return
	}
	if _, why := t.push(segment.Header{}, &reply, t.in.answer[:n], nil); why != packet.OK {
		t.drop(why)
		return
	}
	t.ring.signal()
}
