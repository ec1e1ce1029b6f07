package classifier

import (
	"net/netip"
	"strings"
	"testing"

	"turnout/classifier/packet"
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

// TestWinnersTellFamiliesApart: the numbers of IPv4 addresses are among those
// of ::/1, and no IPv4 address is in it.
func TestWinnersTellFamiliesApart(t *testing.T) {
	half := netip.MustParsePrefix("::/1")
	p := &Policy{Exits: three, Sets: []Set{{Prefixes: []netip.Prefix{half}}}, Entries: []Entry{
		{Exit: Drop, ToSets: []int{0}}, {Exit: Drop, FromSets: []int{0}},
		{Exit: Reject, To: []netip.Prefix{half}}, {Exit: Direct, NotToSets: []int{0}},
	}}
	table := mustCompile(t, p)
	v := view4("8.8.8.8", packet.TCP, 443, true)
	if won := p.winners([]packet.View{*v}, nil)[0]; won != 3 {
		t.Errorf("entry %d", won)
	}
	if got := table.Lookup(v); got.Entry != 3 {
		t.Errorf("%+v", got)
	}
	if err := table.Verify(500, 1); err != nil {
		t.Error(err)
	}
}
