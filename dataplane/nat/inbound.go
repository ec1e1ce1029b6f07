package nat

import "turnout/classifier/packet"

// In finds the flow that packet b out of tunnel exit belongs to. Only the
// flow's own remote end may speak in it, only from the flow's own tunnel, to
// its own external address and port. It returns
//
//	NoFlow           nothing on the LAN asked for it
//	FragmentUnknown  a later fragment whose first was not seen or not let in
//	InvalidState     a TCP SYN that nobody waits for, or a RST whose sequence
//	                 number its sender would not have used
//
// An ICMP error finds the flow of the packet that it quotes; it may come from
// any router. What comes in tells the table that the remote end lives but does
// not keep a flow alive (RFC 4787, REQ-6).
//
// b and v are only read.
func (t *Table) In(b []byte, v *packet.View, exit uint16, now Tick) (f Flow, r packet.Reason) {
	if v.IsError {
		return t.inError(b, v, exit, now)
	}
	var s segment
	tcp := false
	if v.Proto == packet.TCP && v.HasPorts {
		s, tcp = readSegment(b, v)
	}

	t.mu.Lock()
	defer t.mu.Unlock()
	t.advance(now)
	i, r := t.inFlow(v, exit)
	if r != packet.OK {
		return f, r
	}
	e := t.flows.at(i)
	switch {
	case tcp:
		if r := t.tcpIn(i, &s); r != packet.OK {
			return f, r
		}
	case e.state == UDPOneWay:
		t.become(i, UDPTwoWay)
	}
	if v.Frag == packet.First && knowsPorts(v.Proto) {
		t.early.note(v, uint32(exit)+1, ports(e.port, e.remotePort), t.now)
	}
	t.copy(&f, e)
	e.count(in, v.Len)
	return f, packet.OK
}

// inFlow looks for the flow of a packet out of a tunnel that is not an error.
func (t *Table) inFlow(v *packet.View, exit uint16) (uint32, packet.Reason) {
	var p uint32
	if v.Frag == packet.Later && knowsPorts(v.Proto) {
		var ok bool
		if p, ok = t.early.find(v, uint32(exit)+1, t.now); !ok {
			return 0, packet.FragmentUnknown
		}
	} else {
		port, remote, ok := inPorts(v)
		if !ok {
			return 0, packet.NoFlow
		}
		p = ports(port, remote)
	}
	if i := t.findExit(exit, v.Dst, v.Src, p, v.Proto); i != 0 {
		return i, packet.OK
	}
	return 0, packet.NoFlow
}

// inError finds the flow of an ICMP error about a packet that the LAN sent.
func (t *Table) inError(b []byte, v *packet.View, exit uint16, now Tick) (f Flow, r packet.Reason) {
	var q packet.View
	if !carried(v) || v.Embedded(b, &q) != packet.OK || q.Src != v.Dst {
		return f, packet.NoFlow
	}
	port, remote, ok := outPorts(&q)
	if !ok {
		return f, packet.NoFlow
	}

	t.mu.Lock()
	defer t.mu.Unlock()
	t.advance(now)
	i := t.findExit(exit, q.Src, q.Dst, ports(port, remote), q.Proto)
	if i == 0 {
		return f, packet.NoFlow
	}
	e := t.flows.at(i)
	t.copy(&f, e)
	e.count(in, v.Len)
	return f, packet.OK
}
