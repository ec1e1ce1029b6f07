package lint

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"turnout/classifier"
	"turnout/classifier/packet"
)

// policy makes one of lines such as
//
//	rule via to=10.0.0.0/8,@set not_to=… from=… not_from=… proto=tcp,udp ports=22,80-90 from_ports=… dscp=46
//
// with the sets @a of two networks, @b of one of them, and @none of nothing.
func policy(t testing.TB, lines ...string) *classifier.Policy {
	t.Helper()
	p := &classifier.Policy{
		Exits: []classifier.Exit{{Name: "direct"}, {Name: "drop"}, {Name: "reject"}, {Name: "x"}, {Name: "y"}},
		Sets: []classifier.Set{
			{Name: "a", Prefixes: prefixes("10.1.0.0/16", "203.0.113.0/24")},
			{Name: "b", Prefixes: prefixes("10.1.5.0/24")},
			{Name: "none"},
		},
	}
	for n, line := range lines {
		words := strings.Fields(line)
		e := classifier.Entry{Pos: classifier.Pos{File: "t.conf", Line: n + 1}, Text: "Route = " + line}
		e.By = map[string]classifier.By{"rule": classifier.ByRule, "route": classifier.ByRoute, "allowed": classifier.ByAllowedIPs, "default": classifier.ByDefault}[words[0]]
		for i, x := range p.Exits {
			if x.Name == words[1] {
				e.Exit = classifier.ExitID(i)
			}
		}
		for _, w := range words[2:] {
			key, list, _ := strings.Cut(w, "=")
			set(t, p, &e, key, strings.Split(list, ","))
		}
		p.Entries = append(p.Entries, e)
	}
	return p
}

func set(t testing.TB, p *classifier.Policy, e *classifier.Entry, key string, list []string) {
	for _, item := range list {
		switch key {
		case "to":
			addresses(p, item, &e.To, &e.ToSets)
		case "not_to":
			addresses(p, item, &e.NotTo, &e.NotToSets)
		case "from":
			addresses(p, item, &e.From, &e.FromSets)
		case "not_from":
			addresses(p, item, &e.NotFrom, &e.NotFromSets)
		case "proto":
			e.Protos = append(e.Protos, map[string]uint8{"tcp": 6, "udp": 17, "icmp": 1}[item])
		case "ports":
			e.Ports = append(e.Ports, ports(t, item))
		case "from_ports":
			e.FromPorts = append(e.FromPorts, ports(t, item))
		case "dscp":
			n, _ := strconv.Atoi(item)
			e.DSCP = append(e.DSCP, uint8(n))
		default:
			t.Fatalf("no key %q", key)
		}
	}
}

func addresses(p *classifier.Policy, item string, list *[]netip.Prefix, sets *[]int) {
	for i := range p.Sets {
		if item == "@"+p.Sets[i].Name {
			*sets = append(*sets, i)
			return
		}
	}
	*list = append(*list, netip.MustParsePrefix(item))
}

func ports(t testing.TB, item string) classifier.PortRange {
	lo, hi, ok := strings.Cut(item, "-")
	if !ok {
		hi = lo
	}
	a, err := strconv.Atoi(lo)
	b, err2 := strconv.Atoi(hi)
	if err != nil || err2 != nil {
		t.Fatal(item)
	}
	return classifier.PortRange{Lo: uint16(a), Hi: uint16(b)}
}

func prefixes(list ...string) (out []netip.Prefix) {
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func TestFindings(t *testing.T) {
	for _, c := range []struct {
		lines string
		want  string // "entry other kind", the entries from 1
	}{
		{"rule x to=10.0.0.0/8; rule y to=10.1.0.0/16", "2 1 never"},
		{"rule x to=10.1.0.0/16; rule y to=10.0.0.0/8", ""}, // an exception
		{"rule x to=10.0.0.0/8; rule x to=10.0.0.0/8", "2 1 never"},
		{"rule x; rule y to=10.0.0.0/8 proto=tcp ports=22", "2 1 never"},
		{"rule x to=0.0.0.0/0; rule y", ""}, // IPv6 is left
		{"rule x to=0.0.0.0/0,::/0; rule y", "2 1 never"},
		{"rule x proto=tcp; rule y proto=tcp ports=1-65535", "2 1 never"},
		{"rule x proto=tcp ports=0-65535; rule y proto=tcp", ""}, // later fragments have no ports
		{"rule x proto=tcp ports=20-30,40; rule y to=10.0.0.0/8 proto=tcp ports=22-25,40", "2 1 never"},
		{"rule x dscp=1,2; rule y dscp=2", "2 1 never"},
		{"rule x from=10.0.0.0/8; rule y from=10.1.0.0/16 to=8.0.0.0/8", "2 1 never"},
		{"route x to=10.0.0.0/8 proto=tcp; route x to=10.0.0.0/8 proto=tcp", "2 1 never"},
		{"rule x; allowed y to=10.0.0.0/8; default y", ""},
		// together
		{"rule x to=10.0.0.0/9; rule y to=10.128.0.0/9; rule x to=10.0.0.0/8", "3 1 never"},
		{"rule x to=10.0.0.0/9; rule y to=10.128.0.0/10; rule x to=10.0.0.0/8", ""},
		{"rule x proto=tcp; rule y proto=udp; rule x proto=tcp,udp ports=53", "3 1 never"},
		{"rule x ports=0-1023 proto=tcp; rule y ports=1024-65535 proto=tcp; rule x to=10.0.0.0/8 proto=tcp ports=80,8080", "3 1 never"},
		{"rule x to=0.0.0.0/0; rule y to=::/0; rule x", "3 1 never"},
		{"rule x to=10.0.0.0/9 not_to=10.1.0.0/16; rule y to=10.128.0.0/9; rule x to=10.0.0.0/8", ""},
		// sets and exclusions
		{"rule x to=@a; rule y to=10.1.2.0/24", "2 1 never"},
		{"rule x to=@a; rule y to=@b", "2 1 never"},
		{"rule x to=@b; rule y to=@a", ""},
		{"rule x to=10.0.0.0/8,203.0.0.0/8; rule y to=@a", "2 1 never"},
		{"rule x to=@a not_to=@b; rule y to=10.1.2.0/24", "2 1 never"},
		{"rule x to=@a not_to=@b; rule y to=10.1.5.128/25", ""},
		{"rule x to=10.0.0.0/8 not_to=10.1.0.0/16; rule y to=10.2.0.0/16", "2 1 never"},
		{"rule x to=10.0.0.0/8 not_to=10.1.0.0/16; rule y to=10.1.0.0/16", ""},
		{"rule x to=10.0.0.0/8 not_to=10.1.0.0/16; rule y to=10.0.0.0/9 not_to=10.1.0.0/16", "2 1 never"},
		{"rule x from=@a; rule y from=@b", "2 1 never"},
		// nothing
		{"rule x to=@none", "1 0 empty"},
		{"rule x to=@none,10.0.0.0/8", ""},
		{"rule x from=@none", "1 0 empty"},
		{"rule x to=10.1.0.0/16 not_to=@a", "1 0 empty"},
		{"rule x to=@b not_to=10.0.0.0/8", "1 0 empty"},
		{"rule x not_to=0.0.0.0/0", ""},
		// order
		{"rule x to=10.0.0.0/8; rule y proto=tcp ports=25", "2 1 order"},
		{"rule x to=10.0.0.0/8; rule x proto=tcp ports=25", ""},
		{"rule x to=10.0.0.0/8 proto=udp; rule y proto=tcp ports=25", ""},
		{"rule x to=10.0.0.0/8 not_to=10.1.0.0/16; rule y to=10.1.0.0/16,11.0.0.0/8", ""},
		{"rule x to=@a; rule y to=10.0.0.0/8 proto=tcp", "2 1 order"},
		{"rule x to=@a from=192.168.0.0/16; rule y to=@b proto=tcp", "2 1 order"},
		{"route x to=10.0.0.0/8 proto=tcp ports=22,80; route y to=10.0.0.0/8 proto=tcp ports=22,443", "2 1 order"},
		{"route x to=10.1.0.0/16; route y to=10.0.0.0/8 proto=tcp", ""}, // the longest prefix wins
		// what WrapGuard does: the line number is the listed order
		{"route y to=0.0.0.0/0; route x to=0.0.0.0/0 proto=tcp ports=22", "2 1 wrapguard"},
		{"route x to=0.0.0.0/0 proto=tcp ports=22; route y to=0.0.0.0/0", ""},
		{"route x to=0.0.0.0/0; route x to=0.0.0.0/0 proto=tcp ports=22", ""},
	} {
		p := policy(t, strings.Split(c.lines, "; ")...)
		if strings.Contains(c.want, "wrapguard") || strings.Contains(c.lines, "route") {
			p.Sort()
		}
		var got []string
		for _, f := range Check(p) {
			other := 0
			if f.Other >= 0 {
				other = p.Entries[f.Other].Pos.Line
			}
			got = append(got, fmt.Sprint(p.Entries[f.Entry].Pos.Line, " ", other, " ", f.Kind))
		}
		if strings.Join(got, "; ") != c.want {
			t.Errorf("%s:\n got %q\nwant %q", c.lines, strings.Join(got, "; "), c.want)
		}
	}
}

// TestSilenceIsNoLie draws policies and packets: no packet may reach a line
// that is reported never or empty.
func TestSilenceIsNoLie(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	reported := 0
	for range 400 {
		var lines []string
		for range 2 + r.IntN(8) {
			lines = append(lines, strings.Join(strings.Fields(strings.Join([]string{"rule", pick("x", "y", "drop"),
				pick("", "", "to=10.0.0.0/8", "to=10.1.0.0/16,11.0.0.0/8", "to=@a", "to=@b", "to=0.0.0.0/1", "to=128.0.0.0/1", "to=@a,10.0.0.0/9", "to=::/0,0.0.0.0/0", "to=@none"),
				pick("", "", "not_to=10.1.5.0/24", "not_to=@b", "not_to=@a,10.0.0.0/9"),
				pick("", "", "", "from=10.0.0.0/8", "from=@b", "from=10.1.0.0/16 not_from=10.1.5.0/24"),
				pick("", "", "proto=tcp", "proto=udp", "proto=tcp,udp ports=1-100", "proto=tcp ports=0-65535", "proto=tcp ports=22,80", "proto=udp ports=101-65535", "proto=tcp from_ports=5-9"),
				pick("", "", "", "dscp=0", "dscp=0,1")}, " ")), " "))
		}
		p := policy(t, lines...)
		table, err := classifier.Compile(p)
		if err != nil {
			t.Fatal(err)
		}
		bad := map[int32]string{}
		for _, f := range Check(p) {
			if f.Kind == Never || f.Kind == Empty {
				bad[f.Entry] = f.Text
				reported++
			}
		}
		for range 2000 {
			v := packet.View{Version: 4, Src: address(r), Dst: address(r), Proto: [...]uint8{1, 6, 17}[r.IntN(3)], TOS: uint8(r.IntN(3)) << 2}
			if v.Proto != 1 && r.IntN(4) > 0 {
				v.HasPorts = true
				v.SrcPort, v.DstPort = [...]uint16{0, 5, 9, 10, 65535}[r.IntN(5)], [...]uint16{0, 1, 22, 80, 100, 101, 65535}[r.IntN(7)]
			}
			if text := bad[table.Lookup(&v).Entry]; text != "" {
				t.Fatalf("%+v reaches a line although %q, of\n%s", v, text, strings.Join(lines, "\n"))
			}
		}
	}
	if reported < 100 {
		t.Errorf("only %d reports to try", reported)
	}
}

func address(r *rand.Rand) packet.Addr {
	list := []string{"10.1.5.0", "10.1.5.255", "10.1.6.0", "10.1.0.0", "10.0.255.255", "10.2.0.0", "10.127.255.255", "10.128.0.0", "11.0.0.0", "203.0.113.7", "127.0.0.1", "128.0.0.0", "9.255.255.255"}
	return packet.AddrFrom(netip.MustParseAddr(list[r.IntN(len(list))]))
}

// TestBounded lints what overlaps as much as 20,000 lines can, and 100,000
// ordinary ones beside a set of 100,000 prefixes.
func TestBounded(t *testing.T) {
	entangled := policy(t)
	for i := range 20_000 {
		e := classifier.Entry{Exit: classifier.ExitID(3 + i%2), Protos: []uint8{6}}
		e.Ports = []classifier.PortRange{{Lo: uint16(i), Hi: uint16(i + 20_000)}}
		e.FromPorts = []classifier.PortRange{{Lo: uint16(20_000 - i), Hi: uint16(65_000 - i)}}
		entangled.Entries = append(entangled.Entries, e)
	}
	ordinary := policy(t)
	big := make([]netip.Prefix, 100_000)
	for i := range big {
		big[i] = netip.PrefixFrom(packet.Addr4(11<<24+uint32(i)*8).Netip(), 29)
	}
	ordinary.Sets = append(ordinary.Sets, classifier.Set{Name: "big", Prefixes: big})
	for i := range 100_000 {
		e := classifier.Entry{Exit: classifier.ExitID(3 + i%2), Protos: []uint8{6}, Ports: []classifier.PortRange{{Lo: uint16(i), Hi: uint16(i)}}}
		if i%1000 == 0 {
			e.ToSets = []int{3}
		} else {
			e.To = []netip.Prefix{netip.PrefixFrom(packet.Addr4(10<<24+uint32(i)).Netip(), 32)}
		}
		ordinary.Entries = append(ordinary.Entries, e)
	}
	for name, p := range map[string]*classifier.Policy{"entangled": entangled, "ordinary": ordinary} {
		begun := time.Now()
		found := Check(p)
		took := time.Since(begun)
		t.Logf("%s: %d findings in %v", name, len(found), took)
		if took > time.Minute { // 1 s on an idle machine
			t.Errorf("%s: it took %v", name, took)
		}
		if last := found[max(len(found)-1, 0):]; name == "entangled" && (len(last) == 0 || last[0].Kind != Unfinished) {
			t.Errorf("%s: nothing says that not all was compared: %v", name, last)
		}
	}
}
