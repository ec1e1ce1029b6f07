package nat

import "turnout/classifier/packet"

// Open creates the flow that packet b of near side near starts, pinned to p,
// after Out has found none. It returns
//
//	InvalidState     what cannot start a flow: a TCP SYN-ACK, RST or FIN, an
//	                 ICMP error, an echo reply
//	FragmentUnknown  a later fragment
//	HostLimit        its host has all the flows that one host may have, or
//	                 starts them too fast
//	NoFreePort       p.Addr has no port, or no room for this far end, left
//	FlowTableFull    every flow in the table is worth more than a new one
//
// b and v are only read.
func (t *Table) Open(b []byte, v *packet.View, near uint16, p Pin, now Tick) (f Flow, r packet.Reason) {
	lan, remote, ok := outPorts(v)
	if !ok {
		return f, packet.InvalidState
	}
	e := entry{lanPort: lan, remotePort: remote, farPort: remote}
	far := v.Dst
	if p.Far != (packet.Addr{}) {
		far = p.Far
		if v.HasPorts {
			e.farPort = p.FarPort
		}
	}
	if r := e.start(b, v, p, near == LAN); r != packet.OK {
		return f, r
	}
	if !oneFamily(v.Src, far, p) {
		return f, packet.NoFreePort
	}

	t.mu.Lock()
	defer t.mu.Unlock()
	t.advance(now)
	if i := t.findNear(near, v.Src, v.Dst, ports(lan, remote), v.Proto); i != 0 {
		t.remove(i)
	}
	if !t.hold(&e, v.Src, v.Dst, far) {
		return f, packet.FlowTableFull
	}
	if r = t.bind(&e, near, p); r == packet.OK {
		r = t.enter(&f, &e, v)
	}
	if r != packet.OK {
		t.letGo(&e, e.lan, e.remote, e.far)
	}
	return f, r
}

// oneFamily reports whether a flow between a near end and a far one can be
// pinned to p: two families cannot meet in one.
func oneFamily(lan, far packet.Addr, p Pin) bool {
	return lan.Is4() == far.Is4() && (!p.Masquerade || p.Addr.Is4() == lan.Is4())
}

// enter puts e, which is bound, into the table and makes f a copy of it.
func (t *Table) enter(f *Flow, e *entry, v *packet.View) packet.Reason {
	if !t.hosts.admits(t.bindings.list[e.binding()].near, e, t.now) {
		return packet.HostLimit
	}
	if !t.makeRoom() {
		return packet.FlowTableFull
	}
	e.started, e.touched = t.now, t.now
	if e.proto == packet.TCP {
		e.tcp.spoke = uint16(t.now)
	}
	t.copy(f, e)
	e.count(e.opener(), v.Len)
	t.insert(e)
	return packet.OK
}

// start sets what e has of p, and the first state of a flow that b begins.
// pickup says whether a TCP connection may be joined in the middle.
func (e *entry) start(b []byte, v *packet.View, p Pin, pickup bool) packet.Reason {
	e.proto, e.line, e.by, e.generation = v.Proto, p.Entry, p.By, p.Generation
	if v.Frag == packet.Later && knowsPorts(v.Proto) {
		return packet.FragmentUnknown
	}
	if v.IsError {
		return packet.InvalidState
	}
	switch v.Proto {
	case packet.TCP:
		var s segment
		if !s.read(b, v) {
			return packet.InvalidState
		}
		return e.startTCP(&s, p.Exit, pickup)
	case packet.UDP:
		e.state = UDPOneWay
		switch {
		case e.remotePort == 53 && !e.is(tagIn):
			e.state = DNSQuery
		case p.Exit == Direct && !e.is(tagIn): // its answers are not seen here
			e.state = UDPTwoWay
		}
	case packet.ICMP, packet.ICMPv6:
		if !isRequest(v) {
			return packet.InvalidState
		}
		e.state = ICMPQuery
	default:
		e.state = Other
	}
	return packet.OK
}

// bind gives e, which the near side began, its binding and its external port.
// No port is taken before e is in the table.
func (t *Table) bind(e *entry, near uint16, p Pin) packet.Reason {
	n := t.bindingOf(near, p)
	if n == 0 {
		return packet.FlowTableFull
	}
	e.tag |= uint32(n)
	e.port = e.lanPort
	b := &t.bindings.list[n]
	if !b.masquerade {
		return t.unique(e)
	}
	if ports := t.portsOf(b.ports, e.proto); ports != nil {
		var ok bool
		if e.port, ok = t.port(b, ports, e); !ok {
			return packet.NoFreePort
		}
		e.tag |= tagMapped
		return t.unique(e)
	}
	if e.proto == packet.TCP {
		if b.ports.reservesTCP(e.port) || t.unique(e) != packet.OK {
			return t.tcpPort(b.ports, e)
		}
		return packet.OK
	}
	return t.unique(e)
}

// unique reports, with NoFreePort, that another flow already looks like e from
// the far side.
func (t *Table) unique(e *entry) packet.Reason {
	b := &t.bindings.list[e.binding()]
	if t.seekFar(b.external(e), e.far, ports(e.port, e.farPort), e.sideTag(b.exit)) != 0 {
		return packet.NoFreePort
	}
	return packet.OK
}
