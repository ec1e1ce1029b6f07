package classifier

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"turnout/bench/ruleset"
	"turnout/classifier/packet"
)

// routerSet returns a policy of a router's shape and packets that match it.
func routerSet(r *rand.Rand, entries, packets int) (*Policy, []packet.View) {
	rules := ruleset.Router(r, entries)
	views := make([]packet.View, packets)
	for i, h := range ruleset.Traffic(r, rules, packets) {
		views[i] = viewOf(h)
	}
	return policyOf(rules), views
}

func BenchmarkLookup(b *testing.B) {
	for _, n := range []int{10, 100, 1000, 10000} {
		p, views := routerSet(rand.New(rand.NewPCG(1, 2)), n, 1<<14)
		table := mustCompile(b, p)
		b.Run(fmt.Sprintf("router/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				table.Lookup(&views[i&(1<<14-1)])
				i++
			}
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	for _, n := range []int{10, 1000, 10000} {
		p, _ := routerSet(rand.New(rand.NewPCG(1, 2)), n, 0)
		b.Run(fmt.Sprintf("router/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				mustCompile(b, p)
			}
		})
	}
}

func BenchmarkLearn(b *testing.B) {
	var tags Tags
	i := uint32(0)
	b.ReportAllocs()
	for b.Loop() {
		i++
		tags.Set(packet.Addr4(i%(1<<16)), i)
	}
}

// TestLookupDoesNotAllocate, whatever the policy needs.
func TestLookupDoesNotAllocate(t *testing.T) {
	r := newRandom(t)
	for _, n := range []int{10, 100, 1000} {
		p, views := routerSet(r, n, 200)
		checkAllocations(t, mustCompile(t, p), views)
	}
	for range 20 {
		w := newWorld(r)
		p := w.policy(60)
		tags := new(Tags)
		w.learn(tags)
		table, err := compile(p, tags, w.small())
		if err != nil {
			t.Fatal(err)
		}
		views := make([]packet.View, 100)
		for i := range views {
			views[i] = w.packet()
		}
		checkAllocations(t, table, views)
	}
}

func checkAllocations(t *testing.T, table *Table, views []packet.View) {
	t.Helper()
	if n := testing.AllocsPerRun(10, func() {
		for i := range views {
			table.Lookup(&views[i])
		}
	}); n != 0 {
		t.Errorf("%v allocations in %d lookups", n, len(views))
	}
}
