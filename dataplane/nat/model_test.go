package nat

import (
	"slices"

	"turnout/classifier/packet"
)

// model is the slow and obvious NAT that the table is compared with: one list
// of flows, searched from end to end for everything.
type model struct {
	flows []*modelFlow
	rests []modelRest // the longest first
	now   Tick
	max   int
}

type modelFlow struct {
	pin                       Pin
	lan, remote               packet.Addr
	lanPort, remotePort, port uint16
	proto                     uint8
	state                     State
	touched                   Tick
	next                      [2]uint32 // the next sequence number of each side
	fins                      [2]bool
	heard                     bool // TCP: the remote end's SYN, or joined in the middle
}

// modelRest is the port of a mapping that has ended.
type modelRest struct {
	modelEndpoint
	port  uint16
	since Tick
}

// modelEndpoint is who has a mapping, and where.
type modelEndpoint struct {
	exit     uint16
	ext, lan packet.Addr
	lanPort  uint16
	proto    uint8
}

// endpoint returns whose mapping f has, if it is of a kind that has one.
func (f *modelFlow) endpoint() (modelEndpoint, bool) {
	e := modelEndpoint{f.pin.Exit, f.pin.Addr, f.lan, f.lanPort, f.proto}
	return e, f.pin.Masquerade && (f.proto == packet.UDP || f.proto == packet.ICMP)
}

// modelTuple is a flow as the LAN sees it.
type modelTuple struct {
	lan, remote         packet.Addr
	lanPort, remotePort uint16
	proto               uint8
}

func (f *modelFlow) tuple() modelTuple {
	return modelTuple{f.lan, f.remote, f.lanPort, f.remotePort, f.proto}
}

func (f *modelFlow) external() packet.Addr {
	if f.pin.Masquerade {
		return f.pin.Addr
	}
	return f.lan
}

func (f *modelFlow) become(s State, now Tick) { f.state, f.touched = s, now }

func (m *model) byLAN(t modelTuple) *modelFlow {
	for _, f := range m.flows {
		if f.tuple() == t {
			return f
		}
	}
	return nil
}

func (m *model) byExit(exit uint16, ext, remote packet.Addr, port, remotePort uint16, proto uint8) *modelFlow {
	for _, f := range m.flows {
		if f.pin.Exit == exit && f.external() == ext && f.remote == remote && f.port == port &&
			f.remotePort == remotePort && f.proto == proto {
			return f
		}
	}
	return nil
}

func (m *model) drop(gone func(*modelFlow) bool) (n int) {
	var left, ended []*modelFlow
	for _, f := range m.flows {
		if gone(f) {
			ended = append(ended, f)
		} else {
			left = append(left, f)
		}
	}
	m.flows = left
	for _, f := range ended {
		if e, ok := f.endpoint(); ok && m.mapping(e) == nil && m.resting(e) < 0 {
			m.rests = append(m.rests, modelRest{e, f.port, m.now})
		}
	}
	if over := len(m.rests) - m.max; over > 0 {
		m.rests = m.rests[over:]
	}
	return len(ended)
}

// add enters a flow; the port that it has rests no more.
func (m *model) add(f *modelFlow) {
	if e, ok := f.endpoint(); ok {
		if i := m.resting(e); i >= 0 {
			m.rests = slices.Delete(m.rests, i, i+1)
		}
	}
	m.flows = append(m.flows, f)
}

// mapping returns a flow that uses the mapping of e.
func (m *model) mapping(e modelEndpoint) *modelFlow {
	for _, f := range m.flows {
		if g, ok := f.endpoint(); ok && g == e {
			return f
		}
	}
	return nil
}

// resting returns the index of e's resting port, -1 for none.
func (m *model) resting(e modelEndpoint) int {
	return slices.IndexFunc(m.rests, func(r modelRest) bool { return r.modelEndpoint == e })
}

func (m *model) dropExit(exit uint16) int {
	n := m.drop(func(f *modelFlow) bool { return f.pin.Exit == exit })
	m.rests = slices.DeleteFunc(m.rests, func(r modelRest) bool { return r.exit == exit })
	return n
}

func (m *model) pressed() bool { return len(m.flows) > m.max-m.max/8 }

func (m *model) outlived(f *modelFlow, pressed bool) bool {
	life := timers[f.state].normal
	if pressed {
		life = timers[f.state].pressed
	}
	return m.now-f.touched >= life
}

func (m *model) expire() int {
	pressed := m.pressed()
	n := m.drop(func(f *modelFlow) bool { return m.outlived(f, pressed) })
	m.rests = slices.DeleteFunc(m.rests, func(r modelRest) bool { return m.now-r.since >= 120 })
	return n
}

// mayGo reports whether f is a right victim for a full table.
func (m *model) mayGo(f *modelFlow) bool {
	if m.outlived(f, true) {
		return true
	}
	for _, g := range m.flows {
		if m.outlived(g, true) || rank(g.state) < rank(f.state) || g.state == f.state && g.touched < f.touched {
			return false
		}
	}
	return rank(f.state) < len(victims)
}

func rank(s State) int {
	for n, c := range victims {
		if c == s {
			return n
		}
	}
	return len(victims)
}

// A portRule is what the model demands of the external port of a new flow.
type portRule struct {
	none  bool              // there is none
	exact bool              // it is port
	port  uint16            // else it has the parity and range of port (not echo)
	free  func(uint16) bool // and is free
}

// portFor says what port a new flow must get.
func (m *model) portFor(p Pin, t modelTuple) portRule {
	unique := func(port uint16) bool {
		return m.byExit(p.Exit, p.Addr, t.remote, port, t.remotePort, t.proto) == nil
	}
	switch {
	case !p.Masquerade:
		return portRule{exact: true, port: t.lanPort}
	case t.proto == packet.TCP:
		return portRule{exact: unique(t.lanPort), port: t.lanPort, free: unique}
	case !knowsPorts(t.proto):
		return portRule{none: !unique(0), exact: true}
	}
	e := modelEndpoint{p.Exit, p.Addr, t.lan, t.lanPort, t.proto}
	free := func(port uint16) bool {
		for _, f := range m.flows {
			if g, ok := f.endpoint(); ok && g.exit == e.exit && g.ext == e.ext && g.proto == e.proto && f.port == port {
				return false
			}
		}
		return !slices.ContainsFunc(m.rests, func(r modelRest) bool {
			return r.exit == e.exit && r.ext == e.ext && r.proto == e.proto && r.port == port
		})
	}
	if f := m.mapping(e); f != nil {
		return portRule{exact: true, port: f.port}
	}
	if i := m.resting(e); i >= 0 {
		return portRule{exact: true, port: m.rests[i].port}
	}
	return portRule{exact: free(t.lanPort), port: t.lanPort, free: free}
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

// start says what becomes of the first packet of a flow.
func start(kind string, proto uint8, remotePort, exit uint16) (State, packet.Reason) {
	switch proto {
	case packet.TCP:
		switch {
		case kind != "syn" && kind != "ack" && kind != "data":
			return 0, packet.InvalidState
		case exit == Direct:
			return TCPDirect, packet.OK
		case kind == "syn":
			return TCPOpening, packet.OK
		}
		return TCPPicked, packet.OK
	case packet.UDP:
		switch {
		case remotePort == 53:
			return DNSQuery, packet.OK
		case exit == Direct:
			return UDPTwoWay, packet.OK
		}
		return UDPOneWay, packet.OK
	case packet.ICMP:
		return ICMPQuery, packet.OK
	}
	return Other, packet.OK
}

// tcpOut is what a segment of the LAN does to a flow.
func (m *model) tcpOut(f *modelFlow, kind string) {
	switch {
	case f.state == TCPDirect:
		f.touched = m.now
	case kind == "rst":
		if f.state != TCPOpening && f.state != TCPReset {
			f.become(TCPReset, m.now)
		}
	case kind == "rst-far":
	case f.state == TCPOpening || kind == "syn":
		f.touched = m.now
	case kind == "fin":
		f.touched = m.now
		if f.heard && !f.fins[out] {
			f.fins[out] = true
			if f.state != TCPReset {
				f.state = TCPClosing
			}
		}
	default:
		f.touched = m.now
		if f.heard && (f.state == TCPAnswered || f.state == TCPReset) {
			f.state = TCPUp
			if f.fins[out] || f.fins[in] {
				f.state = TCPClosing
			}
		}
	}
}

// tcpIn is what a segment of the remote end does, and whether it passes.
func (m *model) tcpIn(f *modelFlow, kind string) packet.Reason {
	if !f.heard {
		switch kind {
		case "syn", "synack":
			f.heard = true
			f.become(TCPAnswered, m.now)
		case "rst":
			if f.state != TCPReset {
				f.become(TCPReset, m.now)
			}
		case "rst-near", "rst-far":
			return packet.InvalidState
		}
		return packet.OK
	}
	switch kind {
	case "syn":
		if f.state != TCPAnswered {
			return packet.InvalidState
		}
	case "rst":
		if f.state != TCPReset {
			f.become(TCPReset, m.now)
		}
	case "rst-far":
		return packet.InvalidState
	case "fin":
		if !f.fins[in] {
			f.fins[in] = true
			if f.state != TCPReset {
				f.become(TCPClosing, m.now)
			}
		}
	case "ack", "data":
		if f.state == TCPPicked {
			f.become(TCPUp, m.now)
		}
	}
	return packet.OK
}
