package fragment

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"testing"

	"turnout/classifier/packet"
)

// TestModel plays random events to the tracker and to the model and wants the
// same of both. TURNOUT_SEED repeats a run, TURNOUT_EVENTS lengthens it.
func TestModel(t *testing.T) {
	events := 60_000
	if n, err := strconv.Atoi(os.Getenv("TURNOUT_EVENTS")); err == nil {
		events = n
	}
	rng := newRandom(t)
	for name, o := range map[string]Options{
		"wide":   {Datagrams: 64, Bytes: 512 * 256, Fragments: 16},
		"narrow": {Datagrams: 12, Bytes: 512 * 24, Fragments: 3, HostShare: 4},
		"single": {Datagrams: 2, Bytes: 512 * 2, Fragments: 1, HostShare: 2},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlayer(t, o, rng.IntN)
			for p.n = range events {
				p.event()
				if p.n%500 == 0 {
					p.table.verify(t)
				}
			}
			t.Logf("%v", p.count)
			for _, what := range []string{"pass", "held", "fragment-overlap", "fragment-unknown", "released", "lost", "expired"} {
				if p.count[what] == 0 {
					t.Errorf("an idle run: nothing %s", what)
				}
			}
			if p.count["fragment-limit"] == 0 && name != "wide" {
				t.Error("an idle run: no limit was met")
			}
		})
	}
}

// A player draws events and plays them to both.
type player struct {
	*rig
	model   *model
	draw    func(n int) int
	n       int
	live    []*playing
	count   map[string]int // of outcomes, to see that the run was not idle
	pending []decision
}

// A playing is a message whose fragments are on their way.
type playing struct {
	side uint32
	m    message
	left [][2]int // fragments not yet sent
}

type decision struct {
	d Datagram
	m *modelDatagram
}

func newPlayer(t testing.TB, o Options, draw func(int) int) *player {
	p := &player{rig: newRig(t, o), draw: draw, count: map[string]int{}}
	p.model = &model{limits: p.table.limits}
	return p
}

func (p *player) event() {
	switch n := p.draw(100); {
	case n < 15 || len(p.live) == 0:
		p.begin()
	case n < 70:
		q := p.live[p.draw(len(p.live))]
		if len(q.left) > 0 {
			i := p.draw(len(q.left))
			if p.draw(3) > 0 {
				i = 0
			}
			part := q.left[i]
			q.left = append(q.left[:i], q.left[i+1:]...)
			p.send(q, part[0], part[1], part[1] < len(q.m.data))
		}
	case n < 71: // a hostile one: anywhere, of any length
		q := p.live[p.draw(len(p.live))]
		from := p.draw(100) * 8
		p.send(q, from, from+8+p.draw(25)*8, p.draw(4) > 0)
	case n < 92:
		p.decide()
	case n < 96:
		p.now += uint32(p.draw(3))
		if p.draw(100) == 0 {
			p.now += 30
		}
	default:
		lost := p.Expire(p.now)
		p.same("expired", lost, p.model.expire(p.now))
		p.count["expired"] += lost
	}
}

func (p *player) same(what string, got, want any) {
	p.Helper()
	if got != want {
		p.Fatalf("event %d: %s: %+v, the model says %+v", p.n, what, got, want)
	}
}

// begin starts another message, or the same again.
func (p *player) begin() {
	protocols := []uint8{packet.UDP, packet.TCP, packet.ICMP, 47}
	m := newMessage(p.draw(3) == 0, protocols[p.draw(len(protocols))], 48+p.draw(700))
	m.src, m.id = uint8(1+p.draw(4)), uint32(p.draw(6))
	q := &playing{side: uint32(p.draw(3)), m: m}
	for from := 0; from < len(m.data); {
		to := min(len(m.data), from+24+8*p.draw(30))
		q.left = append(q.left, [2]int{from, to})
		from = to
	}
	if len(p.live) < 12 {
		p.live = append(p.live, q)
		return
	}
	p.live[p.draw(len(p.live))] = q
}

func (p *player) send(q *playing, from, to int, more bool) {
	b := q.m.part(from, to, more)
	v := new(packet.View)
	if v.Decode(b) != packet.OK || v.Frag == packet.Whole {
		return
	}
	view := *v
	got := p.Take(q.side, b, v, p.now)
	want, d := p.model.take(q.side, q.m, from, to, more, b, p.now)
	switch {
	case got.Action == Pass && v.Frag == packet.First:
		p.pending = append(p.pending, decision{got.Datagram, d})
		got.Datagram = Datagram{}
		d.first = view
	case got.Action == Pass:
		view.SrcPort, view.DstPort, view.Proto = d.first.SrcPort, d.first.DstPort, d.first.Proto
		view.Type, view.Code = d.first.Type, d.first.Code
	}
	p.same(fmt.Sprintf("%d-%d of %+v", from, to, q), got, want)
	p.same("view", *v, view)
	p.count["lost"] += got.Lost
	p.count[[]string{Pass: "pass", Held: "held", Drop: got.Reason.String()}[got.Action]]++
}

// decide tells the fate of one of the first fragments that passed, and mostly
// takes what was held.
func (p *player) decide() {
	if len(p.pending) == 0 {
		return
	}
	i := len(p.pending) - 1
	if p.draw(4) == 0 {
		i = p.draw(len(p.pending))
	}
	c := p.pending[i]
	p.pending = append(p.pending[:i], p.pending[i+1:]...)
	id, accepted := uint16(p.draw(3)), p.draw(8) > 0
	lost := p.Decide(c.d, id, accepted)
	p.same("lost by a decision", lost, c.m.decide(id, accepted))
	p.count["lost"] += lost
	if p.draw(4) == 0 {
		p.pending = append(p.pending, c) // to be decided twice
		return
	}
	got, want := p.release(c.d), c.m.release()
	p.same("number of released", len(got), len(want))
	for i := range got {
		if !bytes.Equal(got[i], want[i]) {
			p.Fatalf("event %d: released % x, the model says % x", p.n, got[i], want[i])
		}
	}
	p.count["released"] += len(got)
}
