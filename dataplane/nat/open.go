package nat

import "turnout/classifier/packet"

// Open creates the flow that packet b of the LAN starts, pinned to p, after
// Out has found none. It returns
//
//	InvalidState     what cannot start a flow: a TCP SYN-ACK, RST or FIN or an
//	                 impossible flag combination, an ICMP error, an echo reply
//	FragmentUnknown  a later fragment whose first was not seen
//	NoFreePort       p.Addr has no port, or no room for this remote, left
//	FlowTableFull    every flow in the table is worth more than a new one
//
// b and v are only read.
func (t *Table) Open(b []byte, v *packet.View, p Pin, now Tick) (f Flow, r packet.Reason) {
	e := entry{lan: v.Src, remote: v.Dst, proto: v.Proto, line: p.Entry, by: p.By, generation: p.Generation}
	if r := e.start(b, v, p.Exit); r != packet.OK {
		return f, r
	}

	t.mu.Lock()
	defer t.mu.Unlock()
	t.advance(now)
	if i := t.findLAN(e.lan, e.remote, ports(e.lanPort, e.remotePort), e.proto); i != 0 {
		t.remove(i)
	}
	if r := t.bind(&e, p); r != packet.OK {
		return f, r
	}
	if !t.makeRoom() {
		t.unbind(&e)
		return f, packet.FlowTableFull
	}
	e.started, e.touched = t.now, t.now
	t.copy(&f, &e)
	e.count(out, v.Len)
	t.insert(&e)
	if v.Frag == packet.First && knowsPorts(v.Proto) {
		t.early.note(v, fromLAN, ports(e.lanPort, e.remotePort), t.now)
	}
	return f, packet.OK
}

// start sets the ports and the first state of a flow that b begins.
func (e *entry) start(b []byte, v *packet.View, exit uint16) packet.Reason {
	if v.Frag == packet.Later && knowsPorts(v.Proto) {
		return packet.FragmentUnknown
	}
	var ok bool
	if e.lanPort, e.remotePort, ok = outPorts(v); !ok || v.IsError {
		return packet.InvalidState
	}
	switch v.Proto {
	case packet.TCP:
		s, ok := readSegment(b, v)
		if !ok {
			return packet.InvalidState
		}
		return e.startTCP(&s, exit)
	case packet.UDP:
		e.state = UDPOneWay
		switch {
		case e.remotePort == 53:
			e.state = DNSQuery
		case exit == Direct: // its answers are not seen here
			e.state = UDPTwoWay
		}
	case packet.ICMP, packet.ICMPv6:
		e.state = ICMPQuery
	default:
		e.state = Other
	}
	return packet.OK
}

// bind gives e its binding and its external port.
func (t *Table) bind(e *entry, p Pin) packet.Reason {
	if p.Masquerade && p.Addr.Is4() != e.lan.Is4() {
		return packet.NoFreePort
	}
	if e.binding = t.bindings.get(p); e.binding == 0 {
		return packet.FlowTableFull
	}
	e.port = e.lanPort
	b := &t.bindings.list[e.binding]
	if !b.masquerade {
		return t.unique(e)
	}
	if used := b.ports(e.proto); used != nil {
		var ok bool
		if e.port, ok = t.mappings.take(used, e.lan, e.lanPort, e.binding, e.proto); !ok {
			return packet.NoFreePort
		}
		if r := t.unique(e); r != packet.OK {
			t.unbind(e)
			return r
		}
		return packet.OK
	}
	if t.unique(e) == packet.OK || e.proto == packet.TCP && t.tcpPort(e) {
		return packet.OK
	}
	return packet.NoFreePort
}

// unbind gives back what bind took.
func (t *Table) unbind(e *entry) {
	b := &t.bindings.list[e.binding]
	if !b.masquerade {
		return
	}
	if used := b.ports(e.proto); used != nil {
		t.mappings.release(used, e.lan, e.lanPort, e.binding, e.proto)
	}
}

// unique reports, with NoFreePort, that another flow already looks like e from
// the tunnel.
func (t *Table) unique(e *entry) packet.Reason {
	b := &t.bindings.list[e.binding]
	if t.findExit(b.exit, b.external(e), e.remote, ports(e.port, e.remotePort), e.proto) != 0 {
		return packet.NoFreePort
	}
	return packet.OK
}
