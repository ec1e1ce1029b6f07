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
			s.m = &model{now: s.now, max: s.max}
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
		s.same("dropped", s.DropExit(exit), s.m.dropExit(exit))
	}
	s.same("flows", s.Len(), len(s.m.flows))
}

func (s *player) same(what string, got, want any) {
	s.Helper()
	if got != want {
		s.Fatalf("event %d: %s: %v, the model says %v", s.n, what, got, want)
	}
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
	s.m.add(f)
	s.sameFlow(got, f)
	s.external(b, f)
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
