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
func (t *Table) In(b []byte, v *packet.View, exit uint16, now Tick) (Flow, packet.Reason) {
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
		return Flow{}, r
	}
	e := t.flows.at(i)
	switch {
	case tcp:
		if r := t.tcpIn(i, &s); r != packet.OK {
			return Flow{}, r
		}
	case e.state == UDPOneWay:
		t.become(i, UDPTwoWay)
	}
	if v.Frag == packet.First && knowsPorts(v.Proto) {
		t.early.note(v, uint32(exit)+1, ports(e.port, e.remotePort), t.now)
	}
	e.count(in, v.Len)
	return t.flow(i), packet.OK
}

// inFlow looks for the flow of a packet out of a tunnel that is not an error.
func (t *Table) inFlow(v *packet.View, exit uint16) (uint32, packet.Reason) {
	k := exitKey(exit, v.Dst, v.Src, 0, 0, v.Proto)
	if v.Frag == packet.Later && knowsPorts(v.Proto) {
		p, ok := t.early.find(v, uint32(exit)+1, t.now)
		if !ok {
			return 0, packet.FragmentUnknown
		}
		k.ports = p
	} else {
		port, remote, ok := inPorts(v)
		if !ok {
			return 0, packet.NoFlow
		}
		k.ports = ports(port, remote)
	}
	if i := t.findExit(&k); i != 0 {
		return i, packet.OK
	}
	return 0, packet.NoFlow
}

// inError finds the flow of an ICMP error about a packet that the LAN sent.
func (t *Table) inError(b []byte, v *packet.View, exit uint16, now Tick) (Flow, packet.Reason) {
	var e packet.View
	if !carried(v) || v.Embedded(b, &e) != packet.OK || e.Src != v.Dst {
		return Flow{}, packet.NoFlow
	}
	port, remote, ok := outPorts(&e)
	if !ok {
		return Flow{}, packet.NoFlow
	}
	k := exitKey(exit, e.Src, e.Dst, port, remote, e.Proto)

	t.mu.Lock()
	defer t.mu.Unlock()
	t.advance(now)
	i := t.findExit(&k)
	if i == 0 {
		return Flow{}, packet.NoFlow
	}
	t.flows.at(i).count(in, v.Len)
	return t.flow(i), packet.OK
}
