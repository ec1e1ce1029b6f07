package classifier

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"turnout/classifier/packet"
)

var protoNumbers = map[string][]uint8{
	"any": nil, "tcp": {packet.TCP}, "udp": {packet.UDP}, "icmp": {packet.ICMP}, "tcp+udp": {packet.TCP, packet.UDP},
}

// parse makes an entry of "route 10.0.0.0/8:tcp:22,80-90 name"; the protocol
// and the ports may be left out, and the kind may also be "allowed", "rule" or
// "default".
func parse(t testing.TB, line string, exit ExitID) Entry {
	t.Helper()
	f := strings.Fields(line)
	e := Entry{Text: line, Exit: exit, By: map[string]By{"rule": ByRule, "route": ByRoute, "allowed": ByAllowedIPs, "default": ByDefault}[f[0]]}
	if len(f) == 1 {
		return e
	}
	part := strings.Split(f[1], "|")
	e.To = []netip.Prefix{netip.MustParsePrefix(part[0])}
	if len(part) > 1 {
		e.Protos = protoNumbers[part[1]]
	}
	if len(part) > 2 {
		for _, r := range strings.Split(part[2], ",") {
			lo, hi, ok := strings.Cut(r, "-")
			if !ok {
				hi = lo
			}
			l, err := strconv.Atoi(lo)
			if err != nil {
				t.Fatal(err)
			}
			h, err := strconv.Atoi(hi)
			if err != nil {
				t.Fatal(err)
			}
			e.Ports = append(e.Ports, PortRange{uint16(l), uint16(h)})
		}
	}
	return e
}

func TestSort(t *testing.T) {
	listed := strings.Split(`default
allowed 10.0.0.0/8
route 0.0.0.0/0
route 0.0.0.0/0|any|53
route 0.0.0.0/0|tcp
route 0.0.0.0/0|tcp+udp|22
route 0.0.0.0/0|tcp|80-90
route 0.0.0.0/0|tcp|22
route 0.0.0.0/0|udp|53
route 0.0.0.0/0|tcp|1,2,3-5,4-9
route 0.0.0.0/0|tcp|443,443,443
rule 0.0.0.0/0
route 10.0.0.0/8
route 10.1.0.0/16|any
route 10.1.0.0/16|icmp
rule 10.0.0.0/8
allowed 10.1.0.0/16
allowed 10.2.0.0/16
route 10.1.0.0/16`, "\n")
	want := strings.Split(`rule 0.0.0.0/0
rule 10.0.0.0/8
route 10.1.0.0/16|icmp
route 10.1.0.0/16|any
route 10.1.0.0/16
route 10.0.0.0/8
route 0.0.0.0/0|tcp|22
route 0.0.0.0/0|udp|53
route 0.0.0.0/0|tcp|443,443,443
route 0.0.0.0/0|tcp|1,2,3-5,4-9
route 0.0.0.0/0|tcp|80-90
route 0.0.0.0/0|tcp
route 0.0.0.0/0|any|53
route 0.0.0.0/0|tcp+udp|22
route 0.0.0.0/0
allowed 10.1.0.0/16
allowed 10.2.0.0/16
allowed 10.0.0.0/8
default`, "\n")
	var p Policy
	for _, line := range listed {
		p.Entries = append(p.Entries, parse(t, line, Direct))
	}
	p.Sort()
	var got []string
	for _, e := range p.Entries {
		got = append(got, e.Text)
	}
	if !slices.Equal(got, want) {
		t.Errorf("sorted:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	p.Sort()
	for i, e := range p.Entries {
		if e.Text != want[i] {
			t.Fatalf("sorting twice moved %q", e.Text)
		}
	}
}

// TestMostSpecificWins is the order of design in packets: what a person means
// by lines that overlap.
func TestMostSpecificWins(t *testing.T) {
	var p Policy
	names := []string{"direct", "drop", "reject"}
	for _, line := range []string{
		"route 0.0.0.0/0 all", "route 0.0.0.0/0|tcp|22,3389 admin", "route 0.0.0.0/0|any|27000-27100 games",
		"route 10.0.0.0/8 office", "route 10.9.0.0/16|udp voice", "allowed 203.0.113.0/24 site", "rule 198.51.100.0/24|tcp|443 pinned",
	} {
		names = append(names, strings.Fields(line)[2])
		p.Entries = append(p.Entries, parse(t, line, ExitID(len(names)-1)))
	}
	for _, n := range names {
		p.Exits = append(p.Exits, Exit{Name: n, Kind: KindTunnel})
	}
	p.Sort()
	table, err := Compile(&p)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		to    string
		proto uint8
		port  uint16
		want  string
	}{
		{"8.8.8.8", packet.TCP, 22, "admin"},
		{"8.8.8.8", packet.UDP, 22, "all"},
		{"8.8.8.8", packet.TCP, 443, "all"},
		{"8.8.8.8", packet.UDP, 27050, "games"},
		{"8.8.8.8", packet.TCP, 27100, "games"},
		{"8.8.8.8", packet.TCP, 27101, "all"},
		{"8.8.8.8", packet.ICMP, 0, "all"},
		{"10.1.1.1", packet.TCP, 22, "office"},
		{"10.9.1.1", packet.UDP, 5060, "voice"},
		{"10.9.1.1", packet.TCP, 5060, "office"},
		{"203.0.113.5", packet.TCP, 443, "all"}, // any Route comes before AllowedIPs
		{"198.51.100.1", packet.TCP, 443, "pinned"},
		{"198.51.100.1", packet.TCP, 444, "all"},
	} {
		v := packet.View{Version: 4, Src: packet.Addr4(0xc0a84d05), Dst: packet.AddrFrom(netip.MustParseAddr(row.to)), Proto: row.proto, SrcPort: 40000, DstPort: row.port, HasPorts: row.port != 0}
		if got := table.Lookup(&v); names[got.Exit] != row.want {
			t.Errorf("%s %d:%d goes to %s, want %s", row.to, row.proto, row.port, names[got.Exit], row.want)
		}
	}
}
