package nat

import "turnout/classifier/packet"

// In finds the flow that packet b from exit belongs to. Only the flow's own far
// end may speak in it, only from the flow's own exit, to its own external
// address and port. It returns
//
//	NoFlow        there is none: OpenIn, where somebody allows it
//	InvalidState  a TCP SYN that nobody waits for, or a RST whose sequence
//	              number its sender would not have used
//
// An ICMP error finds the flow of the packet that it quotes; it may come from
// any router. What the far end sends tells the table that it lives but keeps
// alive only what it has begun itself (RFC 4787, REQ-6).
//
// b and v are only read; v is as Out wants it.
func (t *Table) In(b []byte, v *packet.View, exit uint16, now Tick) (f Flow, r packet.Reason) {
	if v.IsError {
		return t.inError(b, v, exit, now)
	}
	port, far, ok := inPorts(v)
	if !ok {
		return f, packet.NoFlow
	}
	var s segment
	tcp := s.read(b, v)

	t.mu.Lock()
	defer t.mu.Unlock()
	t.advance(now)
	i := t.findFar(exit, v.Dst, v.Src, ports(port, far), v.Proto)
	if i == 0 {
		return t.visit(v, exit, port, far)
	}
	e := t.flows.at(i)
	switch {
	case tcp && e.reopens(&s, in):
		t.remove(i)
		return f, packet.NoFlow
	case tcp:
		if r := t.tcpIn(i, &s); r != packet.OK {
			return f, r
		}
		e.tcp.spoke = uint16(t.now)
	case e.is(tagCone):
	case e.is(tagIn):
		t.touch(i)
	case e.state == UDPOneWay:
		t.become(i, UDPTwoWay)
	}
	t.copy(&f, e)
	e.count(in, v.Len)
	return f, packet.OK
}

// inError finds the flow of an ICMP error about a packet that the near side
// sent.
func (t *Table) inError(b []byte, v *packet.View, exit uint16, now Tick) (f Flow, r packet.Reason) {
	var q packet.View
	if !carried(v) || v.Embedded(b, &q) != packet.OK || q.Src != v.Dst {
		return f, packet.NoFlow
	}
	port, far, ok := outPorts(&q)
	if !ok {
		return f, packet.NoFlow
	}

	t.mu.Lock()
	defer t.mu.Unlock()
	t.advance(now)
	i := t.findFar(exit, q.Src, q.Dst, ports(port, far), q.Proto)
	if i == 0 {
		return f, packet.NoFlow
	}
	e := t.flows.at(i)
	t.copy(&f, e)
	e.count(in, v.Len)
	return f, packet.OK
}
