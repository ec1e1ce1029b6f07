package nat

import (
	"slices"

	"turnout/classifier/packet"
)

// model is the slow and obvious NAT that the table is compared with: one list
// of flows, searched from end to end for everything.
type model struct {
	flows    []*modelFlow
	rests    []modelRest // the longest first
	hosts    map[modelHost]*modelRate
	reserved map[modelPort]bool
	now      Tick
	max      int // flows
	share    int // of one host
	rate     int // new ones of one host in a second
}

// modelTuple is a flow as its near side sees it.
type modelTuple struct {
	lan, remote         packet.Addr
	lanPort, remotePort uint16
	proto               uint8
	near                uint16
}

type modelFlow struct {
	modelTuple
	pin                       Pin // as decided, without Far
	far                       packet.Addr
	farPort, port             uint16
	in, cone, mapped, adopted bool
	state                     State
	touched                   Tick

	next  [2]uint32 // TCP: the next sequence number of each side
	fins  [2]bool
	heard bool // both sides' SYN, or joined in the middle
	lost  bool // adopted, the LAN not yet heard
	spoke Tick // the far side
}

// modelRest is the port of a mapping that has ended.
type modelRest struct {
	modelEndpoint
	port  uint16
	since Tick
}

// modelEndpoint is who has a mapping, and where.
type modelEndpoint struct {
	pool, near uint16
	ext, lan   packet.Addr
	lanPort    uint16
	proto      uint8
}

type modelHost struct {
	near uint16
	lan  packet.Addr
}

type modelRate struct {
	second Tick
	begun  int
}

type modelPort struct {
	pool  uint16
	proto uint8
	port  uint16
}

func poolOf(p Pin) uint16 {
	if p.Pool != 0 {
		return p.Pool
	}
	return p.Exit
}

// maps reports whether ports of a protocol come from mappings.
func maps(p Pin, proto uint8) bool {
	return p.Masquerade && (proto == packet.UDP || proto == packet.ICMP)
}

func endpointOf(p Pin, t modelTuple) modelEndpoint {
	return modelEndpoint{poolOf(p), t.near, p.Addr, t.lan, t.lanPort, t.proto}
}

func (f *modelFlow) endpoint() modelEndpoint { return endpointOf(f.pin, f.modelTuple) }

func (f *modelFlow) external() packet.Addr {
	if f.pin.Masquerade {
		return f.pin.Addr
	}
	return f.lan
}

func (f *modelFlow) become(s State, now Tick) { f.state, f.touched = s, now }

func (m *model) byLAN(t modelTuple) *modelFlow {
	for _, f := range m.flows {
		if f.modelTuple == t {
			return f
		}
	}
	return nil
}

func (m *model) byExit(exit uint16, ext, far packet.Addr, port, farPort uint16, proto uint8) *modelFlow {
	for _, f := range m.flows {
		if f.pin.Exit == exit && f.external() == ext && f.far == far && f.port == port &&
			f.farPort == farPort && f.proto == proto {
			return f
		}
	}
	return nil
}

// add enters a flow; the port that it has rests no more.
func (m *model) add(f *modelFlow) {
	if f.mapped {
		m.wake(f.endpoint())
	}
	m.flows = append(m.flows, f)
	h := modelHost{f.near, f.lan}
	if m.hosts[h] == nil {
		m.hosts[h] = &modelRate{}
	}
	if r := m.hosts[h]; r.second != m.now {
		*r = modelRate{m.now, 1}
	} else {
		r.begun++
	}
}

// drop ends flows; the port of one that was the last of its mapping rests.
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
		if e := f.endpoint(); f.mapped && m.mapping(e) == nil && m.resting(e) < 0 {
			m.rests = append(m.rests, modelRest{e, f.port, m.now})
		}
		if h := (modelHost{f.near, f.lan}); m.of(h) == 0 {
			delete(m.hosts, h)
		}
	}
	return len(ended)
}

func (m *model) dropOne(f *modelFlow) { m.drop(func(g *modelFlow) bool { return g == f }) }

// mapping returns a flow that uses the mapping of e.
func (m *model) mapping(e modelEndpoint) *modelFlow {
	for _, f := range m.flows {
		if f.mapped && f.endpoint() == e {
			return f
		}
	}
	return nil
}

// resting returns the index of e's resting port, -1 for none.
func (m *model) resting(e modelEndpoint) int {
	return slices.IndexFunc(m.rests, func(r modelRest) bool { return r.modelEndpoint == e })
}

func (m *model) wake(e modelEndpoint) {
	if i := m.resting(e); i >= 0 {
		m.rests = slices.Delete(m.rests, i, i+1)
	}
}

// of counts the flows of a host.
func (m *model) of(h modelHost) (n int) {
	for _, f := range m.flows {
		if f.near == h.near && f.lan == h.lan {
			n++
		}
	}
	return n
}

// admits reports whether a host may have one more flow.
func (m *model) admits(near uint16, lan packet.Addr) bool {
	h := modelHost{near, lan}
	r := m.hosts[h]
	return m.of(h) < m.share && (m.rate == 0 || r == nil || r.second != m.now || r.begun < m.rate)
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
	if f.state == TCPUp && !m.silent(f) {
		return false
	}
	for _, g := range m.flows {
		if m.outlived(g, true) || rank(g.state) < rank(f.state) {
			return false
		}
		if g.state == f.state && g.touched < f.touched && (g.state != TCPUp || m.silent(g)) {
			return false
		}
	}
	return true
}

// silent reports whether nothing was heard in an established flow for a minute.
func (m *model) silent(f *modelFlow) bool { return m.now-f.touched > 60 && m.now-f.spoke > 60 }

func rank(s State) int {
	for n, c := range victims {
		if c == s {
			return n
		}
	}
	return len(victims)
}

// adopt is what becomes of all flows in the next process.
func (m *model) adopt(generation uint8, home func(p Pin) bool) {
	m.flows = slices.DeleteFunc(m.flows, func(f *modelFlow) bool { return !home(f.pin) })
	m.rests = slices.DeleteFunc(m.rests, func(r modelRest) bool {
		return !home(Pin{Exit: r.pool, Masquerade: true, Addr: r.ext})
	})
	clear(m.hosts)
	for _, f := range m.flows {
		f.pin.Entry, f.pin.By, f.pin.Generation, f.adopted = -1, 0, generation, true
		if f.proto == packet.TCP {
			f.heard, f.lost = true, true
			if f.state == TCPOpening || f.state == TCPAnswered {
				f.state = TCPPicked
			}
		}
	}
}
