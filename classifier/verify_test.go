package classifier

import (
	"strings"
	"testing"
)

// TestVerify passes every table that is right, and finds one that is not.
func TestVerify(t *testing.T) {
	r := newRandom(t)
	for range 60 {
		w := newWorld(r)
		p := w.policy(1 + r.IntN(40))
		tags := new(Tags)
		w.learn(tags)
		table, err := CompileTags(p, tags)
		if err != nil {
			t.Fatal(err)
		}
		if err := table.Verify(300, r.Uint64()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestWinnersAgainstOracle holds the naive side of Verify to the oracle too.
func TestWinnersAgainstOracle(t *testing.T) {
	r := newRandom(t)
	for range 60 {
		w := newWorld(r)
		p := w.policy(r.IntN(40))
		tags := new(Tags)
		known := w.learn(tags)
		views := corners(p, 200, r.Uint64())
		for range 100 {
			views = append(views, w.packet())
		}
		for i, won := range p.winners(views, tags) {
			want := oracle(p, known, &views[i]).Entry
			if won == nothing {
				won = -1
			}
			if won != want {
				t.Fatalf("%+v: entry %d, want %d", views[i], won, want)
			}
		}
	}
}

func TestVerifyFindsAWrongTable(t *testing.T) {
	p, _ := routerSet(newRandom(t), 100, 0)
	table := mustCompile(t, p)
	wrong := *table
	wrong.policy, _ = routerSet(newRandom(t), 100, 0)
	wrong.policy.Entries[3], wrong.policy.Entries[99] = wrong.policy.Entries[99], wrong.policy.Entries[3]
	if err := wrong.Verify(2000, 1); err == nil || !strings.Contains(err.Error(), "seed 1") {
		t.Errorf("%v", err)
	}
}
