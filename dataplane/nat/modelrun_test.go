package nat

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"turnout/classifier/packet"
)

// TestModel plays random events to the table and to the model and wants the
// same of both. TURNOUT_SEED repeats a run, TURNOUT_EVENTS lengthens it.
func TestModel(t *testing.T) {
	seed, events := rand.Uint64(), 40_000
	if s, err := strconv.ParseUint(os.Getenv("TURNOUT_SEED"), 10, 64); err == nil {
		seed = s
	}
	if n, err := strconv.Atoi(os.Getenv("TURNOUT_EVENTS")); err == nil {
		events = n
	}
	t.Logf("TURNOUT_SEED=%d TURNOUT_EVENTS=%d", seed, events)
	for _, maxFlows := range []int{0, 64} {
		t.Run(fmt.Sprintf("max=%d", maxFlows), func(t *testing.T) {
			s := &player{
				rig:   newRig(t, maxFlows),
				rng:   rand.New(rand.NewPCG(seed, uint64(maxFlows))),
				count: map[string]int{},
			}
			s.m = &model{now: s.now, max: s.max, fragments: map[modelFragment]modelFirst{}}
			for s.n = range events {
				s.event()
				if s.n%1000 == 0 {
					s.verify()
					s.compare()
				}
			}
			t.Logf("%d flows at the end; %v", s.Len(), s.count)
		})
	}
}

type player struct {
	*rig
	m     *model
	rng   *rand.Rand
	n     int
	count map[string]int // of outcomes, to see that the run was not idle
}

func (s *player) event() {
	switch n := s.rng.IntN(1000); {
	case n < 450:
		s.eventOut()
	case n < 850:
		s.eventIn()
	case n < 890:
		s.eventError()
	case n < 940:
		s.eventFragment()
	case n < 998:
		step := Tick(s.rng.IntN(4))
		if s.rng.IntN(40) == 0 {
			step = Tick(s.rng.IntN(400))
		}
		s.now += step
		s.m.now = s.now
		s.same("expired", s.Expire(s.now), s.m.expire())
	default:
		exit := uint16(s.rng.IntN(5))
		s.same("dropped", s.DropExit(exit), s.m.drop(func(f *modelFlow) bool { return f.pin.Exit == exit }))
	}
	s.same("flows", s.Len(), len(s.m.flows))
}

func (s *player) same(what string, got, want any) {
	s.Helper()
	if got != want {
		s.Fatalf("event %d: %s: %v, the model says %v", s.n, what, got, want)
	}
}

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

func (s *player) eventOut() {
	t := s.tuple()
	f := s.m.byLAN(t)
	p := t.packet()
	kind := "-"
	if t.proto == packet.TCP {
		kind = [...]string{"syn", "syn", "ack", "data", "data", "fin", "rst", "rst-far"}[s.rng.IntN(8)]
		if f != nil && f.state == TCPAnswered && s.rng.IntN(2) == 0 {
			kind = "ack"
		}
	}
	if f != nil && kind == "syn" {
		switch f.state {
		case TCPClosing, TCPReset, TCPPicked, TCPDirect:
			s.m.drop(func(g *modelFlow) bool { return g == f })
			f = nil
		}
	}
	if t.proto == packet.TCP {
		s.segment(&p, f, out, kind)
	}
	if f == nil {
		s.open(t, p, kind)
		return
	}
	got, b := s.mustOut(p, Pin{Exit: 99})
	switch {
	case t.proto == packet.TCP:
		s.m.tcpOut(f, kind)
	default:
		f.touched = s.now
	}
	s.count["out "+f.state.String()]++
	s.sameFlow(got, f)
	s.external(b, f)
}

// open sends a packet that no flow knows.
func (s *player) open(t modelTuple, p pkt, kind string) {
	pin := s.pin()
	state, want := start(kind, t.proto, t.remotePort, pin.Exit)
	rule := s.m.portFor(pin, t)
	if want == packet.OK && rule.none {
		want = packet.NoFreePort
	}
	victims := 0
	if len(s.m.flows) == s.m.max {
		for _, f := range s.m.flows {
			if s.m.mayGo(f) {
				victims++
			}
		}
		if want == packet.OK && victims == 0 {
			want = packet.FlowTableFull
		}
	}
	got, b, reason := s.out(p, pin)
	s.same(fmt.Sprintf("opening %+v by %s", t, kind), reason, want)
	s.count["open "+reason.String()]++
	if reason != packet.OK {
		return
	}
	if victims > 0 {
		s.sacrificed()
	}
	if !rule.allows(got.Port, t.proto) {
		s.Fatalf("event %d: port %d for %+v, the model wants %+v", s.n, got.Port, t, rule)
	}
	f := &modelFlow{
		pin: pin, lan: t.lan, remote: t.remote, lanPort: t.lanPort, remotePort: t.remotePort,
		port: got.Port, proto: t.proto, state: state, touched: s.now,
	}
	if t.proto == packet.TCP {
		f.next, f.heard = [2]uint32{p.seq + uint32(len(p.payload)), p.ack}, kind != "syn"
		if kind == "syn" {
			f.next[out]++
		}
	}
	s.m.flows = append(s.m.flows, f)
	s.sameFlow(got, f)
	s.external(b, f)
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
	i := s.findExit(f.pin.Exit, v.Src, v.Dst, ports(f.port, f.remotePort), f.proto)
	s.mu.Unlock()
	if i == 0 || s.flows.at(i).lan != f.lan || s.flows.at(i).lanPort != f.lanPort {
		s.Fatalf("event %d: the answer would not find the flow", s.n)
	}
}

func (s *player) eventIn() {
	t := s.tuple()
	f := s.m.byLAN(t)
	g := f
	if g == nil { // as if it were one
		g = &modelFlow{pin: s.pin(), lan: t.lan, remote: t.remote, lanPort: t.lanPort, remotePort: t.remotePort, proto: t.proto, port: t.lanPort}
	}
	p := g.back()
	exit := g.pin.Exit
	if s.rng.IntN(20) == 0 {
		exit = uint16(s.rng.IntN(5))
	}
	f = s.m.byExit(exit, p.dst, g.remote, g.port, g.remotePort, g.proto)
	kind := "-"
	if t.proto == packet.TCP {
		kind = [...]string{"ack", "data", "data", "fin", "rst", "rst-near", "rst-far", "syn"}[s.rng.IntN(8)]
		switch {
		case f != nil && f.state == TCPDirect:
			return // replies of direct flows do not come out of tunnels
		case f != nil && !f.heard && s.rng.IntN(2) == 0:
			kind = "synack"
		case f != nil && f.state == TCPUp && s.rng.IntN(2) == 0:
			kind = "data"
		}
		s.segment(&p, f, in, kind)
	}
	want := packet.NoFlow
	if f != nil {
		want = packet.OK
		switch {
		case t.proto == packet.TCP:
			want = s.m.tcpIn(f, kind)
		case f.state == UDPOneWay:
			f.become(UDPTwoWay, s.now)
		}
	}
	got, b, reason := s.in(p, exit)
	s.same(fmt.Sprintf("in %+v by %s", t, kind), reason, want)
	s.count["in "+reason.String()]++
	if reason == packet.OK {
		s.sameFlow(got, f)
		v := decode(s, b)
		s.same("destination", v.Dst, f.lan)
		if v.HasPorts || v.IsEcho() {
			s.same("destination port", v.DstPort, f.lanPort)
		}
	}
}

// eventError sends an ICMP error about a packet of some flow.
func (s *player) eventError() {
	t := s.tuple()
	f := s.m.byLAN(t)
	if s.rng.IntN(2) == 0 {
		p := t.packet()
		exit, want := uint16(3), packet.NoFlow
		if f != nil {
			p.src, p.sport, exit, want = f.external(), f.port, f.pin.Exit, packet.OK
		} else if s.m.byExit(exit, p.src, t.remote, t.lanPort, t.remotePort, t.proto) != nil {
			want = packet.OK
		}
		got, b, reason := s.in(v4.about(v4.router, p.src, p.bytes()), exit)
		s.same("error in", reason, want)
		s.count["error in "+reason.String()]++
		if f != nil {
			s.sameFlow(got, f)
			s.same("destination", decode(s, b).Dst, f.lan)
		}
		return
	}
	g := &modelFlow{lan: t.lan, remote: t.remote, lanPort: t.lanPort, remotePort: t.remotePort, port: t.lanPort, proto: t.proto}
	p := g.back() // as the LAN host saw it
	got, b, reason := s.out(v4.about(t.lan, t.remote, p.bytes()), Pin{Exit: 99})
	s.count["error out "+reason.String()]++
	if f == nil {
		s.same("error out", reason, packet.InvalidState)
		return
	}
	s.same("error out", reason, packet.OK)
	s.sameFlow(got, f)
	s.same("source", decode(s, b).Src, f.external())
}

// eventFragment sends a first or later fragment of a UDP flow, either way.
func (s *player) eventFragment() {
	t := s.tuple()
	f := s.m.byLAN(t)
	if f == nil || f.proto != packet.UDP {
		return
	}
	p, side := t.packet(), -1
	if s.rng.IntN(2) == 0 {
		p, side = f.back(), int(f.pin.Exit)
	}
	p.id, p.payload = uint16(s.rng.IntN(4)), make([]byte, 792)
	first := s.rng.IntN(2) == 0
	p.frag = packet.Later
	if first {
		p.frag = packet.First
	}
	k := modelFragment{side, p.src, p.dst, p.proto, p.id}
	want := packet.OK
	if first {
		if m, ok := s.m.fragments[k]; !ok || m.flow != t || s.now-m.since >= fragmentLife {
			s.m.fragments[k] = modelFirst{t, s.now}
		}
	} else if m, ok := s.m.fragments[k]; !ok || s.now-m.since >= fragmentLife {
		want = packet.FragmentUnknown
	} else if f = s.m.byLAN(m.flow); f == nil || side >= 0 && f.external() != p.dst {
		// Its flow is gone: out, it would start one; in, it has none.
		return
	}
	var got Flow
	var reason packet.Reason
	if side < 0 {
		got, _, reason = s.out(p, Pin{Exit: 99})
	} else {
		got, _, reason = s.in(p, uint16(side))
	}
	s.same("fragment", reason, want)
	s.count["fragment "+reason.String()]++
	if reason != packet.OK {
		return
	}
	switch {
	case side < 0:
		f.touched = s.now
	case f.state == UDPOneWay:
		f.become(UDPTwoWay, s.now)
	}
	s.sameFlow(got, f)
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
