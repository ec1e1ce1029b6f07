package nat

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
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
	for _, o := range []Options{
		{MaxFlows: 4096, MaxPerHost: 25, NewPerHost: 3},
		{MaxFlows: 64, MaxPerHost: 20, NewPerHost: 9},
		{MaxFlows: 12, MaxPerHost: 12},
	} {
		t.Run(fmt.Sprintf("max=%d", o.MaxFlows), func(t *testing.T) {
			s := newPlayer(t, o, seed)
			for s.n = range events {
				s.event()
				if s.n%1000 == 0 {
					s.verify()
					s.compare()
				}
			}
			s.verify()
			s.compare()
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
	o     Options
	path  string
}

func newPlayer(t *testing.T, o Options, seed uint64) *player {
	s := &player{
		rig:   &rig{T: t, now: 1000},
		rng:   rand.New(rand.NewPCG(seed, uint64(o.MaxFlows))),
		count: map[string]int{},
		o:     o,
		path:  filepath.Join(t.TempDir(), "flows"),
	}
	s.m = &model{hosts: map[modelHost]*modelRate{}, now: s.now, max: o.MaxFlows, share: o.MaxPerHost, rate: o.NewPerHost}
	if o.MaxPerHost == o.MaxFlows { // the table's own bound counts
		s.m.share++
	}
	s.begin(0)
	t.Cleanup(func() { s.Close() })
	return s
}

// begin starts a process: it adopts what the one before left.
func (s *player) begin(generation uint8) {
	s.Helper()
	table, a, err := OpenFile(s.o, File{Path: s.path, Boot: boot, Exits: modelExits, Generation: generation}, s.now)
	if err != nil {
		s.Fatal(err)
	}
	s.Table = table
	if a.Flows != len(s.m.flows) {
		s.Fatalf("event %d: adopted %+v, the model has %d flows", s.n, a, len(s.m.flows))
	}
	s.same("not adopted", a.Expired+a.Damaged+a.Crowded, 0)
	s.reserve()
}

func (s *player) event() {
	switch n := s.rng.IntN(10_000); {
	case n < 4400:
		s.eventOut()
	case n < 8400:
		s.eventIn()
	case n < 8800:
		s.eventError()
	case n < 9850:
		step := Tick(s.rng.IntN(3))
		if s.rng.IntN(200) == 0 {
			step = Tick(s.rng.IntN(400))
		}
		s.now += step
		s.m.now = s.now
		s.same("expired", s.Expire(s.now), s.m.expire())
	case n < 9980:
		s.eventOperator()
	case n < 9992:
		s.reserve()
	case n < 9998:
		s.eventExit()
	default:
		s.verify()
		s.Close()
		generation := uint8(s.rng.IntN(9))
		s.m.adopt(generation, atHome)
		s.begin(generation)
		s.verify()
		s.compare()
		s.count["adopted"] += s.Len()
	}
	s.cutRests(modelEndpoint{})
	s.same("flows", s.Len(), len(s.m.flows))
	s.same("resting", s.resting, len(s.m.rests))
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
		kind = s.kind(f, out)
		old := f
		if f != nil && kind == "syn" && f.reopens(out, 0) {
			s.m.dropOne(f)
			f = nil
		}
		s.segment(&p, f, out, kind)
		if f != old { // in a living connection, only a number that is far off begins anew
			p.seq = old.next[out] + veryFar
		}
	}
	b := p.bytes()
	v := decode(s, b)
	got, ok := s.Out(b, v, t.near, s.now)
	s.same(fmt.Sprintf("out %+v by %s", t, kind), ok, f != nil)
	if f == nil {
		s.openOut(t, p, kind)
		return
	}
	switch {
	case t.proto == packet.TCP:
		s.m.tcpOut(f, kind)
	case f.state == UDPOneWay && f.in:
		s.m.answer(f)
		s.count[fmt.Sprintf("answer mapped %v", f.mapped)]++
	default:
		f.touched = s.now
	}
	s.count["out "+f.state.String()]++
	s.sameFlow(got, f)
	got.RewriteOut(b, v, false)
	mustBeTrue(s.T, b)
	s.left(b, f)
}

// lacks is what a flow that could start is refused for.
func (s *player) lacks(near uint16, lan packet.Addr) (r packet.Reason, full bool) {
	if !s.m.admits(near, lan) {
		return packet.HostLimit, false
	}
	if len(s.m.flows) < s.m.max {
		return packet.OK, false
	}
	for _, f := range s.m.flows {
		if s.m.mayGo(f) {
			return packet.OK, true
		}
	}
	return packet.FlowTableFull, true
}

// openOut sends a packet that no flow knows.
func (s *player) openOut(t modelTuple, p pkt, kind string) {
	pin := s.pin()
	f := &modelFlow{modelTuple: t, pin: pin, far: t.remote, farPort: t.remotePort, touched: s.now, spoke: s.now}
	f.pin.Far, f.pin.FarPort = packet.Addr{}, 0
	if pin.Far != (packet.Addr{}) {
		f.far = pin.Far
		if t.proto == packet.TCP || t.proto == packet.UDP {
			f.farPort = pin.FarPort
		}
	}
	var want packet.Reason
	f.state, want = start(kind, t, pin.Exit, false)
	rule, full := s.m.portFor(pin, t, f.far, f.farPort), false
	if want == packet.OK && rule.none {
		want = packet.NoFreePort
	}
	if want == packet.OK {
		want, full = s.lacks(t.near, t.lan)
	}
	b := p.bytes()
	v := decode(s, b)
	got, reason := s.Open(b, v, t.near, pin, s.now)
	s.same(fmt.Sprintf("opening %+v by %s, pinned to %+v", t, kind, pin), reason, want)
	s.count["open "+reason.String()]++
	if reason != packet.OK {
		return
	}
	if full {
		s.sacrificed(f.pin, t)
	}
	if !rule.allows(got.Port, t.proto) {
		s.Fatalf("event %d: port %d for %+v, the model wants %+v", s.n, got.Port, t, rule)
	}
	f.port, f.mapped = got.Port, maps(pin, t.proto)
	if t.proto == packet.TCP {
		f.next, f.heard = [2]uint32{p.seq + uint32(len(p.payload)), p.ack}, kind != "syn"
		if kind == "syn" {
			f.next[out]++
		}
	}
	s.m.add(f)
	s.sameFlow(got, f)
	got.RewriteOut(b, v, false)
	mustBeTrue(s.T, b)
	s.left(b, f)
}
