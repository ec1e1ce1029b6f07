package nat

import "turnout/classifier/packet"

// Out finds the flow of packet b from the LAN, follows it and keeps it alive.
// False means that there is none, or that a new connection begins in its
// place: policy decides, then Open. An ICMP error finds the flow of the packet
// that it quotes, a later fragment that of its first.
//
// b and v are only read. v is b's decoded view.
func (t *Table) Out(b []byte, v *packet.View, now Tick) (Flow, bool) {
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
		return Flow{}, false
	}
	e := t.flows.at(i)
	if tcp && e.reopens(&s) {
		t.remove(i)
		return Flow{}, false
	}
	if tcp {
		t.tcpOut(i, &s)
	} else {
		t.touch(i)
	}
	e.count(out, v.Len)
	return t.flow(i), true
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
	k := key{v.Src, v.Dst, p, uint32(v.Proto)}
	i := t.findLAN(&k)
	if i != 0 && v.Frag == packet.First && knowsPorts(v.Proto) {
		t.early.note(v, fromLAN, p, t.now)
	}
	return i
}

// outError finds the flow of an ICMP error that a LAN host, or a router of the
// LAN, sends about a packet that came to the LAN. It goes to the remote end of
// that flow and nowhere else.
func (t *Table) outError(b []byte, v *packet.View, now Tick) (Flow, bool) {
	var e packet.View
	if !carried(v) || v.Embedded(b, &e) != packet.OK || e.Src != v.Dst {
		return Flow{}, false
	}
	port, remote, ok := inPorts(&e)
	if !ok {
		return Flow{}, false
	}
	k := lanKey(e.Dst, e.Src, port, remote, e.Proto)

	t.mu.Lock()
	defer t.mu.Unlock()
	t.advance(now)
	i := t.findLAN(&k)
	if i == 0 {
		return Flow{}, false
	}
	t.flows.at(i).count(out, v.Len)
	return t.flow(i), true
}
