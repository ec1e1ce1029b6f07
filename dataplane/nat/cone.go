package nat

import "turnout/classifier/packet"

// visit creates the flow of a UDP packet from a far end that nobody has spoken
// to, to a mapped port that is open to everyone (RFC 4787, 5: endpoint-
// independent filtering). It is the near endpoint's flow, pinned as the
// mapping's are. What the stranger sends keeps neither flow nor mapping alive:
// only an answer does.
func (t *Table) visit(v *packet.View, exit, port, far uint16) (f Flow, r packet.Reason) {
	i := t.cone(v, exit, port)
	if i == 0 {
		return f, packet.NoFlow
	}
	o := t.flows.at(i)
	e := entry{
		lanPort: o.lanPort, remotePort: far, farPort: far, port: port,
		tag:   uint32(o.binding()) | tagIn | tagCone,
		proto: packet.UDP, state: UDPOneWay, by: o.by, generation: o.generation, line: o.line,
	}
	if !t.hold(&e, t.addrs.of(o.lan, o.six()), v.Src, v.Src) {
		return f, packet.FlowTableFull
	}
	r = packet.NoFlow
	if t.uniqueNear(&e) {
		r = t.enter(&f, &e, v)
	}
	if r != packet.OK {
		t.letGo(&e, e.lan, e.remote, e.far)
	}
	return f, r
}

// chainLook bounds the search in a mapping of many flows.
const chainLook = 16

// cone returns a flow of the mapping that v is for, if that is open to everyone.
// A stranger's flow that nobody has answered is in no mapping, and lets in no
// further strangers.
func (t *Table) cone(v *packet.View, exit, port uint16) uint32 {
	if v.Proto != packet.UDP || !v.HasPorts || t.bindings.cones == 0 {
		return 0
	}
	p := t.bindings.pools[poolKey{exit, v.Dst}]
	if p == nil || p.udp == nil {
		return 0
	}
	i := p.udp.owner[port]
	for range chainLook {
		if i == 0 {
			return 0
		}
		e := t.flows.at(i)
		if b := &t.bindings.list[e.binding()]; b.fullCone && b.exit == exit && e.state != resting && !t.outlived(e) {
			return i
		}
		i = e.chain()[chainNext]
	}
	return 0
}

// answer is what the near side's first packet does to a flow that began on the
// far side. A stranger's joins the mapping that it came by, and keeps it from
// now on.
func (t *Table) answer(i uint32) {
	t.become(i, UDPTwoWay)
	e := t.flows.at(i)
	if !e.is(tagCone) {
		return
	}
	b := &t.bindings.list[e.binding()]
	p := t.portsOf(b.ports, e.proto)
	if m := t.mappingOf(b, p, e); m != 0 && t.flows.at(m).port == e.port {
		e.publish(e.tag | tagMapped)
		t.link(i)
	}
}
