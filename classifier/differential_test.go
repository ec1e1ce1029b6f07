package classifier

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"turnout/bench/ruleset"
)

// checks returns how many comparisons a differential test makes:
// TURNOUT_CHECKS, or a sample.
func checks(t *testing.T, sample int) int {
	s := os.Getenv("TURNOUT_CHECKS")
	if s == "" {
		return sample
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatalf("TURNOUT_CHECKS: %v", err)
	}
	return n
}

// small draws limits at which little policies take the ways of large ones.
func (w *world) small() limits {
	l := standard
	if w.IntN(4) == 0 {
		return l
	}
	l.ranges = 1 + w.IntN(8)
	l.few, l.bigSide, l.bigSides, l.room = 1+w.IntN(8), 2+w.IntN(4), w.IntN(4), w.IntN(30)-15
	l.leaf, l.copies, l.slack, l.kept = 1+w.IntN(4), 1+3*w.Float64(), w.IntN(8), 2+w.IntN(30)
	l.hide = w.IntN(24)
	return l
}

// size draws how many entries a policy has: mostly few, so that many policies
// are tried, and now and then enough for every kind of node.
func (w *world) size() int {
	switch k := w.IntN(100); {
	case k < 70:
		return w.IntN(60)
	case k < 99:
		return w.IntN(200)
	}
	return w.IntN(1500)
}

// TestDifferential holds tables to the oracle: policies of near-duplicates,
// nesting and overlaps, packets at their corners, IPv4 and IPv6, with named
// sets, exclusions and tags, under limits that reach every way to build.
func TestDifferential(t *testing.T) {
	r := newRandom(t)
	var families [2]int
	for left := checks(t, 100_000); left > 0; {
		w := newWorld(r)
		p := w.policy(w.size())
		if r.IntN(2) == 0 {
			p.Sort()
		}
		tags := new(Tags)
		known := w.learn(tags)
		l := w.small()
		table, err := compile(p, tags, l)
		if err != nil {
			t.Fatal(err)
		}
		for range min(left, 400) {
			v := w.packet()
			if got, want := table.Lookup(&v), oracle(p, known, &v); got != want {
				t.Fatalf("%+v:\n got %+v\nwant %+v\nunder %+v", v, got, want, l)
			}
			families[v.Version/6]++
		}
		left -= 400
	}
	t.Logf("checked %d of IPv4 and %d of IPv6", families[0], families[1])
}

// TestDifferentialShapes holds tables of the shapes of real sets to the oracle.
func TestDifferentialShapes(t *testing.T) {
	r := newRandom(t)
	left := checks(t, 20_000) / 10
	for left > 0 {
		n := 1 + r.IntN(1200)
		all := [][]ruleset.Rule{ruleset.Router(r, n), ruleset.Overlapping(r, n)}
		for _, s := range ruleset.Shapes {
			all = append(all, ruleset.Like(r, s, n))
		}
		for _, rules := range all {
			if r.IntN(3) == 0 {
				rules = ruleset.To6(rules)
			}
			compareSet(t, r, rules, 100)
			left -= 100
		}
	}
}

// TestDifferentialClassBench does so with the real sets that
// TURNOUT_CLASSBENCH names the folder of, and with the same in IPv6.
func TestDifferentialClassBench(t *testing.T) {
	dir := os.Getenv("TURNOUT_CLASSBENCH")
	if dir == "" {
		t.Log("TURNOUT_CLASSBENCH names no folder of filter sets")
		return
	}
	r := newRandom(t)
	for name, rules := range classBench(t, dir) {
		t.Run(name, func(t *testing.T) {
			compareSet(t, r, rules, checks(t, 2000)/1000)
			compareSet(t, r, ruleset.To6(rules), checks(t, 2000)/1000)
		})
	}
}

// classBench reads the filter sets in a folder.
func classBench(t testing.TB, dir string) map[string][]ruleset.Rule {
	files, err := filepath.Glob(filepath.Join(dir, "*_*k"))
	if err != nil || len(files) == 0 {
		t.Fatalf("TURNOUT_CLASSBENCH: no sets in %s: %v", dir, err)
	}
	out := map[string][]ruleset.Rule{}
	for _, f := range files {
		in, err := os.Open(f)
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		if out[filepath.Base(f)], err = ruleset.Parse(in); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
	}
	return out
}

// compareSet compares n points inside rules and n at their corners.
func compareSet(t *testing.T, r *rand.Rand, rules []ruleset.Rule, n int) {
	t.Helper()
	p := policyOf(rules)
	table := mustCompile(t, p)
	views := corners(p, n, r.Uint64())
	for _, h := range ruleset.Traffic(r, rules, n) {
		views = append(views, viewOf(h))
	}
	for i := range views {
		if got, want := table.Lookup(&views[i]), oracle(p, nil, &views[i]); got != want {
			t.Fatalf("%+v:\n got %+v\nwant %+v", views[i], got, want)
		}
	}
	if err := table.Verify(n, r.Uint64()); err != nil {
		t.Fatal(err)
	}
}

// TestExplainAgainstOracle wants of Explain what a walk through the policy says.
func TestExplainAgainstOracle(t *testing.T) {
	r := newRandom(t)
	for range checks(t, 20_000) / 200 {
		w := newWorld(r)
		p := w.policy(w.IntN(40))
		tags := new(Tags)
		known := w.learn(tags)
		table, err := CompileTags(p, tags)
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			v := w.packet()
			want := oracle(p, known, &v)
			x := table.Explain(&v)
			if x.Verdict != want {
				t.Fatalf("Explain(%+v) = %+v, want %+v", v, x.Verdict, want)
			}
			if lost := oracleLost(p, known, &v, want.Entry); !slices.Equal(x.Considered, lost) {
				t.Fatalf("Explain(%+v) lost\n got %v\nwant %v", v, x.Considered, lost)
			}
		}
	}
}

// FuzzLookup reads a policy, limits and packets from bytes.
func FuzzLookup(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 8 {
		b := make([]byte, 400)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		w := newWorld(rand.New(&tape{bytes: b}))
		p := w.policy(w.IntN(30))
		tags := new(Tags)
		known := w.learn(tags)
		table, err := compile(p, tags, w.small())
		if err != nil {
			t.Fatal(err)
		}
		for range 50 {
			v := w.packet()
			if got, want := table.Lookup(&v), oracle(p, known, &v); got != want {
				t.Fatalf("%+v:\n got %+v\nwant %+v", v, got, want)
			}
		}
	})
}

// A tape is a source of randomness that plays bytes, so that a fuzzer that
// changes a byte changes one decision. After its end it counts.
type tape struct {
	bytes []byte
	end   uint64
}

func (s *tape) Uint64() uint64 {
	if len(s.bytes) == 0 {
		s.end += 0x9e3779b97f4a7c15
		return s.end
	}
	n := uint64(s.bytes[0]) * 0x0101010101010101
	s.bytes = s.bytes[1:]
	return n ^ uint64(len(s.bytes))<<8
}
