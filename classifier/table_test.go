package classifier

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"turnout/classifier/packet"
)

// three is what every policy begins with.
var three = []Exit{{Name: "direct"}, {Name: "drop", Kind: KindDrop}, {Name: "reject", Kind: KindReject}}

func view4(dst string, proto uint8, port uint16, hasPorts bool) *packet.View {
	return &packet.View{
		Version: 4, Src: packet.Addr4(0xc0a84d05), Dst: packet.AddrFrom(netip.MustParseAddr(dst)),
		Proto: proto, SrcPort: 40000, DstPort: port, HasPorts: hasPorts,
	}
}

func mustCompile(t testing.TB, p *Policy) *Table {
	t.Helper()
	table, err := Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestEmptyPolicyRejects(t *testing.T) {
	table := mustCompile(t, &Policy{Exits: three})
	for _, v := range []*packet.View{view4("8.8.8.8", packet.TCP, 80, true), {Version: 6, Src: packet.Addr{Hi: 1}, Dst: packet.Addr{Hi: 2}}} {
		if got, want := table.Lookup(v), (Verdict{Exit: Reject, By: ByDefault, Entry: -1}); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
		if x := table.Explain(v); len(x.Considered) != 0 || x.Entry != -1 {
			t.Errorf("%+v", x)
		}
	}
}

// TestNoPortsIsNotPortZero: a packet without ports matches no line that names
// ports, port 0 among them.
func TestNoPortsIsNotPortZero(t *testing.T) {
	p := &Policy{Exits: three, Entries: []Entry{
		{Exit: Drop, Ports: []PortRange{{0, 65535}}},
		{Exit: Reject, FromPorts: []PortRange{{0, 0}}},
		{Exit: Direct},
	}}
	table := mustCompile(t, p)
	for _, row := range []struct {
		v    *packet.View
		want int32
	}{
		{view4("8.8.8.8", packet.TCP, 0, true), 0},
		{view4("8.8.8.8", packet.TCP, 0, false), 2}, // a later fragment
		{view4("8.8.8.8", packet.ICMP, 7, false), 2},
	} {
		if got := table.Lookup(row.v); got.Entry != row.want {
			t.Errorf("%+v: entry %d, want %d", row.v, got.Entry, row.want)
		}
	}
}

func TestNotCovered(t *testing.T) {
	list := func(s ...string) []netip.Prefix {
		out := []netip.Prefix{}
		for _, p := range s {
			out = append(out, netip.MustParsePrefix(p))
		}
		return out
	}
	for _, row := range []struct {
		covers []netip.Prefix
		yes    []string
		no     []string
	}{
		{nil, []string{"8.8.8.8"}, nil},
		{list(), nil, []string{"8.8.8.8"}},
		{list("10.0.0.0/8", "10.1.0.0/16"), []string{"10.0.0.0", "10.255.255.255", "10.1.2.3"}, []string{"9.255.255.255", "11.0.0.0"}},
		{list("0.0.0.0/0"), []string{"8.8.8.8", "255.0.0.1"}, nil},
		{list("::/0"), nil, []string{"8.8.8.8"}},
		{list("255.255.255.255/32"), []string{"255.255.255.255"}, []string{"255.255.255.254"}},
	} {
		p := &Policy{Exits: append(slices.Clone(three), Exit{Name: "t", Kind: KindTunnel, Covers: row.covers}), Entries: []Entry{{By: ByRule, Exit: 3}}}
		table := mustCompile(t, p)
		for _, a := range row.yes {
			if got, want := table.Lookup(view4(a, 6, 80, true)), (Verdict{Exit: 3}); got != want {
				t.Errorf("%v covers %s: %+v", row.covers, a, got)
			}
		}
		for _, a := range row.no {
			if got, want := table.Lookup(view4(a, 6, 80, true)), (Verdict{Exit: Reject, NotCovered: true}); got != want {
				t.Errorf("%v does not cover %s: %+v", row.covers, a, got)
			}
		}
	}
}

func TestCompileRefuses(t *testing.T) {
	var many []PortRange
	var tags []uint32
	var values []uint8
	for i := range 1000 {
		tags = append(tags, uint32(i))
		if i < 8 {
			many = append(many, PortRange{uint16(i * 2), uint16(i * 2)})
		}
		if i < 63 {
			values = append(values, uint8(i))
		}
	}
	for _, row := range []struct {
		e    Entry
		want string
	}{
		{Entry{Exit: 3}, "exit number 3 of 3"},
		{Entry{To: []netip.Prefix{{}}}, "not valid"},
		{Entry{From: []netip.Prefix{netip.MustParsePrefix("::ffff:10.0.0.0/104")}}, "write it as IPv4"},
		{Entry{Ports: []PortRange{{2, 1}}}, "runs backwards"},
		{Entry{FromPorts: []PortRange{{9, 1}}}, "runs backwards"},
		{Entry{DSCP: []uint8{64}}, "0 to 63"},
		{Entry{By: 4}, "kind of entry"},
		{Entry{Ports: many, FromPorts: many, DSCP: values, Tags: tags}, "too many combinations"},
		{Entry{NotTo: []netip.Prefix{{}}}, "not valid"},
		{Entry{NotFrom: []netip.Prefix{{}}}, "not valid"},
		{Entry{ToSets: []int{0}}, "set number 0 of 0"},
		{Entry{NotFromSets: []int{-1}}, "set number -1 of 0"},
	} {
		row.e.Pos = Pos{"policy.toml", 7}
		_, err := Compile(&Policy{Exits: three, Entries: []Entry{row.e}})
		if err == nil || !strings.HasPrefix(err.Error(), "policy.toml:7: ") || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%v, want %q", err, row.want)
		}
	}
	_, err := Compile(&Policy{Exits: append(slices.Clone(three), Exit{Name: "t", Covers: []netip.Prefix{{}}})})
	if err == nil || !strings.Contains(err.Error(), `exit "t"`) {
		t.Errorf("%v", err)
	}
	_, err = Compile(&Policy{Exits: three, Sets: []Set{{"lan", Pos{"s.txt", 3}, []netip.Prefix{{}}}}})
	if err == nil || !strings.Contains(err.Error(), `s.txt:3: set "lan"`) {
		t.Errorf("%v", err)
	}
}

// TestManyLookupsAtOnce reads one table from several goroutines; the race
// detector watches.
func TestManyLookupsAtOnce(t *testing.T) {
	r := newRandom(t)
	w := newWorld(r)
	p := w.policy(40)
	tags := new(Tags)
	known := w.learn(tags)
	table, err := CompileTags(p, tags)
	if err != nil {
		t.Fatal(err)
	}
	views := make([]packet.View, 500)
	want := make([]Verdict, len(views))
	for i := range views {
		views[i] = w.packet()
		want[i] = oracle(p, known, &views[i])
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range views {
				v := views[i]
				if got := table.Lookup(&v); got != want[i] || table.Explain(&v).Verdict != got {
					t.Errorf("%+v: %+v, want %+v", v, got, want[i])
					return
				}
			}
		})
	}
	wg.Wait()
}
