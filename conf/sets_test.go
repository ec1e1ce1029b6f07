package conf

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"turnout/classifier"
)

const setRules = `
default = "direct"

[[rule]]           # before the sets that it uses
name = "video"
to = ["@video", "192.0.2.9"]
not_to = ["203.0.113.128/25", "@office"]
via = "drop"

[[rule]]
name = "guests"
from = "@guests"
not_from = ["192.168.77.2"]
via = "reject"

[[rule]]
name = "nothing"
to = "@empty"
via = "drop"

[[rule]]
name = "all but"
proto = "udp"
not_to = "@video"
via = "reject"

[[set]]
name = "video"
prefixes = ["198.51.100.0/24", "2001:db8:7::/48"]
file = "video.txt"

[[set]]
name = "office"
prefixes = ["198.51.100.7"]

[[set]]
name = "guests"
prefixes = ["192.168.77.0/24"]

[[set]]
name = "empty"
file = "empty.txt"
`

var setFiles = map[string]file{
	"etc/t.toml":    {text: setRules},
	"etc/video.txt": {text: "\ufeff# networks\r\n203.0.113.0/24 # one\r\n\r\n203.0.114.1\r\n2001:db8:8::1", mode: 0o644},
	"etc/empty.txt": {text: "# nobody\n"},
}

// Sets mean what their prefixes would mean in the rule.
func TestSets(t *testing.T) {
	c, err := memory(ForCheck, setFiles).load("etc/t.toml")
	if err != nil {
		t.Fatal(err)
	}
	var sizes []int
	for _, s := range c.Policy.Sets {
		sizes = append(sizes, len(s.Prefixes))
	}
	if !slices.Equal(sizes, []int{5, 1, 1, 0}) || c.Policy.Sets[0].Name != "video" || c.Policy.Sets[0].Pos.Line != 27 {
		t.Fatalf("sets of %v prefixes: %+v", sizes, c.Policy.Sets)
	}
	for _, row := range []struct {
		f    flow
		want string
	}{
		{flow{"198.51.100.1", "tcp", 80}, "drop"},
		{flow{"203.0.113.5", "udp", 80}, "drop"},
		{flow{"203.0.114.1", "icmp", 0}, "drop"},
		{flow{"203.0.114.2", "tcp", 80}, "direct"},
		{flow{"192.0.2.9", "tcp", 80}, "drop"},
		{flow{"203.0.113.129", "tcp", 80}, "direct"}, // but not these networks
		{flow{"203.0.113.129", "udp", 80}, "direct"}, // in the set all the same
		{flow{"198.51.100.7", "tcp", 80}, "direct"},  // but not this set
		{flow{"9.9.9.9", "udp", 80}, "reject"},
		{flow{"2001:db8:7::5", "tcp", 80}, "drop"},
		{flow{"2001:db8:8::1", "tcp", 80}, "drop"},
		{flow{"2001:db8:9::1", "tcp", 80}, "direct"},
		{flow{"2001:db8:9::1", "udp", 80}, "reject"},
	} {
		if got, by, line := ask(t, c, row.f); got != row.want {
			t.Errorf("%v goes to %s by %v %s, want %s", row.f, got, by, line, row.want)
		}
	}
	if len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0].Text, `set "empty" is empty`) {
		t.Errorf("warnings: %v", c.Warnings)
	}
}

// What a set sends to a tunnel widens it like any other rule; what it excludes
// does not make an error of what the peers cover.
func TestSetsAndTunnels(t *testing.T) {
	set := "[[set]]\nname = \"s\"\nprefixes = [\"10.1.0.0/16\", \"203.0.113.0/24\"]\n"
	rule := "[[rule]]\nto = \"@s\"\nvia = \"a\"\n"
	for _, row := range []struct {
		allowed, rules string
		widened        bool
	}{
		{`"10.0.0.0/8", "203.0.113.0/24"`, rule, false},
		{`"10.0.0.0/8"`, rule, true},
		{`"10.0.0.0/8"`, rule + rule, true},
	} {
		c := loadText(t, "t.toml", set+tunnelText("a", row.allowed, "")+row.rules)
		warned := 0
		for _, w := range c.Warnings {
			if strings.Contains(w.Text, "is widened to 0.0.0.0/0") {
				warned++
			}
		}
		if !c.Tunnels[0].Widened4 || c.Tunnels[0].Widened6 || warned != 1 && row.widened || warned != 0 && !row.widened {
			t.Errorf("AllowedIPs %s: widened %t %t, warnings %v", row.allowed, c.Tunnels[0].Widened4, c.Tunnels[0].Widened6, c.Warnings)
		}
	}
}

// A set of 100,000 lines is normal, also for many rules that use it.
func TestManyPrefixes(t *testing.T) {
	const n, rules = 100_000, 1000
	var lines, toml strings.Builder
	for i := range n {
		fmt.Fprintf(&lines, "11.%d.%d.%d # %d\n", i>>16, i>>8&255, i&255, i)
	}
	toml.WriteString("[[set]]\nname = \"s\"\nfile = \"s.txt\"\n" + tunnelText("a", `"11.0.0.0/8"`, ""))
	for range rules {
		toml.WriteString("[[rule]]\nto = \"@s\"\nvia = \"a\"\n")
	}
	begun := time.Now()
	c, err := memory(ForCheck, map[string]file{"t.toml": {text: toml.String()}, "s.txt": {text: lines.String()}}).load("t.toml")
	if err != nil {
		t.Fatal(err)
	}
	if d := time.Since(begun); d > 10*time.Second {
		t.Errorf("loading took %s", d)
	}
	if got := len(c.Policy.Sets[0].Prefixes); got != n || len(c.Warnings) != 0 {
		t.Errorf("%d prefixes, warnings %v", got, c.Warnings)
	}
	if e := c.Policy.Entries[rules-1]; !slices.Equal(e.ToSets, []int{0}) || len(e.To) != 0 || e.By != classifier.ByRule {
		t.Errorf("the last rule is %+v", e)
	}
}
