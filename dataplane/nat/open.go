package nat

import "turnout/classifier/packet"

// Open creates the flow that packet b of near side near starts, pinned to p,
// after Out has found none. It returns
//
//	InvalidState     what cannot start a flow: a TCP SYN-ACK, RST or FIN, an
//	                 ICMP error, an echo reply
//	FragmentUnknown  a later fragment
//	NoFreePort       p.Addr has no port, or no room for this far end, left
//	FlowTableFull    every flow in the table is worth more than a new one
//
// b and v are only read.
func (t *Table) Open(b []byte, v *packet.View, near uint16, p Pin, now Tick) (f Flow, r packet.Reason) {
	lan, remote, ok := outPorts(v)
	if !ok {
		return f, packet.InvalidState
	}
	e := entry{lan: v.Src, lanPort: lan, remote: v.Dst, remotePort: remote, far: v.Dst, farPort: remote, opener: out}
	if p.Far != (packet.Addr{}) {
		e.far = p.Far
		if v.HasPorts {
			e.farPort = p.FarPort
		}
	}
	if r := e.start(b, v, p, near == LAN); r != packet.OK {
		return f, r
	}

	t.mu.Lock()
	defer t.mu.Unlock()
	t.advance(now)
	if i := t.findNear(near, e.lan, e.remote, ports(e.lanPort, e.remotePort), e.proto); i != 0 {
		t.remove(i)
	}
	if r := t.bind(&e, near, p); r != packet.OK {
		return f, r
	}
	return t.enter(&e, v)
}

// A Door is where a conversation from the far side ends on the near one.
type Door struct {
	Near    uint16 // the near side
	LAN     packet.Addr
	LANPort uint16 // of TCP and UDP
	// Inside is the address that the LAN host sees in place of the far one's,
	// with a port that tells its conversations apart; the zero Addr: the far
	// host's own.
	Inside packet.Addr
}

// OpenIn creates the flow that packet b from p.Exit starts towards d, after In
// has found none. With p.Masquerade the packet is for p.Addr. Reasons are those
// of Open; only a SYN starts a TCP flow, only a request one of echoes.
//
// b and v are only read.
func (t *Table) OpenIn(b []byte, v *packet.View, p Pin, d Door, now Tick) (f Flow, r packet.Reason) {
	port, far, ok := inPorts(v)
	if !ok {
		return f, packet.InvalidState
	}
	e := entry{lan: d.LAN, lanPort: port, remote: v.Src, remotePort: far, far: v.Src, farPort: far, port: port, opener: in}
	if v.HasPorts {
		e.lanPort = d.LANPort
	}
	if r := e.start(b, v, p, false); r != packet.OK {
		return f, r
	}

	t.mu.Lock()
	defer t.mu.Unlock()
	t.advance(now)
	if e.binding = t.bindings.get(d.Near, p); e.binding == 0 {
		return f, packet.FlowTableFull
	}
	if t.unique(&e) != packet.OK || !t.inside(&e, d) {
		return f, packet.NoFreePort
	}
	return t.enter(&e, v)
}

// inside sees to it that the near side can tell e from all other flows, with
// another remote port if need be and allowed.
func (t *Table) inside(e *entry, d Door) bool {
	free := func() bool {
		return t.findNear(d.Near, e.lan, e.remote, ports(e.lanPort, e.remotePort), e.proto) == 0
	}
	if d.Inside == (packet.Addr{}) {
		return free()
	}
	e.remote = d.Inside
	number := &e.remotePort
	switch e.proto {
	case packet.TCP, packet.UDP:
	case packet.ICMP, packet.ICMPv6:
		number = &e.lanPort
	default:
		return free()
	}
	if free() {
		return true
	}
	sp := spans(packet.ICMP, 0)[0]
	for range insideTries {
		if *number = max(sp.random(), 1024); free() {
			return true
		}
	}
	return false
}

// insideTries bounds the search for a port between one near endpoint and the
// gateway: with half of them taken it fails once in 2^128.
const insideTries = 128

// enter puts e, which is bound, into the table.
func (t *Table) enter(e *entry, v *packet.View) (f Flow, r packet.Reason) {
	if !t.makeRoom() {
		t.unbind(e)
		return f, packet.FlowTableFull
	}
	e.started, e.touched = t.now, t.now
	t.copy(&f, e)
	e.count(int(e.opener), v.Len)
	t.insert(e)
	return f, packet.OK
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
		s, ok := readSegment(b, v)
		if !ok {
			return packet.InvalidState
		}
		return e.startTCP(&s, p.Exit, pickup)
	case packet.UDP:
		e.state = UDPOneWay
		switch {
		case e.remotePort == 53 && e.opener == out:
			e.state = DNSQuery
		case p.Exit == Direct && e.opener == out: // its answers are not seen here
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

// mapped reports whether e has its port from a mapping: of a protocol whose
// ports are not shared, unless the far side chose the port by calling it.
func (e *entry) mapped(b *binding) bool {
	return b.masquerade && e.opener == out && b.ports.of(e.proto) != nil
}

// bind gives e, which the near side began, its binding and its external port.
func (t *Table) bind(e *entry, near uint16, p Pin) packet.Reason {
	if p.Masquerade && p.Addr.Is4() != e.lan.Is4() {
		return packet.NoFreePort
	}
	if e.binding = t.bindings.get(near, p); e.binding == 0 {
		return packet.FlowTableFull
	}
	e.port = e.lanPort
	b := &t.bindings.list[e.binding]
	if !b.masquerade {
		return t.unique(e)
	}
	if e.mapped(b) {
		var ok bool
		if e.port, ok = t.mappings.take(b, e); !ok {
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
	if b := &t.bindings.list[e.binding]; e.mapped(b) {
		t.mappings.release(b, e)
	}
}

// unique reports, with NoFreePort, that another flow already looks like e from
// the far side.
func (t *Table) unique(e *entry) packet.Reason {
	b := &t.bindings.list[e.binding]
	if t.findFar(b.exit, b.external(e), e.far, ports(e.port, e.farPort), e.proto) != 0 {
		return packet.NoFreePort
	}
	return packet.OK
}
