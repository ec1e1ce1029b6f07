package nat

import "turnout/classifier/packet"

// tuple draws a flow that exists, or any.
func (s *player) tuple() modelTuple {
	if n := len(s.m.flows); n > 0 && s.rng.IntN(10) < 7 {
		return s.m.flows[s.rng.IntN(n)].tuple()
	}
	t := modelTuple{
		lan:        packet.Addr4(v4.lan1.V4() + s.rng.Uint32N(6)),
		remote:     packet.Addr4(v4.remote1.V4() + s.rng.Uint32N(4)),
		lanPort:    [...]uint16{700, 701, 5000, 5001, 5002, 65535}[s.rng.IntN(6)],
		remotePort: [...]uint16{53, 80, 443}[s.rng.IntN(3)],
		proto:      [...]uint8{packet.TCP, packet.TCP, packet.UDP, packet.ICMP, 47}[s.rng.IntN(5)],
	}
	switch t.proto {
	case packet.ICMP:
		t.remotePort = 0
	case 47:
		t.lanPort, t.remotePort = 0, 0
	}
	return t
}

// pin draws what policy might say: two masqueraded tunnels, one that has two
// addresses in turn, a site, direct.
func (s *player) pin() Pin {
	switch s.rng.IntN(5) {
	case 0:
		return Pin{Exit: Direct}
	case 1:
		return Pin{Exit: 1, Entry: -1}
	case 2:
		return Pin{Exit: 4, Masquerade: true, Addr: [...]packet.Addr{v4.ext1, v4.ext2}[s.rng.IntN(2)]}
	}
	return Pin{Exit: 2 + uint16(s.rng.IntN(2)), Masquerade: true, Addr: v4.ext1}
}

func (t modelTuple) packet() pkt {
	p := pkt{src: t.lan, dst: t.remote, proto: t.proto, sport: t.lanPort, dport: t.remotePort, payload: make([]byte, 8)}
	if t.proto == packet.ICMP {
		p.typ = v4.request
	}
	return p
}

// back makes the answer to flow f.
func (f *modelFlow) back() pkt {
	p := pkt{src: f.remote, dst: f.external(), proto: f.proto, sport: f.remotePort, dport: f.port, payload: make([]byte, 8)}
	if f.proto == packet.ICMP {
		p.sport, p.typ = f.port, v4.reply
	}
	return p
}

const veryFar = 1 << 28

var flagsOfKind = map[string]uint8{
	"syn": syn, "synack": syn | ack, "ack": ack, "data": ack, "fin": fin | ack,
	"rst": rst | ack, "rst-near": rst, "rst-far": rst,
}

// segment makes p a TCP segment of a kind of side dir of f (nil: none), and
// moves f's sequence numbers on as its ends would.
func (s *player) segment(p *pkt, f *modelFlow, dir int, kind string) {
	p.flags, p.window = flagsOfKind[kind], 1000
	p.seq, p.ack = s.rng.Uint32(), s.rng.Uint32()
	p.payload = nil
	if kind == "data" {
		p.payload = make([]byte, s.rng.IntN(500))
	}
	if f == nil {
		return
	}
	if !f.heard && dir == in && (kind == "ack" || kind == "data" || kind == "fin") {
		return // of an older connection
	}
	fresh := !f.heard || kind == "syn"
	if !fresh || dir == in {
		p.ack = f.next[1-dir]
	}
	if !fresh {
		p.seq = f.next[dir]
	}
	n := uint32(len(p.payload))
	switch kind {
	case "syn":
		if !fresh || f.heard {
			p.seq = f.next[dir] + veryFar
			return
		}
		n = 1
	case "synack":
		n = 1
	case "fin":
		n = 1
	case "rst-near", "rst-far":
		p.seq, p.ack = p.seq+5, p.ack+7
		if kind == "rst-far" {
			p.seq += veryFar
		}
		return
	}
	if !f.heard && kind != "syn" && kind != "synack" {
		return
	}
	f.next[dir] = p.seq + n
}

// sacrificed finds which flow made room, and that it was the right one.
func (s *player) sacrificed() {
	left := map[modelTuple]bool{}
	s.Each(func(f Flow) bool { left[tupleOf(f)] = true; return true })
	for _, f := range s.m.flows {
		if !left[f.tuple()] {
			if !s.m.mayGo(f) {
				s.Fatalf("event %d: %v flow of %d made room", s.n, f.state, f.touched)
			}
			s.count["sacrificed "+f.state.String()]++
			s.m.drop(func(g *modelFlow) bool { return g == f })
			return
		}
	}
	s.Fatalf("event %d: nobody made room", s.n)
}

func tupleOf(f Flow) modelTuple {
	return modelTuple{f.LAN, f.Remote, f.LANPort, f.RemotePort, f.Proto}
}

func (s *player) sameFlow(got Flow, f *modelFlow) {
	s.Helper()
	s.same("tuple", tupleOf(got), f.tuple())
	s.same("pin", got.Pin, f.pin)
	s.same("port", got.Port, f.port)
	s.same("state", got.State, f.state)
	s.same("touched", got.TouchedAt, f.touched)
}

// external checks a packet that left, and that its answer would find the flow.
func (s *player) external(b []byte, f *modelFlow) {
	s.Helper()
	v := decode(s, b)
	s.same("source", v.Src, f.external())
	if v.HasPorts || v.IsEcho() {
		s.same("source port", v.SrcPort, f.port)
	}
	s.mu.Lock()
	i := s.findFar(f.pin.Exit, v.Src, v.Dst, ports(f.port, f.remotePort), f.proto)
	s.mu.Unlock()
	if i == 0 || s.addrs.of(s.flows.at(i).lan, false) != f.lan || s.flows.at(i).lanPort != f.lanPort {
		s.Fatalf("event %d: the answer would not find the flow", s.n)
	}
}

// compare wants the same flows in both.
func (s *player) compare() {
	s.Helper()
	left := map[modelTuple]Flow{}
	s.Each(func(f Flow) bool { left[tupleOf(f)] = f; return true })
	for _, f := range s.m.flows {
		got, ok := left[f.tuple()]
		if !ok {
			s.Fatalf("event %d: the table has lost %+v", s.n, f)
		}
		s.sameFlow(got, f)
	}
	s.same("listed", len(left), len(s.m.flows))
}
