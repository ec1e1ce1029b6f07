package conf

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"turnout/classifier"
)

// tunnelText is an inline tunnel with one peer.
func tunnelText(name, allowed, more string) string {
	return fmt.Sprintf(`[[tunnel]]
name = %q
private_key = %q
addresses = ["10.8.0.2/32"]
%s
[[tunnel.peer]]
public_key = %q
endpoint = "192.0.2.1:51820"
allowed_ips = [%s]
`, name, private, more, server, allowed)
}

func TestOrder(t *testing.T) {
	cfg := loadText(t, "t.toml", `default = "drop"
`+tunnelText("a", `"0.0.0.0/0", "10.1.0.0/16"`, "")+`
routes = ["10.0.0.0/8", "10.0.0.0/8:any:22", "10.0.0.0/8:tcp"]
`+tunnelText("b", `"10.1.2.0/24"`, "")+`
routes = ["10.0.0.0/8:tcp:22"]
[[rule]]
name = "last word"
from = ["192.168.77.9"]
proto = "tcp,udp"
ports = [22, "80-90"]
dscp = 46
via = "reject"
`)
	var got []string
	for _, e := range cfg.Policy.Entries {
		got = append(got, fmt.Sprintf("%s:%d %s %s %v %v %v", e.Pos.File, e.Pos.Line, e.By, cfg.Policy.Exits[e.Exit].Name, e.To, e.Protos, e.Ports))
	}
	want := []string{
		"t.toml:24 rule reject [] [6 17] [{22 22} {80 90}]",
		"t.toml:23 route b [10.0.0.0/8] [6] [{22 22}]",
		"t.toml:12 route a [10.0.0.0/8] [6] []",
		"t.toml:12 route a [10.0.0.0/8] [] [{22 22}]",
		"t.toml:12 route a [10.0.0.0/8] [] []",
		"t.toml:21 allowed-ips b [10.1.2.0/24] [] []",
		"t.toml:10 allowed-ips a [10.1.0.0/16] [] []",
		"t.toml:1 default drop [] [] []",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("entries are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if text, want := cfg.Policy.Entries[0].Text, `[[rule]] name = "last word"; from = ["192.168.77.9"]; proto = "tcp,udp"; ports = [22, "80-90"]; dscp = 46; via = "reject"`; text != want {
		t.Errorf("the rule reads %s, want %s", text, want)
	}
	if text, want := cfg.Policy.Entries[7].Text, `default = "drop"`; text != want {
		t.Errorf("the default reads %s, want %s", text, want)
	}
}

func TestImplicitDefault(t *testing.T) {
	cfg := loadText(t, "t.toml", tunnelText("a", `"10.0.0.0/8"`, "")+tunnelText("b", `"10.1.0.0/16", "0.0.0.0/0"`, "")+tunnelText("c", `"0.0.0.0/0", "::/0"`, ""))
	for _, c := range []struct {
		f    flow
		want string
		by   classifier.By
	}{
		{flow{"8.8.8.8", "udp", 53}, "b", classifier.ByDefault},
		{flow{"10.1.1.1", "udp", 53}, "b", classifier.ByAllowedIPs},
		{flow{"10.2.1.1", "udp", 53}, "a", classifier.ByAllowedIPs},
		{flow{"2001:db8::1", "udp", 53}, "c", classifier.ByDefault},
	} {
		exit, by, line := ask(t, cfg, c.f)
		if exit != c.want || by != c.by {
			t.Errorf("%+v goes to %s by %s, want %s by %s", c.f, exit, by, c.want, c.by)
		}
		if by == classifier.ByDefault && !strings.HasPrefix(line, "allowed_ips = [") {
			t.Errorf("the implicit default is by %q, want the AllowedIPs", line)
		}
	}
	none := loadText(t, "t.toml", tunnelText("a", `"10.0.0.0/8"`, ""))
	if exit, by, _ := ask(t, none, flow{"8.8.8.8", "udp", 53}); exit != "reject" || by != classifier.ByDefault {
		t.Errorf("without anybody for it a packet goes to %s by %s, want reject by default", exit, by)
	}
}

// AllowedIPs stay out of the policy when the tunnel says so, in both spellings.
func TestUnroutedAllowedIPs(t *testing.T) {
	for _, more := range []string{"route_allowed_ips = false", `table = "off"`, "table = 1234"} {
		cfg := loadText(t, "t.toml", `default = "direct"`+"\n"+tunnelText("a", `"10.0.0.0/8"`, more))
		if exit, by, _ := ask(t, cfg, flow{"10.1.1.1", "tcp", 80}); exit != "direct" || by != classifier.ByDefault {
			t.Errorf("with %s, 10.1.1.1 goes to %s by %s", more, exit, by)
		}
	}
	cfg := loadText(t, "t.conf", ifaceText+"Table = off\n"+peerText(server, "10.0.0.0/8", "192.0.2.1:1"))
	if n := len(cfg.Policy.Entries); n != 0 {
		t.Errorf("Table = off leaves %d entries", n)
	}
}

func TestWidening(t *testing.T) {
	group := `
[[group]]
name = "inner"
members = ["a"]
[[group]]
name = "outer"
members = ["inner", "b"]
`
	for _, c := range []struct {
		about, more string
		wide        string // of a, then b
		warnings    int
		covers      string // of a
	}{
		{"nothing names it", "", "- -", 0, "[10.0.0.0/8]"},
		{"a rule names it", "[[rule]]\nvia = \"a\"\nproto = \"tcp\"\n", "4 -", 1, "[0.0.0.0/0 10.0.0.0/8]"},
		{"a rule within its AllowedIPs", "[[rule]]\nto = [\"10.1.0.0/16\"]\nvia = \"a\"\n", "4 -", 0, "[0.0.0.0/0 10.0.0.0/8]"},
		{"a rule of IPv6", "[[rule]]\nto = [\"2001:db8::/32\"]\nvia = \"a\"\n", "6 -", 1, "[10.0.0.0/8 ::/0]"},
		{"a rule from IPv6", "[[rule]]\nfrom = [\"2001:db8::/32\"]\nvia = \"a\"\n", "6 -", 1, "[10.0.0.0/8 ::/0]"},
		{"a group that is not used", group, "- -", 0, "[10.0.0.0/8]"},
		{"a group that is used", group + "[[rule]]\nvia = \"outer\"\n", "4 4", 2, "[0.0.0.0/0 10.0.0.0/8]"},
		{"a group within a group", group + "[[rule]]\nvia = \"inner\"\n", "4 -", 1, "[0.0.0.0/0 10.0.0.0/8]"},
		{"both families", "[[rule]]\nto = [\"2001:db8::/32\", \"192.0.2.0/24\"]\nvia = \"a\"\n", "46 -", 2, "[]"},
	} {
		t.Run(c.about, func(t *testing.T) {
			quiet := strings.Replace(tunnelText("b", `"10.1.0.0/16"`, ""), server, server2, 1) // another server, or it warns
			cfg := loadText(t, "t.toml", tunnelText("a", `"10.0.0.0/8"`, "")+quiet+c.more)
			if got := wide(&cfg.Tunnels[0]) + " " + wide(&cfg.Tunnels[1]); got != c.wide {
				t.Errorf("widened are %s, want %s", got, c.wide)
			}
			if len(cfg.Warnings) != c.warnings {
				t.Errorf("%d warnings, want %d: %v", len(cfg.Warnings), c.warnings, cfg.Warnings)
			}
			if got := fmt.Sprint(cfg.Policy.Exits[classifier.FirstNamed].Covers); got != c.covers {
				t.Errorf("a covers %s, want %s", got, c.covers)
			}
		})
	}
	cfg := loadText(t, "t.toml", "default = \"a\"\n"+tunnelText("a", `"10.0.0.0/8"`, ""))
	if !cfg.Tunnels[0].Widened4 {
		t.Error("the default's tunnel is not widened")
	}
	for _, all := range []string{`"0.0.0.0/0"`, `"0.0.0.0/1", "128.0.0.0/1"`} {
		cfg := loadText(t, "t.toml", "default = \"a\"\n"+tunnelText("a", all, ""))
		if wide(&cfg.Tunnels[0]) != "-" {
			t.Errorf("a tunnel that allows %s is said to be widened", all)
		}
	}
}

func wide(t *Tunnel) string {
	text := ""
	if t.Widened4 {
		text += "4"
	}
	if t.Widened6 {
		text += "6"
	}
	if text == "" {
		return "-"
	}
	return text
}

// A tunnel with several peers carries what their AllowedIPs cover and no more.
func TestSeveralPeersCover(t *testing.T) {
	relay := tunnelText("relay", `"10.0.0.0/25"`, "listen_port = 1") + fmt.Sprintf("[[tunnel.peer]]\npublic_key = %q\nallowed_ips = [\"10.0.0.128/25\"]\n", server2)
	cfg := loadText(t, "t.toml", relay+"[[rule]]\nto = [\"10.0.0.0/24\"]\nvia = \"relay\"\n[[rule]]\nproto = \"udp\"\nvia = \"relay\"\n")
	if wide(&cfg.Tunnels[0]) != "-" {
		t.Error("a tunnel with two peers is widened")
	}
	if exit, by, _ := ask(t, cfg, flow{"8.8.8.8", "udp", 53}); exit != "reject" || by != classifier.ByRule {
		t.Errorf("what no peer covers goes to %s by %s", exit, by)
	}
	if exit, _, _ := ask(t, cfg, flow{"10.0.0.200", "udp", 53}); exit != "relay" {
		t.Errorf("what a peer covers goes to %s", exit)
	}
}

func TestCovers(t *testing.T) {
	for _, c := range []struct {
		list   string
		target string
		want   bool
	}{
		{"10.0.0.0/8", "10.0.0.0/8", true},
		{"0.0.0.0/0", "10.0.0.0/8", true},
		{"0.0.0.0/1 128.0.0.0/1", "0.0.0.0/0", true},
		{"0.0.0.0/1 128.0.0.0/2 192.0.0.0/3 224.0.0.0/3", "0.0.0.0/0", true},
		{"0.0.0.0/1 128.0.0.0/2 192.0.0.0/3", "0.0.0.0/0", false},
		{"10.0.0.0/32 10.0.0.1/32", "10.0.0.0/31", true},
		{"10.0.0.0/32", "10.0.0.0/31", false},
		{"::/0", "0.0.0.0/0", false},
		{"::/1 8000::/1", "::/0", true},
		{"", "10.0.0.0/8", false},
		{"10.0.0.0/8 10.1.0.0/16 11.0.0.0/8", "10.0.0.0/7", true},
		{"10.0.0.0/8 10.1.0.0/16", "10.0.0.0/7", false},
		{"255.255.255.255/32 ::/1", "255.255.255.254/31", false},
		{"255.255.255.254/32 255.255.255.255/32", "255.255.255.254/31", true},
		{"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe/127", false},
	} {
		var list []netip.Prefix
		for _, p := range strings.Fields(c.list) {
			list = append(list, netip.MustParsePrefix(p))
		}
		if got := newCoverage(list).holds(netip.MustParsePrefix(c.target)); got != c.want {
			t.Errorf("%s covers %s: %t", c.list, c.target, got)
		}
	}
}
