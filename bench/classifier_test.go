package bench

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"turnout/bench/ruleset"
	"turnout/classifier"
	"turnout/classifier/packet"
)

// classifierFigures are decoding, lookups in sets of every kind and size, and
// compiling them.
func classifierFigures(t testing.TB) []*figure {
	out := decodeFigures(t)
	r := rand.New(rand.NewPCG(1, 2))
	for _, row := range []struct {
		n       int
		target  float64
		like    []string
		compile float64
	}{
		{100, 60, []string{"L1", "L2"}, 0},
		{1_000, 0, nil, 0},
		{10_000, 90, []string{"L2"}, 25e6},
		{100_000, 140, []string{"L2", "L3"}, 250e6},
	} {
		rules := ruleset.Router(r, row.n)
		name := fmt.Sprintf("router, %d rules", row.n)
		f := lookupFigure(t, name, rules, row.target)
		f.like = row.like
		out = append(out, f)
		if row.compile > 0 {
			c := compileFigure(t, name, rules, row.compile)
			out = append(out, c)
		}
	}
	out = append(out, lookupFigure(t, "router in IPv6, 10000 rules", ruleset.To6(ruleset.Router(r, 10_000)), 0))
	for _, s := range ruleset.Shapes {
		f := lookupFigure(t, "like "+s.Name+", 10000 rules", ruleset.Like(r, s, 10_000), 135)
		f.like = []string{"L2"}
		out = append(out, f)
	}
	out = append(out, lookupFigure(t, "overlapping, 10000 rules", ruleset.Overlapping(r, 10_000), 0))
	out = append(out, setFigure(t))
	out = append(out, classBenchFigures(t)...)
	return append(out, learnFigure())
}

// classBenchFigures are of the filter sets in the folder TURNOUT_CLASSBENCH.
func classBenchFigures(t testing.TB) (out []*figure) {
	dir := os.Getenv("TURNOUT_CLASSBENCH")
	if dir == "" {
		return nil
	}
	files, err := filepath.Glob(filepath.Join(dir, "*_10k"))
	if err != nil || len(files) == 0 {
		t.Fatalf("TURNOUT_CLASSBENCH: no sets in %s: %v", dir, err)
	}
	for _, name := range files {
		in, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		rules, err := ruleset.Parse(in)
		in.Close()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		f := lookupFigure(t, "ClassBench "+filepath.Base(name), rules, 135)
		f.like = []string{"L2"}
		out = append(out, f)
	}
	return out
}

// packets is how many different packets a lookup is measured with: enough that
// no branch predictor learns them by heart.
const packets = 1 << 17

func lookupFigure(t testing.TB, name string, rules []ruleset.Rule, target float64) *figure {
	return policyFigure(t, name, rules, policyOf(rules), target)
}

// setFigure looks up in 1,000 rules behind ten that name a set of 100,000
// prefixes.
func setFigure(t testing.TB) *figure {
	r := rand.New(rand.NewPCG(1, 2))
	rules := ruleset.Router(r, 1000)
	p := policyOf(rules)
	var set classifier.Set
	for _, x := range ruleset.Router(r, 200_000) {
		if x.Dst.Bits() > 0 && len(set.Prefixes) < 100_000 {
			set.Prefixes = append(set.Prefixes, x.Dst)
		}
	}
	p.Sets = []classifier.Set{set}
	for i := range 10 {
		port := uint16(1000 * i)
		p.Entries = append([]classifier.Entry{{Exit: classifier.Drop, ToSets: []int{0}, Protos: []uint8{packet.TCP}, Ports: []classifier.PortRange{{Lo: port, Hi: port + 500}}}}, p.Entries...)
	}
	return policyFigure(t, "router, 1000 rules, set of 100000", rules, p, 0)
}

// policyFigure looks up what matches rules in a policy.
func policyFigure(t testing.TB, name string, rules []ruleset.Rule, p *classifier.Policy, target float64) *figure {
	table, err := classifier.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	views := make([]packet.View, packets)
	for i, h := range ruleset.Traffic(rand.New(rand.NewPCG(3, 4)), rules, packets) {
		views[i] = viewOf(h)
	}
	c := table.Report()
	t.Logf("%-28s %7d boxes %6d nodes, worst path %d entries %d nodes, %d bytes a rule", name, c.Boxes, c.Nodes, c.Compared, c.Depth, c.Bytes/len(rules))
	at := 0
	return &figure{name: "lookup, " + name, n: packets, target: target, run: func(n int) {
		for range n {
			table.Lookup(&views[at])
			at = (at + 1) & (packets - 1)
		}
	}}
}

func compileFigure(t testing.TB, name string, rules []ruleset.Rule, target float64) *figure {
	p := policyOf(rules)
	return &figure{name: "compile, " + name, n: 1, target: target, like: []string{"L2", "seal"}, run: func(n int) {
		for range n {
			if _, err := classifier.Compile(p); err != nil {
				t.Fatal(err)
			}
		}
	}}
}

// memoryOf says what a policy of a router's shape takes: its table, for each
// rule, and all that compiling it allocates, in bytes.
func memoryOf(t testing.TB, rules int) (perRule, allocated int) {
	p := policyOf(ruleset.Router(rand.New(rand.NewPCG(1, 2)), rules))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	table, err := classifier.Compile(p)
	runtime.ReadMemStats(&after)
	if err != nil {
		t.Fatal(err)
	}
	return table.Report().Bytes / rules, int(after.TotalAlloc - before.TotalAlloc)
}

// learnFigure learns addresses, 64,000 at once, again and again.
func learnFigure() *figure {
	tags, i := new(classifier.Tags), uint32(0)
	return &figure{name: "learn an address", n: 200_000, target: 1000, like: []string{"L2"}, run: func(n int) {
		for range n {
			i++
			tags.Set(packet.Addr4(i*2654435761>>16), i)
		}
	}}
}

// policyOf returns a policy of the rules of a set, with eight exits.
func policyOf(rules []ruleset.Rule) *classifier.Policy {
	p := &classifier.Policy{Exits: []classifier.Exit{{Name: "direct"}, {Name: "drop", Kind: classifier.KindDrop}, {Name: "reject", Kind: classifier.KindReject}}}
	for range 8 {
		p.Exits = append(p.Exits, classifier.Exit{Name: "tunnel", Kind: classifier.KindTunnel})
	}
	for i, r := range rules {
		e := classifier.Entry{Exit: classifier.FirstNamed + classifier.ExitID(i%8)}
		if r.Dst.Bits() > 0 {
			e.To = []netip.Prefix{r.Dst}
		}
		if r.Src.Bits() > 0 {
			e.From = []netip.Prefix{r.Src}
		}
		if r.Proto >= 0 {
			e.Protos = []uint8{uint8(r.Proto)}
		}
		if r.DSCP >= 0 {
			e.DSCP = []uint8{uint8(r.DSCP)}
		}
		if r.DstPorts != ruleset.AnyPort {
			e.Ports = []classifier.PortRange{classifier.PortRange(r.DstPorts)}
		}
		if r.SrcPorts != ruleset.AnyPort {
			e.FromPorts = []classifier.PortRange{classifier.PortRange(r.SrcPorts)}
		}
		p.Entries = append(p.Entries, e)
	}
	return p
}

// viewOf returns what Decode makes of a packet with header h.
func viewOf(h ruleset.Header) packet.View {
	v := packet.View{Version: 4, Src: packet.AddrFrom(h.Src), Dst: packet.AddrFrom(h.Dst), Proto: h.Proto, TOS: h.DSCP << 2}
	if h.Dst.Is6() {
		v.Version = 6
	}
	if h.Proto == packet.TCP || h.Proto == packet.UDP {
		v.SrcPort, v.DstPort, v.HasPorts = h.SrcPort, h.DstPort, true
	}
	return v
}
