package nat

import "turnout/classifier/packet"

// stateFlags are the flags that mean something to the state of a connection.
const stateFlags = packet.FIN | packet.SYN | packet.RST | packet.ACK

// startTCP sets the state of a new flow by its first packet. Only a SYN, or
// where pickup allows it a segment in the middle of a connection that began
// before us, can start one: a SYN-ACK, RST or FIN answers something that we
// have never seen.
func (e *entry) startTCP(s *segment, exit uint16, pickup bool) packet.Reason {
	switch {
	case s.flags&stateFlags == packet.SYN:
		e.state = TCPOpening
		e.tcp.opened(e.opener(), s)
	case s.flags&stateFlags == packet.ACK && pickup:
		e.state = TCPPicked
		e.tcp.picked(s)
	default:
		return packet.InvalidState
	}
	if exit == Direct && !e.is(tagIn) {
		e.state = TCPDirect
	}
	return packet.OK
}

// reopens reports whether a segment of side dir starts a new connection in
// place of the one that e tracks: a SYN where the old connection is over, or
// was never seen from its start, or is a living one of which a near host that
// has started anew knows nothing: then its number is nowhere near those in use,
// as that of a SYN sent again is. The new one is to be decided anew. The far
// side can do so only where it began the old one, and with a higher number
// (RFC 9293, 3.10.7.4): who forges a SYN must not end what lives.
func (e *entry) reopens(s *segment, dir int) bool {
	if s.flags&stateFlags != packet.SYN {
		return false
	}
	switch e.state {
	case TCPClosing, TCPReset:
		return dir == out || e.is(tagIn) && (e.tcp.is(lost) || int32(s.seq-e.tcp.end[in]) > 0)
	case TCPPicked, TCPDirect:
		return dir == out
	case TCPAnswered, TCPUp:
		return dir == out && (e.tcp.is(lost) || !e.tcp.plausible(out, s))
	}
	return false
}

// tcpOut follows a segment from the near side. Every one passes, but a RST does
// not keep the flow alive (RFC 7857, 7.1).
func (t *Table) tcpOut(i uint32, s *segment) {
	e := t.flows.at(i)
	k := &e.tcp
	switch {
	case e.state == TCPDirect:
		t.touch(i)
		return
	case k.is(lost):
		if s.flags&stateFlags&^packet.FIN != packet.ACK {
			return
		}
		k.found(s)
	case !k.is(heard) && e.is(tagIn):
		t.tcpAnswer(i, s, out)
		return
	case s.flags&packet.RST != 0:
		if e.state != TCPOpening && e.state != TCPReset && k.exact(out, s) {
			t.become(i, TCPReset)
		}
		return
	}
	t.touch(i)
	if e.state == TCPOpening {
		if s.flags&stateFlags == packet.SYN {
			k.opened(out, s) // sent again, or begun anew
		}
		return
	}
	if s.flags&stateFlags == packet.SYN || !k.plausible(out, s) {
		return // a SYN here asks the far end whether it still knows the connection
	}
	k.follow(out, s)
	switch {
	case s.flags&packet.FIN != 0:
		t.fin(i, out)
	case s.flags&packet.ACK != 0 && k.is(heard) && (e.state == TCPAnswered && !e.is(tagIn) || e.state == TCPReset):
		t.up(i)
	}
}

// tcpIn judges a segment from the far end and follows it. Data always passes;
// it is for the near host to judge it.
func (t *Table) tcpIn(i uint32, s *segment) packet.Reason {
	e := t.flows.at(i)
	k := &e.tcp
	switch {
	case e.state == TCPDirect:
		return packet.OK
	case !k.is(heard) && e.is(tagIn):
		return t.tcpAgain(i, s)
	case !k.is(heard):
		return t.tcpAnswer(i, s, in)
	case s.flags&stateFlags == packet.SYN && e.state != TCPAnswered:
		// Who began it may have forgotten it, and learns so from the near host
		// (RFC 9293, 3.5.1). Nobody else has a reason to send a SYN.
		if !e.is(tagIn) {
			return packet.InvalidState
		}
		return packet.OK
	case k.is(lost): // nothing to judge by; the near host can
		return packet.OK
	case s.flags&packet.RST != 0:
		return t.tcpReset(i, s)
	case !k.plausible(in, s):
		return packet.OK
	}
	due := k.due(s)
	k.follow(in, s)
	switch {
	case s.flags&packet.FIN != 0:
		if due {
			t.fin(i, in)
		}
	case s.flags&packet.ACK != 0 && (e.state == TCPPicked || e.state == TCPAnswered && e.is(tagIn)):
		t.up(i)
	}
	return packet.OK
}

// tcpAgain judges what the far end sends after its SYN while the near host has
// not answered.
func (t *Table) tcpAgain(i uint32, s *segment) packet.Reason {
	e := t.flows.at(i)
	switch {
	case s.flags&packet.RST != 0:
		if !e.tcp.exact(in, s) {
			return packet.InvalidState
		}
		if e.state != TCPReset {
			t.become(i, TCPReset)
		}
	case s.flags&stateFlags == packet.SYN && e.state == TCPOpening:
		e.tcp.opened(in, s)
		t.touch(i)
	}
	return packet.OK
}

// tcpAnswer judges the segments of side dir while only the other's SYN is
// known.
func (t *Table) tcpAnswer(i uint32, s *segment, dir int) packet.Reason {
	e := t.flows.at(i)
	k := &e.tcp
	acked := s.flags&packet.ACK != 0 && int32(s.ack-k.ack[dir]) >= 0 && int32(s.ack-k.end[1-dir]) <= 0
	switch s.flags & stateFlags {
	case packet.SYN, packet.SYN | packet.ACK:
		// Without an ACK it is a simultaneous open (RFC 5382, REQ-2). A wrong
		// ACK passes too: the host answers it with a RST, as RFC 9293 wants.
		if s.flags&packet.ACK == 0 || acked {
			k.answered(dir, s)
			t.become(i, TCPAnswered)
		}
	case packet.RST, packet.RST | packet.ACK:
		if !acked {
			return packet.InvalidState
		}
		if e.state != TCPReset {
			t.become(i, TCPReset)
		}
	}
	return packet.OK
}

// tcpReset judges a RST of the remote end. Only the exact one ends the flow;
// one that is merely near passes, and the host asks back (RFC 5961, 3.2).
// Anyone can send the rest: most NATs let outsiders cut flows with them.
func (t *Table) tcpReset(i uint32, s *segment) packet.Reason {
	e := t.flows.at(i)
	switch {
	case e.tcp.exact(in, s):
		if e.state != TCPReset {
			t.become(i, TCPReset)
		}
	case !e.tcp.plausible(in, s):
		return packet.InvalidState
	}
	return packet.OK
}

// fin notes a FIN of side dir; the first of each side starts the closing timer.
func (t *Table) fin(i uint32, dir int) {
	e := t.flows.at(i)
	if e.tcp.is(1 << dir) {
		return
	}
	e.tcp.marks |= 1 << dir
	if e.state != TCPReset {
		t.become(i, TCPClosing)
	}
}

// up makes the connection established, or closing again when a side of it had
// already sent its FIN.
func (t *Table) up(i uint32) {
	if t.flows.at(i).tcp.is(fins) {
		t.become(i, TCPClosing)
		return
	}
	t.become(i, TCPUp)
}
