package nat

import "turnout/classifier/packet"

// Out finds the flow of packet b from the LAN, follows it and keeps it alive.
// False means that there is none, or that a new connection begins in its
// place: policy decides, then Open. An ICMP error finds the flow of the packet
// that it quotes, a later fragment that of its first.
//
// b and v are only read. v is b's decoded view.
func (t *Table) Out(b []byte, v *packet.View, now Tick) (f Flow, ok bool) {
	if v.IsError {
		return t.outError(b, v, now)
	}
	var s segment
	tcp := false
	if v.Proto == packet.TCP && v.HasPorts {
		s, tcp = readSegment(b, v)
	}

	t.mu.Lock()
	defer t.mu.Unlock()
	t.advance(now)
	i := t.outFlow(v)
	if i == 0 {
		return f, false
	}
	e := t.flows.at(i)
	if tcp && e.reopens(&s) {
		t.remove(i)
		return f, false
	}
	if tcp {
		t.tcpOut(i, &s)
	} else {
		t.touch(i)
	}
	t.copy(&f, e)
	e.count(out, v.Len)
	return f, true
}

// outFlow looks for the flow of a packet from the LAN that is not an error.
func (t *Table) outFlow(v *packet.View) uint32 {
	var p uint32
	if v.Frag == packet.Later && knowsPorts(v.Proto) {
		var ok bool
		if p, ok = t.early.find(v, fromLAN, t.now); !ok {
			return 0
		}
	} else {
		lan, remote, ok := outPorts(v)
		if !ok {
			return 0
		}
		p = ports(lan, remote)
	}
	i := t.findLAN(v.Src, v.Dst, p, v.Proto)
	if i != 0 && v.Frag == packet.First && knowsPorts(v.Proto) {
		t.early.note(v, fromLAN, p, t.now)
	}
	return i
}

// outError finds the flow of an ICMP error that a LAN host, or a router of the
// LAN, sends about a packet that came to the LAN. It goes to the remote end of
// that flow and nowhere else.
func (t *Table) outError(b []byte, v *packet.View, now Tick) (f Flow, ok bool) {
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
	i := t.findLAN(q.Dst, q.Src, ports(lan, remote), q.Proto)
	if i == 0 {
		return f, false
	}
	e := t.flows.at(i)
	t.copy(&f, e)
	e.count(out, v.Len)
	return f, true
}
