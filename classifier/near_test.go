package classifier

import (
	"slices"
	"testing"
)

// TestNear wants of Near what Explain says, less the losers by destination and
// those beyond the limit.
func TestNear(t *testing.T) {
	r := newRandom(t)
	for range 300 {
		w := newWorld(r)
		p := w.policy(r.IntN(60))
		tags := new(Tags)
		w.learn(tags)
		table, err := CompileTags(p, tags)
		if err != nil {
			t.Fatal(err)
		}
		n := NewNear(table)
		for range 200 {
			v, most := w.packet(), r.IntN(25)
			full := table.Explain(&v)
			want := slices.DeleteFunc(slices.Clone(full.Considered), func(l Lost) bool { return l.Field == "destination" })
			want = want[:min(most, len(want))]
			got, more := n.Explain(&v, most)
			if got.Verdict != full.Verdict || !slices.Equal(got.Considered, want) || more != len(full.Considered)-len(want) {
				t.Fatalf("%+v, at most %d:\n got %+v and %d more\nwant %+v and %d more\nof %+v", v, most, got, more, want, len(full.Considered)-len(want), p.Entries)
			}
		}
	}
}
