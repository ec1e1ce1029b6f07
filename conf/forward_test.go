package conf

import (
	"fmt"
	"strings"
	"testing"
)

func TestForwards(t *testing.T) {
	const head = "[[forward]]\nname = \"x\"\ntunnel = \"b\"\n"
	two := tunnelText("a", `"10.0.0.0/8"`, "") + strings.Replace(tunnelText("b", `"10.1.0.0/16"`, ""), server, server2, 1)
	for _, c := range []struct{ more, want, wide string }{
		{`port = 8443
to = "192.168.77.20:443"`, "tunnel 1 [6 17] 8443-8443 to 192.168.77.20:443", "- -"},
		{`port = "8000-8010"
to = "192.168.77.20"`, "tunnel 1 [6 17] 8000-8010 to 192.168.77.20:8000", "- -"},
		{`port = "65535"
proto = "tcp"
to = "192.168.77.20:65535"
listen = "tunnel"`, "tunnel 1 [6] 65535-65535 to 192.168.77.20:65535", "- -"},
		{`port = "8000-8010"
proto = ["udp", "tcp", "udp"]
to = "192.168.77.20:65525"`, "tunnel 1 [17 6] 8000-8010 to 192.168.77.20:65525", "- -"},
		{`port = 9100
to = "10.1.2.3"
listen = "lan"`, "lan 1 [6 17] 9100-9100 to 10.1.2.3:9100", "- -"},
		{`port = 9100
to = "10.2.2.3:80"
listen = "lan"`, "lan 1 [6 17] 9100-9100 to 10.2.2.3:80", "- 4"},
		{`port = 9100
to = "10.2.2.3:80"`, "tunnel 1 [6 17] 9100-9100 to 10.2.2.3:80", "- -"}, // the LAN's prefixes are not listed
	} {
		cfg := loadText(t, "t.toml", two+head+c.more+"\n")
		f := cfg.Forwards[0]
		from := "tunnel"
		if f.FromLAN {
			from = "lan"
		}
		got := fmt.Sprintf("%s %d %v %d-%d to %s:%d", from, f.Tunnel, f.Protos, f.Ports.Lo, f.Ports.Hi, f.To, f.ToPort)
		if got != c.want || wide(&cfg.Tunnels[0])+" "+wide(&cfg.Tunnels[1]) != c.wide {
			t.Errorf("%s\nreads %s, widened %s %s; want %s, %s", c.more, got, wide(&cfg.Tunnels[0]), wide(&cfg.Tunnels[1]), c.want, c.wide)
		}
		text := `[[forward]] name = "x"; tunnel = "b"; ` + strings.ReplaceAll(c.more, "\n", "; ")
		if f.Name != "x" || f.Text != text || f.Pos.String() != "t.toml:19" {
			t.Errorf("forward %q at %s reads %s, want %s", f.Name, f.Pos, f.Text, text)
		}
	}
}

// What cannot overlap is not said to.
func TestForwardsBesideEachOther(t *testing.T) {
	text := "[lan]\nprefixes = [\"192.168.77.0/24\", \"192.168.79.0/31\"]\nlocal = [\"192.168.0.0/16\"]\n" + tunnelText("a", `"10.0.0.0/8"`, "")
	for _, more := range []string{
		`to = "192.168.77.2"` + "\nport = 80\nproto = \"tcp\"",
		`to = "192.168.77.2"` + "\nport = 80\nproto = \"udp\"",
		`to = "192.168.77.2"` + "\nport = \"81-90\"",
		`to = "192.168.79.0"` + "\nport = 79", // two hosts have no network address
		`to = "10.1.1.1"` + "\nport = 80\nlisten = \"lan\"",
	} {
		text += "[[forward]]\ntunnel = \"a\"\n" + more + "\n"
	}
	cfg := loadText(t, "t.toml", text)
	if len(cfg.Forwards) != 5 || len(cfg.Warnings) != 1 || !strings.Contains(cfg.Warnings[0].Text, "persistent_keepalive") {
		t.Errorf("%d forwards, warnings %v", len(cfg.Forwards), cfg.Warnings)
	}
}

func TestLimits(t *testing.T) {
	for text, want := range map[string]Limits{
		"":                                     {262144, 65536, 0},
		"[limits]":                             {262144, 65536, 0},
		"[limits]\nflows = 1024":               {1024, 1024, 0},
		"[limits]\nflows = 100000":             {100000, 65536, 0},
		"[limits]\nflows = 16777215":           {16777215, 4194303, 0},
		"[limits]\nflows_per_host = 1":         {262144, 1, 0},
		"[limits]\nnew_flows_per_host = 5":     {262144, 65536, 5},
		"limits = {flows_per_host = 0x40_000}": {262144, 262144, 0},
	} {
		cfg := loadText(t, "t.toml", text+"\n"+tunnelText("a", `"10.0.0.0/8"`, ""))
		if cfg.Limits != want {
			t.Errorf("%s gives %+v, want %+v", text, cfg.Limits, want)
		}
	}
	cfg := loadText(t, "t.conf", ifaceText+peerText(server, "0.0.0.0/0", "192.0.2.1:1"))
	if cfg.Limits != defaultLimits() || cfg.Forwards != nil || cfg.Tunnels[0].Via != -1 || cfg.Tunnels[0].Accept != nil || cfg.Tunnels[0].FullCone {
		t.Errorf("a wg-quick file gives %+v", cfg)
	}
}
