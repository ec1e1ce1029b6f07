package dataplane

import (
	"sync"
	"time"

	"turnout/classifier/packet"
	"turnout/dataplane/answer"
	"turnout/dataplane/segment"
)

/* What happens to a packet out of a tunnel, in order; the mirror of outbound.go:
 *
 * 1. Write      takes a batch of decrypted packets from WireGuard
 * 2. decode     headers and header checksums: the peer is authenticated, not honest
 * 3. source     a tunnel may not speak as a LAN host
 * 4. conduit    what is for a tunnel inside of this one is its device's
 * 5. flow       only what answers a flow of this very tunnel goes on
 * 6. deliver    TTL, size, NAT back, MSS
 * 7. coalesce   segments of one flow merge to super-packets, written to the TUN
 */

// inbound is the state of Write. Several peers of one tunnel may write at once.
type inbound struct {
	mu     sync.Mutex
	view   packet.View
	merge  segment.Coalescer
	writer *Writer
	answer [answerSize]byte
}

// Write takes packets out of the tunnel, each behind offset in one of bufs, and
// delivers to the LAN those that belong to a flow of this tunnel. The packets
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
	// borrowed: the coalescer holds parts of bufs until here.
	if failed := in.merge.Flush(in.writer); failed > 0 {
		for range failed {
			t.drop(packet.WriteFailed)
		}
	}
	t.In.add(n, bytes)
	return len(bufs), nil
}

// deliver checks one packet, gives it the LAN host's address back and leaves it
// with the coalescer.
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
	if plan.network(v.Src) != nil || !forwardable(v.Src) {
		return packet.SpoofedSource
	}
	if open := t.conduits.open.Load(); open != nil {
		if mine, why := t.toConduit(*open, b); mine {
			return why
		}
	}
	flow, why := t.engine.flows.In(b, v, uint16(t.opt.Exit), t.engine.now())
	if why != packet.OK {
		return why
	}
	lan := plan.network(flow.LAN)
	if lan == nil {
		return packet.NotLANDestination
	}
	if why := t.passable(b, lan); why != packet.OK {
		return why
	}
	flow.RewriteIn(b, v)
	if v.Proto == packet.TCP && v.Flags&packet.SYN != 0 {
		packet.ClampMSS(b, v, maxSegment(t.opt.MTU, v), false)
	}
	t.in.merge.Add(b, v)
	return packet.OK
}

// passable answers, through the tunnel, what the kernel would otherwise answer
// by the uplink, to the sender and anyone on the way: the TTL that runs out at
// this hop, and what is too large for the host's network.
func (t *Tunnel) passable(b []byte, lan *Network) packet.Reason {
	v := &t.in.view
	switch {
	case v.TTL <= 1:
		t.answerSender(b, icmpTimeExceeded, 0, 0)
		return packet.TTLExpired
	case len(b) > lan.MTU && v.DF:
		t.answerSender(b, icmpUnreachable, codeNeedsFragment, uint16(lan.MTU))
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
