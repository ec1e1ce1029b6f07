package nat

import (
	"slices"

	"turnout/classifier/packet"
)

var modelPorts = [...]uint16{700, 701, 5000, 5001, 5002, 65535}

func (s *player) remote() packet.Addr { return packet.Addr4(v4.remote1.V4() + s.rng.Uint32N(4)) }
func (s *player) lan() packet.Addr    { return packet.Addr4(v4.lan1.V4() + s.rng.Uint32N(6)) }

// relayed is the tunnel whose hosts are a near side, too.
const relayed = 7

func (s *player) near() uint16 {
	if s.rng.IntN(8) == 0 {
		return relayed
	}
	return LAN
}

// tuple draws a flow that exists, or any.
func (s *player) tuple() modelTuple {
	if n := len(s.m.flows); n > 0 && s.rng.IntN(10) < 7 {
		return s.m.flows[s.rng.IntN(n)].modelTuple
	}
	t := modelTuple{
		lan: s.lan(), remote: s.remote(), near: s.near(),
		lanPort:    modelPorts[s.rng.IntN(len(modelPorts))],
		remotePort: [...]uint16{53, 80, 443}[s.rng.IntN(3)],
		proto:      [...]uint8{packet.TCP, packet.TCP, packet.UDP, packet.ICMP, 47}[s.rng.IntN(5)],
	}
	switch t.proto {
	case packet.ICMP:
		t.remotePort = uint16(s.rng.IntN(8) / 7)
	case 47:
		t.lanPort, t.remotePort = 0, 0
	}
	return t
}

// pin draws what policy might say: a site, masqueraded tunnels, one of them open
// to everyone, one that has two addresses in turn, one that uses another's
// address, direct; now and then with another destination.
func (s *player) pin() Pin {
	p := s.pinOf([...]uint16{Direct, 1, 2, 2, 3, 3, 4, 5}[s.rng.IntN(8)])
	if p.Exit != Direct && s.rng.IntN(5) == 0 {
		p.Far, p.FarPort = s.remote(), [...]uint16{80, 443}[s.rng.IntN(2)]
	}
	p.Entry, p.By, p.Generation = s.rng.Int32N(9), uint8(s.rng.IntN(3)), uint8(s.rng.IntN(9))
	return p
}

func (s *player) pinOf(exit uint16) Pin {
	switch exit {
	case 2:
		return Pin{Exit: 2, Masquerade: true, Addr: v4.ext1}
	case 3:
		return Pin{Exit: 3, Masquerade: true, Addr: v4.ext1, FullCone: true}
	case 4:
		return Pin{Exit: 4, Masquerade: true, Addr: [...]packet.Addr{v4.ext1, v4.ext2}[s.rng.IntN(2)]}
	case 5:
		return Pin{Exit: 5, Masquerade: true, Addr: v4.ext1, Pool: 2}
	}
	return Pin{Exit: exit}
}

// modelExits are the names of these tunnels, at their addresses when a process
// begins.
var modelExits = []ExitName{
	{1, "one", packet.Addr{}, packet.Addr{}},
	{2, "two", v4.ext1, packet.Addr{}},
	{3, "three", v4.ext1, packet.Addr{}},
	{4, "four", v4.ext1, packet.Addr{}},
	{5, "five", packet.Addr{}, packet.Addr{}},
	{relayed, "seven", packet.Addr{}, packet.Addr{}},
}

func atHome(p Pin) bool { return !p.Masquerade || p.Addr == v4.ext1 }

// packet is what the near side sends in t.
func (t modelTuple) packet() pkt {
	p := pkt{src: t.lan, dst: t.remote, proto: t.proto, sport: t.lanPort, dport: t.remotePort, payload: make([]byte, 8)}
	if t.proto == packet.ICMP {
		p.typ = v4.request
		if t.remotePort == askedByFar {
			p.typ = v4.reply
		}
	}
	return p
}

// came is the packet that the near side got in t.
func (t modelTuple) came() pkt {
	p := pkt{src: t.remote, dst: t.lan, proto: t.proto, sport: t.remotePort, dport: t.lanPort, payload: make([]byte, 8)}
	if t.proto == packet.ICMP {
		p.sport, p.typ = t.lanPort, v4.reply
		if t.remotePort == askedByFar {
			p.typ = v4.request
		}
	}
	return p
}

// beyond is f's tuple as the far side sees it.
func (f *modelFlow) beyond() modelTuple {
	return modelTuple{f.external(), f.far, f.port, f.farPort, f.proto, f.pin.Exit}
}

// sacrificed finds which flow made room for t, pinned to pin, and that it was
// the right one.
func (s *player) sacrificed(pin Pin, t modelTuple) {
	s.Helper()
	left := s.flowsByTuple()
	for _, f := range s.m.flows {
		if _, ok := left[f.modelTuple]; !ok {
			if !s.m.mayGo(f) {
				s.Fatalf("event %d: %v flow of %d made room", s.n, f.state, f.touched)
			}
			s.count["sacrificed "+f.state.String()]++
			s.m.dropOne(f)
			s.cutRests(endpointOf(pin, t))
			return
		}
	}
	s.Fatalf("event %d: nobody made room", s.n)
}

func tupleOf(f Flow) modelTuple {
	return modelTuple{f.LAN, f.Remote, f.LANPort, f.RemotePort, f.Proto, f.Near}
}

func (s *player) sameFlow(got Flow, f *modelFlow) {
	s.Helper()
	pin := f.pin
	if f.far != f.remote || f.farPort != f.remotePort {
		pin.Far, pin.FarPort = f.far, f.farPort
	}
	s.same("tuple", tupleOf(got), f.modelTuple)
	s.same("pin", got.Pin, pin)
	s.same("port", got.Port, f.port)
	s.same("state", got.State, f.state)
	s.same("touched", got.TouchedAt, f.touched)
	s.same("inbound", got.Inbound, f.in)
	s.same("adopted", got.Adopted, f.adopted)
}

// left checks a packet that left, and that its answer would find the flow.
func (s *player) left(b []byte, f *modelFlow) {
	s.Helper()
	v := decode(s, b)
	s.same("source", v.Src, f.external())
	s.same("destination", v.Dst, f.far)
	if v.HasPorts || v.IsEcho() {
		s.same("source port", v.SrcPort, f.port)
	}
	if v.HasPorts {
		s.same("destination port", v.DstPort, f.farPort)
	}
	s.mu.Lock()
	i := s.findFar(f.pin.Exit, v.Src, v.Dst, ports(f.port, f.farPort), f.proto)
	s.mu.Unlock()
	if i == 0 || s.addrs.of(s.flows.at(i).lan, false) != f.lan || s.flows.at(i).lanPort != f.lanPort {
		s.Fatalf("event %d: the answer would not find the flow", s.n)
	}
}

// arrived checks a packet for the near side.
func (s *player) arrived(b []byte, f *modelFlow) {
	s.Helper()
	v := decode(s, b)
	s.same("destination", v.Dst, f.lan)
	s.same("source", v.Src, f.remote)
	if v.HasPorts || v.IsEcho() {
		s.same("destination port", v.DstPort, f.lanPort)
	}
	if v.HasPorts {
		s.same("source port", v.SrcPort, f.remotePort)
	}
}

// compare wants the same flows and the same resting ports in both.
func (s *player) compare() {
	s.Helper()
	left := s.flowsByTuple()
	for _, f := range s.m.flows {
		got, ok := left[f.modelTuple]
		if !ok {
			s.Fatalf("event %d: the table has lost %+v", s.n, f)
		}
		s.sameFlow(got, f)
	}
	s.same("listed", len(left), len(s.m.flows))
	rests := s.rests()
	for _, r := range s.m.rests {
		s.same("resting port", rests[r.modelEndpoint], r.port)
	}
	s.same("resting", len(rests), len(s.m.rests))
}

// rests returns the table's resting ports.
func (s *player) rests() map[modelEndpoint]uint16 {
	m := map[modelEndpoint]uint16{}
	for i := s.queues[resting].head; i != 0; i = s.flows.at(i).next {
		e := s.flows.at(i)
		b := &s.bindings.list[e.binding()]
		m[modelEndpoint{b.pool, b.near, b.addr, s.addrs.of(e.lan, false), e.lanPort, e.proto}] = e.port
	}
	return m
}

// cutRests ends the model's rests that the table had to end because there were
// too many: the longest. Of those that are equally long, the table chooses; that
// of endpoint woken may be missing there for another reason.
func (s *player) cutRests(woken modelEndpoint) {
	s.Helper()
	for len(s.m.rests) > s.m.max {
		rests, cut := s.rests(), -1
		for i, r := range s.m.rests {
			_, there := rests[r.modelEndpoint]
			if !there && r.since == s.m.rests[0].since && (cut < 0 || r.modelEndpoint != woken) {
				cut = i
			}
		}
		if cut < 0 {
			s.Fatalf("event %d: %d ports rest, none of the longest was ended", s.n, len(s.m.rests))
		}
		s.m.rests = slices.Delete(s.m.rests, cut, cut+1)
		s.count["rest cut"]++
	}
}
