// Package kerneltest compares the flow table with the NAT that everybody knows:
// the masquerade of the Linux kernel it runs on. Random packets, good and bad
// ones, go through both. What comes out must be the same, but for the external
// port and for the differences that docs/nat-kernel.md lists with their reasons.
package kerneltest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	perRound = 2500   // events before both start anew, with nothing remembered
	longRun  = 50_000 // from so many on, each difference must have been met
)

// TestLikeTheKernel plays events to both. TURNOUT_SEED repeats the events of a
// run, but for the ports that the two choose; TURNOUT_KERNEL_EVENTS lengthens it.
func TestLikeTheKernel(t *testing.T) {
	needGateway(t)
	seed, events := rand.Uint64(), 5000
	if s, err := strconv.ParseUint(os.Getenv("TURNOUT_SEED"), 10, 64); err == nil {
		seed = s
	}
	if n, err := strconv.Atoi(os.Getenv("TURNOUT_KERNEL_EVENTS")); err == nil {
		events = n
	}
	t.Logf("TURNOUT_SEED=%d TURNOUT_KERNEL_EVENTS=%d", seed, events)
	met, count := map[string]int{}, map[string]int{}
	for round := 0; round*perRound < events; round++ {
		p := newPlayer(t, seed, round)
		p.met, p.count = met, count
		p.round(min(perRound, events-round*perRound))
	}
	for _, what := range slices.Sorted(maps.Keys(count)) {
		t.Logf("%7d %s", count[what], what)
	}
	for _, row := range rows() {
		t.Logf("%7d by row %s", met[row], row)
		if events >= longRun && met[row] == 0 {
			t.Errorf("nothing in %d events differs by row %q of docs/nat-kernel.md: it can go", events, row)
		}
	}
}

// TestDifferencesAreDocumented wants a row in the document for each difference
// that the test forgives, and no other.
func TestDifferencesAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../../docs/nat-kernel.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "\n|---|---|---|---|---|\n")
	var documented []string
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) != 7 {
			break
		}
		documented = append(documented, strings.TrimSpace(cells[1]))
	}
	slices.Sort(documented)
	if want := rows(); !slices.Equal(documented, want) {
		t.Errorf("docs/nat-kernel.md has the rows\n%v, the test\n%v", documented, want)
	}
}

func newPlayer(t *testing.T, seed uint64, round int) *player {
	t.Helper()
	return &player{
		T: t, gw: newGateway(t), ours: newOurs(),
		name: fmt.Sprintf("TURNOUT_SEED=%d round %d", seed, round),
		rng:  rand.New(rand.NewPCG(seed, uint64(round))),
		used: map[tuple]bool{}, taken: [2]map[outside]*flow{{}, {}},
	}
}

func (p *player) round(events int) {
	p.Helper()
	defer p.gw.close()
	for p.n = range events {
		p.event()
	}
}

// event plays an event of no flow, of a new one, or of one that is there.
func (p *player) event() {
	p.Helper()
	var e event
	switch n := p.rng.IntN(100); {
	case n < 3:
		e = p.unsolicited()
	case n < 5:
		e = p.oddICMP()
	case n < 6:
		e = p.misfit()
	case n < 15 || len(p.flows) == 0:
		p.begin()
		return
	default:
		p.goOn()
		return
	}
	p.play(&e)
}

// begin lets a new flow send its first packet.
func (p *player) begin() {
	p.Helper()
	t := drawTuple(p.rng)
	if p.used[t] {
		return
	}
	p.used[t] = true
	f := &flow{tuple: t}
	e := p.of(f)
	if p.play(&e) {
		f.opened = true
		p.flows = append(p.flows, f)
	}
}

// goOn lets something happen in a flow, more likely a younger one, and a
// connection, which has more to tell.
func (p *player) goOn() {
	p.Helper()
	n := len(p.flows)
	if n > 30 && p.rng.IntN(3) > 0 {
		n = 30
	}
	i := len(p.flows) - 1 - p.rng.IntN(n)
	for tries := 2; tries > 0 && p.flows[i].proto != tcp; tries-- {
		i = len(p.flows) - 1 - p.rng.IntN(n)
	}
	f := p.flows[i]
	var e event
	switch k := p.rng.IntN(20); {
	case k == 0 && f.left[kernel] != nil:
		e = p.errorIn(f)
	case k == 1 && f.came != nil:
		e = p.errorOut(f)
	default:
		e = p.of(f)
	}
	p.play(&e)
	if e.done {
		p.release(f)
		p.flows = slices.Delete(p.flows, i, i+1)
	}
}

// of draws an event of a flow's own.
func (p *player) of(f *flow) event {
	if f.proto == tcp {
		return p.tcpEvent(f)
	}
	return p.plainEvent(f)
}
