package nat

import (
	"slices"

	"turnout/classifier/packet"
)

// A portRule is what the model demands of the external port of a new flow.
type portRule struct {
	none  bool              // there is none
	exact bool              // it is port
	port  uint16            // else it has the parity and range of port (not echo)
	free  func(uint16) bool // and is free
}

// portFor says what port a new flow of the near side must get, towards far.
func (m *model) portFor(p Pin, t modelTuple, far packet.Addr, farPort uint16) portRule {
	ext := t.lan
	if p.Masquerade {
		ext = p.Addr
	}
	unique := func(port uint16) bool {
		return m.byExit(p.Exit, ext, far, port, farPort, t.proto) == nil
	}
	open := func(port uint16) bool { return !m.reserved[modelPort{poolOf(p), t.proto, port}] }
	switch {
	case !p.Masquerade || !knowsPorts(t.proto):
		return portRule{none: !unique(t.lanPort), exact: true, port: t.lanPort}
	case t.proto == packet.TCP:
		free := func(port uint16) bool { return unique(port) && open(port) }
		return portRule{exact: free(t.lanPort), port: t.lanPort, free: free}
	}
	e := endpointOf(p, t)
	if f := m.mapping(e); f != nil {
		return portRule{none: !unique(f.port), exact: true, port: f.port}
	}
	if i := m.resting(e); i >= 0 && open(m.rests[i].port) {
		return portRule{none: !unique(m.rests[i].port), exact: true, port: m.rests[i].port}
	}
	free := func(port uint16) bool { return open(port) && !m.taken(e, port) }
	if free(t.lanPort) {
		return portRule{none: !unique(t.lanPort), exact: true, port: t.lanPort}
	}
	return portRule{port: t.lanPort, free: free}
}

// taken reports whether a mapping at e's address has a port, or had it lately.
func (m *model) taken(e modelEndpoint, port uint16) bool {
	same := func(o modelEndpoint) bool { return o.pool == e.pool && o.ext == e.ext && o.proto == e.proto }
	return slices.ContainsFunc(m.flows, func(f *modelFlow) bool { return f.mapped && f.port == port && same(f.endpoint()) }) ||
		slices.ContainsFunc(m.rests, func(r modelRest) bool { return r.port == port && same(r.modelEndpoint) })
}

func (w portRule) allows(port uint16, proto uint8) bool {
	switch {
	case w.exact:
		return port == w.port
	case !w.free(port):
		return false
	case proto == packet.ICMP:
		return true
	}
	return port != 0 && port%2 == w.port%2 && (port < 1024) == (w.port < 1024)
}

// cone returns a flow by whose mapping a stranger's packet p gets in.
func (m *model) cone(p pkt, exit uint16) *modelFlow {
	if p.proto != packet.UDP {
		return nil
	}
	for _, f := range m.flows {
		if f.mapped && f.proto == packet.UDP && f.pin.FullCone && f.pin.Exit == exit && f.pin.Addr == p.dst && f.port == p.dport {
			return f
		}
	}
	return nil
}

// answer is what the near side's first packet does to a flow from outside.
func (m *model) answer(f *modelFlow) {
	f.become(UDPTwoWay, m.now)
	if !f.cone {
		return
	}
	e := f.endpoint()
	if g := m.mapping(e); g != nil {
		f.mapped = g.port == f.port
	} else if i := m.resting(e); i >= 0 && m.rests[i].port == f.port {
		f.mapped = true
		m.wake(e)
	}
}
