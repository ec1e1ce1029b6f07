package classifier

import (
	"net/netip"
	"runtime"
	"testing"
	"time"

	"turnout/bench/ruleset"
	"turnout/classifier/packet"
)

// TestWorstCase compiles 10,000 rules that overlap in three fields, which no
// structure of linear memory splits well: the table is right, its memory and
// the time to make it are bounded, and the report says how slow it can be.
func TestWorstCase(t *testing.T) {
	r := newRandom(t)
	p := policyOf(ruleset.Overlapping(r, 10_000))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begun := time.Now()
	table := mustCompile(t, p)
	took := time.Since(begun)
	runtime.ReadMemStats(&after)
	c := table.Report()
	t.Logf("%v, %d MiB allocated, %+v", took, (after.TotalAlloc-before.TotalAlloc)>>20, c)
	if took > 5*time.Second { // 30 ms on an idle machine
		t.Errorf("compiling took %v", took)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 64<<20 {
		t.Errorf("compiling allocated %d MiB", n>>20)
	}
	if c.Bytes > 300*len(p.Entries) {
		t.Errorf("%d bytes a rule", c.Bytes/len(p.Entries))
	}
	if c.Compared < 1000 {
		t.Errorf("the report does not tell that it is slow: %+v", c)
	}
	if err := table.Verify(3000, r.Uint64()); err != nil {
		t.Error(err)
	}
	for _, v := range corners(p, 150, r.Uint64()) {
		if got, want := table.Lookup(&v), oracle(p, nil, &v); got != want {
			t.Fatalf("%+v: %+v, want %+v", v, got, want)
		}
	}
}

// TestReportBoundsEveryLookup counts what lookups do and holds it to the
// worst path that the report names.
func TestReportBoundsEveryLookup(t *testing.T) {
	r := newRandom(t)
	for range 200 {
		w := newWorld(r)
		p := w.policy(w.size())
		tags := new(Tags)
		w.learn(tags)
		table, err := compile(p, tags, w.small())
		if err != nil {
			t.Fatal(err)
		}
		c := table.Report()
		if c.Entries != len(p.Entries) || c.Boxes > 0 && c.Bytes < 32 {
			t.Fatalf("%+v of %d entries", c, len(p.Entries))
		}
		for range 50 {
			v := w.packet()
			if compared, depth := table.plane(&v).count(&v, tags); compared > c.Compared || depth > c.Depth {
				t.Fatalf("%d compared after %d decisions, and the report says %+v", compared, depth, c)
			}
		}
	}
}

// count walks as first does, in every rest, and counts.
func (p *plane) count(v *packet.View, tags *Tags) (compared, depth int) {
	k := p.key(v, tags)
	var walk func(w way)
	walk = func(w way) {
		switch {
		case w.min == nothing:
		case w.ref&isNode != 0:
			n := &p.nodes[w.ref&^isNode]
			depth++
			walk(p.cutOf(n, k.at[n.dim&7]))
			walk(n.rest)
		default:
			for i := w.ref; ; i++ {
				compared++
				if p.entries[i].id&lastInLeaf != 0 {
					return
				}
			}
		}
	}
	walk(p.root)
	return compared, depth
}

// TestBigSetIsNotMultiplied: a set of 100,000 prefixes that many rules use is
// in the table once.
func TestBigSetIsNotMultiplied(t *testing.T) {
	r := newRandom(t)
	s := Set{Name: "big"}
	for range 100_000 {
		s.Prefixes = append(s.Prefixes, netip.PrefixFrom(packet.Addr4(r.Uint32()).Netip(), 16+r.IntN(17)))
	}
	size := func(rules int) int {
		p := &Policy{Exits: three, Sets: []Set{s}}
		for i := range rules {
			e := Entry{Exit: Drop, ToSets: []int{0}, Protos: []uint8{packet.TCP}, Ports: []PortRange{{uint16(i), uint16(i)}}}
			if i%2 == 1 {
				e.ToSets, e.NotToSets = nil, []int{0}
			}
			p.Entries = append(p.Entries, e)
		}
		table := mustCompile(t, p)
		if err := table.Verify(300, r.Uint64()); err != nil {
			t.Error(err)
		}
		return table.Report().Bytes
	}
	two, many := size(2), size(60)
	t.Logf("%d bytes for 2 rules, %d for 60", two, many)
	if two > 100*len(s.Prefixes) || many > two+two/10 {
		t.Errorf("the set takes %d bytes with 2 rules, %d with 60", two, many)
	}
}

// TestMemoryPerRule is the bound that a large policy of a router's shape keeps.
func TestMemoryPerRule(t *testing.T) {
	p, _ := routerSet(newRandom(t), 100_000, 0)
	c := mustCompile(t, p).Report()
	t.Logf("%+v", c)
	if n := c.Bytes / len(p.Entries); n > 135 {
		t.Errorf("%d bytes a rule, want at most 135", n)
	}
}
