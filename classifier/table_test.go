package classifier

import (
	"slices"
	"testing"
)

// TestTableAgainstOracle draws policies and packets, and wants Lookup and
// Explain to say what a walk through the policy says.
func TestTableAgainstOracle(t *testing.T) {
	r := newRandom(t)
	policies, packets := 400, 1000
	if testing.Short() {
		policies = 50
	}
	for range policies {
		w := newWorld(r)
		p := w.policy(r.IntN(40))
		if r.IntN(2) == 0 {
			p.Sort()
		}
		table, err := Compile(p)
		if err != nil {
			t.Fatal(err)
		}
		for k := range packets {
			v := w.packet()
			want := oracle(p, &v)
			if got := table.Lookup(&v); got != want {
				t.Fatalf("%+v:\n got %+v\nwant %+v\nof %+v", v, got, want, p.Entries)
			}
			if k%10 > 0 {
				continue
			}
			x := table.Explain(&v)
			if x.Verdict != want {
				t.Fatalf("Explain(%+v) = %+v, want %+v", v, x.Verdict, want)
			}
			if lost := oracleLost(p, &v, want.Entry); !slices.Equal(x.Considered, lost) {
				t.Fatalf("Explain(%+v) lost\n got %v\nwant %v\nof %+v", v, x.Considered, lost, p.Entries)
			}
		}
	}
}
