package conf

import (
	"fmt"
	"strings"
	"testing"
)

func TestVia(t *testing.T) {
	// Each tunnel allows other networks and has another server.
	keys := []string{server, server2, psk}
	tunnel := func(i int, endpoint, allowed, more string) string {
		text := strings.Replace(tunnelText(fmt.Sprint("t", i), allowed, more), server, keys[i], 1)
		return strings.Replace(text, "192.0.2.1:51820", endpoint, 1)
	}
	for _, c := range []struct {
		about, text    string
		via            string
		wide, warnings string // which tunnels are widened; how many warnings
	}{
		{"all covered", tunnel(0, "192.0.2.1:1", `"0.0.0.0/0"`, "") + tunnel(1, "192.0.2.2:1", `"10.0.0.0/8"`, `via = "t0"`), "-1 0", "- -", "0"},
		{"named before it stands", tunnel(0, "192.0.2.1:1", `"11.0.0.0/8"`, `via = "t1"`) + tunnel(1, "192.0.2.2:1", `"192.0.2.0/24"`, ""), "1 -1", "- -", "0"},
		{"a literal beyond", tunnel(0, "192.0.2.1:1", `"10.0.0.0/8"`, "") + tunnel(1, "192.0.2.2:1", `"11.0.0.0/8"`, `via = "t0"`), "-1 0", "4 -", "1"},
		{"a name", tunnel(0, "192.0.2.1:1", `"10.0.0.0/8"`, "") + tunnel(1, "vpn.example.com:1", `"11.0.0.0/8"`, `via = "t0"`), "-1 0", "4 -", "1"},
		{"a name with everything", tunnel(0, "192.0.2.1:1", `"0.0.0.0/1", "128.0.0.0/1"`, "") + tunnel(1, "vpn.example.com:1", `"11.0.0.0/8"`, `via = "t0"`), "-1 0", "- -", "0"},
		{"three", tunnel(0, "192.0.2.1:1", `"0.0.0.0/0"`, "mtu = 1420") + tunnel(1, "192.0.2.2:1", `"10.0.0.0/8"`, "mtu = 1360\nvia = \"t0\"") +
			tunnel(2, "10.0.0.1:1", `"12.0.0.0/8"`, "mtu = 1300\nvia = \"t1\""), "-1 0 1", "- - -", "0"},
	} {
		cfg := loadText(t, "t.toml", c.text)
		var via, wides []string
		for i := range cfg.Tunnels {
			via = append(via, fmt.Sprint(cfg.Tunnels[i].Via))
			wides = append(wides, wide(&cfg.Tunnels[i]))
		}
		if strings.Join(via, " ") != c.via || strings.Join(wides, " ") != c.wide || fmt.Sprint(len(cfg.Warnings)) != c.warnings {
			t.Errorf("%s: via %v, widened %v, warnings %v; want %s, %s, %s", c.about, via, wides, cfg.Warnings, c.via, c.wide, c.warnings)
		}
	}
}

// Two circles and what leads into them make two errors.
func TestCircles(t *testing.T) {
	var text strings.Builder
	for _, hop := range strings.Fields("a>b b>c c>b d>a e>e f>e") {
		name, via, _ := strings.Cut(hop, ">")
		text.WriteString(tunnelText(name, `"10.0.0.0/8"`, fmt.Sprintf("via = %q", via)))
	}
	_, err := memory(ForCheck, map[string]file{"t.toml": {text: text.String()}}).load("t.toml")
	want := "t.toml:14: via = \"c\" leads in a circle: b -> c -> b; a chain of tunnels ends at the uplink\n" +
		"t.toml:41: via = \"e\" is the tunnel itself; another one is wanted, or the uplink when via is left out"
	if err == nil || err.Error() != want {
		t.Errorf("%v, want\n%s", err, want)
	}
}
