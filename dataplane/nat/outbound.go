package nat

import "turnout/classifier/packet"

// Out finds the flow of packet b from near side near, follows it and keeps it
// alive. False means that there is none, or that a new connection begins in its
// place: whoever decides does so, then Open. An ICMP error finds the flow of
// the packet that it quotes.
//
// b and v are only read. v is b's decoded view; that of a later fragment has
// the ports and the ICMP type of its first.
func (t *Table) Out(b []byte, v *packet.View, near uint16, now Tick) (f Flow, ok bool) {
	if v.IsError {
		return t.outError(b, v, near, now)
	}
	lan, remote, ok := outPorts(v)
	if !ok {
		return f, false
	}
	var s segment
	tcp := s.read(b, v)

	t.mu.Lock()
	defer t.mu.Unlock()
	t.advance(now)
	i := t.findNear(near, v.Src, v.Dst, ports(lan, remote), v.Proto)
	if i == 0 {
		return f, false
	}
	e := t.flows.at(i)
	switch {
	case tcp && e.reopens(&s, out):
		t.remove(i)
		return f, false
	case tcp:
		t.tcpOut(i, &s)
	case e.state == UDPOneWay && e.is(tagIn):
		t.answer(i)
	default:
		t.touch(i)
	}
	t.copy(&f, e)
	e.count(out, v.Len)
	return f, true
}

// outError finds the flow of an ICMP error that a near host, or a router there,
// sends about a packet that came to it. It goes to the far end of that flow and
// nowhere else.
func (t *Table) outError(b []byte, v *packet.View, near uint16, now Tick) (f Flow, ok bool) {
	var q packet.View
	if !carried(v) || v.Embedded(b, &q) != packet.OK || q.Src != v.Dst {
		return f, false
	}
	lan, remote, ok := inPorts(&q)
	if !ok {
		return f, false
	}

	t.mu.Lock()
	defer t.mu.Unlock()
	t.advance(now)
	i := t.findNear(near, q.Dst, q.Src, ports(lan, remote), q.Proto)
	if i == 0 {
		return f, false
	}
	e := t.flows.at(i)
	t.copy(&f, e)
	e.count(out, v.Len)
	return f, true
}
