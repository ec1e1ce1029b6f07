package explain

import (
	"fmt"
	"net/netip"
	"reflect"
	"testing"

	"turnout/classifier"
	"turnout/cmd/internal/control"
)

// TestExplainAll answers as Explain does, with the near misses only once the
// policy is long.
func TestExplainAll(t *testing.T) {
	for _, n := range []int{3, Near + 1, 500} {
		p := &classifier.Policy{Exits: []classifier.Exit{{Name: "direct"}, {Name: "drop", Kind: classifier.KindDrop}, {Name: "reject", Kind: classifier.KindReject}}}
		for i := range n - 1 {
			e := classifier.Entry{Exit: classifier.Drop, Text: fmt.Sprint(i), To: prefixes(fmt.Sprintf("10.0.%d.0/24", i%10)), Protos: []uint8{6}}
			e.Ports = []classifier.PortRange{{Lo: uint16(1 + i), Hi: uint16(1 + i)}}
			p.Entries = append(p.Entries, e)
		}
		p.Entries = append(p.Entries, classifier.Entry{By: classifier.ByDefault, Text: "default"})
		table, err := classifier.Compile(p)
		if err != nil {
			t.Fatal(err)
		}
		s := Source{Table: table, LAN: lan, Near: classifier.NewNear(table)}
		q := control.Query{To: netip.MustParseAddr("10.0.1.7"), From: netip.MustParseAddr("192.168.77.5"), FromPort: 9, Proto: 6, Port: 12}
		one := s.Explain(q)
		if all := s.ExplainAll(control.Batch{Queries: []control.Query{q}, All: true}); !reflect.DeepEqual(all[0], one) {
			t.Errorf("%d lines: %+v, want %+v", n, all[0], one)
		}
		got := s.ExplainAll(control.Batch{Queries: []control.Query{q, q}})[1]
		want := one.Considered
		if n > Near+1 {
			want = nil
			for _, l := range one.Considered {
				if l.Lost != "destination" && len(want) < Near {
					want = append(want, l)
				}
			}
		}
		if !reflect.DeepEqual(got.Considered, want) || got.More != n-1-len(want) || got.Exit != one.Exit {
			t.Errorf("%d lines: %d lost and %d more, want %d", n, len(got.Considered), got.More, len(want))
		}
	}
}

// TestDependsOnSets: what a line says of sources by sets, and by exclusion, is
// what another source could change.
func TestDependsOnSets(t *testing.T) {
	p := &classifier.Policy{
		Exits: []classifier.Exit{{Name: "direct"}, {Name: "drop", Kind: classifier.KindDrop}, {Name: "reject", Kind: classifier.KindReject}},
		Sets:  []classifier.Set{{Name: "guests", Prefixes: prefixes("192.168.77.64/26")}, {Name: "own", Prefixes: prefixes("192.168.77.0/27")}},
		Entries: []classifier.Entry{
			{Exit: classifier.Drop, FromSets: []int{0}, To: prefixes("9.9.9.9/32")},
			{Exit: classifier.Drop, NotFromSets: []int{1}},
			{Exit: classifier.Drop, NotFrom: prefixes("192.168.77.0/28"), To: prefixes("8.8.8.8/32")},
			{By: classifier.ByDefault},
		},
	}
	for i := range p.Entries {
		p.Entries[i].Pos.Line = i + 1
	}
	table, err := classifier.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	for to, want := range map[string]string{"9.9.9.9": "direct [1 2]", "8.8.8.8": "direct [2 3]", "1.1.1.1": "direct [2]"} {
		a := Source{Table: table, LAN: lan}.Explain(control.Query{To: netip.MustParseAddr(to), Proto: 1})
		var lines []int
		for _, l := range a.Depends {
			lines = append(lines, l.Line)
		}
		if got := fmt.Sprint(a.Exit, " ", lines); got != want {
			t.Errorf("to %s: %s, want %s", to, got, want)
		}
	}
}
