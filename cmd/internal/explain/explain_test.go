package explain

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"turnout/classifier"
	"turnout/classifier/packet"
	"turnout/cmd/internal/control"
)

var lan = []netip.Prefix{netip.MustParsePrefix("192.168.77.1/24")}

// Exits of the test's policy.
const (
	sweden classifier.ExitID = classifier.FirstNamed + iota
	office
	us1
	us2
	stream
	outer
)

func prefixes(list ...string) (out []netip.Prefix) {
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// policy has an entry of each kind; the line number is the index plus one.
func policy(t *testing.T) *classifier.Table {
	t.Helper()
	p := &classifier.Policy{
		Exits: []classifier.Exit{
			{Name: "direct", Kind: classifier.KindDirect},
			{Name: "drop", Kind: classifier.KindDrop},
			{Name: "reject", Kind: classifier.KindReject},
			{Name: "sweden", Kind: classifier.KindTunnel},
			{Name: "office", Kind: classifier.KindTunnel, Covers: prefixes("10.0.0.0/8")},
			{Name: "us1", Kind: classifier.KindTunnel},
			{Name: "us2", Kind: classifier.KindTunnel},
			{Name: "stream", Kind: classifier.KindGroup, Members: []classifier.ExitID{us1, us2}},
			{Name: "outer", Kind: classifier.KindGroup, Members: []classifier.ExitID{stream, sweden}},
		},
		Entries: []classifier.Entry{
			{By: classifier.ByRule, Exit: classifier.Drop, Name: "printer", From: prefixes("192.168.77.9/32")},
			{By: classifier.ByRule, Exit: office, Name: "ssh", To: prefixes("10.0.0.0/8"), Protos: []uint8{6}, Ports: []classifier.PortRange{{Lo: 22, Hi: 22}}},
			{By: classifier.ByRule, Exit: classifier.Direct, Protos: []uint8{17}, FromPorts: []classifier.PortRange{{Lo: 5000, Hi: 5010}}},
			{By: classifier.ByRule, Exit: outer, DSCP: []uint8{46}},
			{By: classifier.ByRule, Exit: classifier.Reject, To: prefixes("203.0.113.0/24")},
			{By: classifier.ByRoute, Exit: office, To: prefixes("8.8.4.0/24")},
			{By: classifier.ByRoute, Exit: stream, To: prefixes("8.8.0.0/16")},
			{By: classifier.ByAllowedIPs, Exit: office, To: prefixes("10.0.0.0/8")},
			{By: classifier.ByDefault, Exit: sweden, To: prefixes("0.0.0.0/1")},
		},
	}
	for i := range p.Entries {
		p.Entries[i].Text, p.Entries[i].Pos = fmt.Sprintf("entry %d", i+1), classifier.Pos{File: "t.toml", Line: i + 1}
	}
	table, err := classifier.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestAnswer(t *testing.T) {
	table := policy(t)
	addr := netip.MustParseAddr
	for _, c := range []struct {
		q    control.Query
		want string // exit tunnel group by line reason from depends
	}{
		{control.Query{To: addr("8.8.8.8"), Proto: 17, Port: 53}, "tunnel us1 stream route 7 - 192.168.77.1 [1 3]"},
		{control.Query{To: addr("8.8.8.8"), Proto: 17, Port: 53, FromPort: 5001}, "direct - - rule 3 - 192.168.77.1 [1]"},
		{control.Query{To: addr("8.8.8.8"), Proto: 1}, "tunnel us1 stream route 7 - 192.168.77.1 [1]"},
		{control.Query{To: addr("8.8.8.8"), Proto: 1, From: addr("192.168.77.9")}, "drop - - rule 1 - 192.168.77.9 []"},
		{control.Query{To: addr("::ffff:8.8.8.8"), Proto: 1, From: addr("::ffff:192.168.77.9")}, "drop - - rule 1 - 192.168.77.9 []"},
		{control.Query{To: addr("10.1.2.3"), Proto: 6, Port: 22, From: addr("192.168.77.5")}, "tunnel office - rule 2 - 192.168.77.5 []"},
		{control.Query{To: addr("10.1.2.3"), Proto: 6, Port: 23, From: addr("192.168.77.5")}, "tunnel office - allowed-ips 8 - 192.168.77.5 []"},
		{control.Query{To: addr("10.1.2.3"), Proto: 6, Port: 23, DSCP: 46}, "tunnel us1 outer rule 4 - 192.168.77.1 [1]"},
		{control.Query{To: addr("203.0.113.7"), Proto: 47, From: addr("192.168.77.5")}, "reject - - rule 5 - 192.168.77.5 []"},
		{control.Query{To: addr("8.8.4.4"), Proto: 1, From: addr("192.168.77.5")}, "reject - - route 6 not-covered 192.168.77.5 []"},
		{control.Query{To: addr("9.9.9.9"), Proto: 6, Port: 80, From: addr("192.168.77.5")}, "tunnel sweden - default 9 - 192.168.77.5 []"},
		{control.Query{To: addr("200.0.0.1"), Proto: 6, Port: 80, From: addr("192.168.77.5")}, "reject - - default 0 no-exit 192.168.77.5 []"},
		{control.Query{To: addr("2001:db8::1"), Proto: 1}, "reject - - default 0 ipv6-refused fd00::2 []"},
	} {
		a := Source{Table: table, LAN: lan}.Explain(c.q)
		if got := short(a); got != c.want {
			t.Errorf("%+v:\n got %s\nwant %s", c.q, got, c.want)
		}
		won := 0
		if a.Match != nil {
			won = 1
		}
		if n := len(table.Policy().Entries); len(a.Considered)+won != n {
			t.Errorf("%+v: %d entries considered and %d won, of %d", c.q, len(a.Considered), won, n)
		}
	}
}

func short(a control.Answer) string {
	dash := func(s string) string {
		if s == "" {
			return "-"
		}
		return s
	}
	n := 0
	if a.Match != nil {
		n = a.Match.Line
	}
	depends := []int{}
	for _, l := range a.Depends {
		depends = append(depends, l.Line)
	}
	return fmt.Sprint(strings.Join([]string{a.Exit, dash(a.Tunnel), dash(a.Group), a.By}, " "), " ", n, " ", dash(a.Reason), " ", a.From, " ", depends)
}

func TestLiveMember(t *testing.T) {
	live := func(g classifier.ExitID) classifier.ExitID {
		return map[classifier.ExitID]classifier.ExitID{stream: us2, outer: stream}[g]
	}
	a := Source{Table: policy(t), LAN: lan, Live: live}.Explain(control.Query{To: netip.MustParseAddr("9.9.9.9"), Proto: 1, DSCP: 46})
	if a.Tunnel != "us2" || a.Group != "outer" {
		t.Errorf("tunnel %q of group %q; want us2 of outer", a.Tunnel, a.Group)
	}
}

func TestLostTells(t *testing.T) {
	a := Source{Table: policy(t), LAN: lan}.Explain(control.Query{To: netip.MustParseAddr("10.1.2.3"), Proto: 6, Port: 23})
	want := []string{"source", "ports", "protocol", "dscp", "destination", "destination", "destination", "later"}
	for i, l := range a.Considered {
		if i >= len(want) || l.Lost != want[i] {
			t.Errorf("considered %d: %+v, want all of %v", i, l, want)
		}
	}
	if l := a.Considered[1]; l.Tunnel != "office" || l.Match.Name != "ssh" || l.By != "rule" || l.Match.Line != 2 {
		t.Errorf("the rule that lost is told as %+v", l)
	}
}

func TestStandIn(t *testing.T) {
	for _, c := range []struct{ lan, to, want string }{
		{"192.168.77.1/24", "8.8.8.8", "192.168.77.1"},
		{"10.0.0.4/31", "8.8.8.8", "10.0.0.4"},
		{"10.0.0.4/32", "8.8.8.8", "10.0.0.4"},
		{"2001:db8:5::/64", "8.8.8.8", "192.168.1.2"},
		{"2001:db8:5::/64", "2001:db8::1", "2001:db8:5::1"},
	} {
		s := Source{LAN: prefixes(c.lan)}
		q := s.complete(control.Query{To: netip.MustParseAddr(c.to), Proto: packet.TCP, Port: 1})
		if q.From.String() != c.want || q.FromPort != standInPort {
			t.Errorf("LAN %s to %s: from %v port %d, want %s", c.lan, c.to, q.From, q.FromPort, c.want)
		}
	}
}

func TestNotes(t *testing.T) {
	table := policy(t)
	for _, c := range []struct{ from, to, want string }{
		{"192.168.77.5", "8.8.8.8", ""},
		{"192.168.77.5", "192.168.77.6", "in the LAN"},
		{"10.0.0.1", "8.8.8.8", "not a LAN address"},
	} {
		a := Source{Table: table, LAN: lan}.Explain(control.Query{To: netip.MustParseAddr(c.to), From: netip.MustParseAddr(c.from), Proto: 1})
		if (a.Note == "") != (c.want == "") || !strings.Contains(a.Note, c.want) {
			t.Errorf("%s to %s: %q; want %q", c.from, c.to, a.Note, c.want)
		}
	}
}
