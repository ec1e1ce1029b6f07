package conf

import (
	"fmt"
	"strings"
	"testing"
)

func acceptLine(a *Accept) string {
	to := "the LAN"
	if a.To.IsValid() {
		to = a.To.String()
	}
	return fmt.Sprintf("%s %s to %s %v %v %t", a.Pos, a.From, to, a.Protos, a.Ports, a.Masquerade)
}

func TestAccept(t *testing.T) {
	for _, c := range []struct {
		more string
		want string
		text string
	}{
		{"", "", ""},
		{"accept = []", "", ""},
		{`accept = "10.0.0.0/8"`, "t.toml:5 10.0.0.0/8 to the LAN [] [] false", `accept = "10.0.0.0/8"`},
		{`accept = ["10.0.0.0/9", "10.200.0.1"]`, "t.toml:5 10.0.0.0/9 to the LAN [] [] false; t.toml:5 10.200.0.1/32 to the LAN [] [] false", `accept = "10.0.0.0/9"`},
		{"accept = [\n\n{from = \"10.0.0.0/8\", to = \"192.168.77.0/24\", proto = \"tcp\", ports = \"22,443\", nat = \"masquerade\"}]",
			"t.toml:7 10.0.0.0/8 to 192.168.77.0/24 [6] [{22 22} {443 443}] true",
			`accept = {from = "10.0.0.0/8", to = "192.168.77.0/24", proto = "tcp", ports = "22,443", nat = "masquerade"}`},
		{`accept = [{from = "10.0.0.0/8", ports = 22, nat = "none"}]`, "t.toml:5 10.0.0.0/8 to the LAN [6 17] [{22 22}] false", `accept = {from = "10.0.0.0/8", ports = 22, nat = "none"}`},
		{`accept = [{from = "10.0.0.0/8", proto = ["icmp", "udp"]}, "10.0.0.0/8"]`, "t.toml:5 10.0.0.0/8 to the LAN [1 17] [] false; t.toml:5 10.0.0.0/8 to the LAN [] [] false",
			`accept = {from = "10.0.0.0/8", proto = ["icmp", "udp"]}`},
		{`accept = [{from = "10.0.0.0/8", proto = "any", ports = "1-2"}]`, "t.toml:5 10.0.0.0/8 to the LAN [] [{1 2}] false", `accept = {from = "10.0.0.0/8", proto = "any", ports = "1-2"}`},
		{"[[tunnel.accept]]\nfrom = \"10.0.0.0/8\"\nproto = \"udp\"\n", "t.toml:5 10.0.0.0/8 to the LAN [17] [] false", `[[tunnel.accept]] from = "10.0.0.0/8"; proto = "udp"`},
	} {
		cfg := loadText(t, "t.toml", tunnelText("a", `"10.0.0.0/9", "10.128.0.0/9"`, c.more))
		var got []string
		for i := range cfg.Tunnels[0].Accept {
			got = append(got, acceptLine(&cfg.Tunnels[0].Accept[i]))
		}
		if s := strings.Join(got, "; "); s != c.want {
			t.Errorf("%s\nreads %s, want %s", c.more, s, c.want)
		}
		if c.text != "" && cfg.Tunnels[0].Accept[0].Text != c.text {
			t.Errorf("the item reads %s, want %s", cfg.Tunnels[0].Accept[0].Text, c.text)
		}
		// That far hosts may not find the way is the one thing to say.
		quiet := len(cfg.Tunnels[0].Accept) == 0
		if quiet != (len(cfg.Warnings) == 0) || !quiet && !strings.Contains(cfg.Warnings[0].Text, "persistent_keepalive") {
			t.Errorf("%s: warnings %v", c.more, cfg.Warnings)
		}
	}
}

// The tunnels of one file have each item whose hosts their peers may speak for,
// and the other keys without a question.
func TestExtrasOfSplitFile(t *testing.T) {
	quick := ifaceText + peerText(server, "10.0.0.0/8", "192.0.2.1:1", "Route = 10.0.0.0/8") + peerText(server2, "10.0.0.0/8, 11.0.0.0/8", "192.0.2.2:1")
	cfg, err := memory(ForCheck, map[string]file{
		"x.conf": {text: quick},
		"t.toml": {text: "[[tunnel]]\nconfig = \"x.conf\"\naccept = [\"10.0.0.0/8\", \"11.1.0.0/16\"]\nfull_cone = true\nvia = \"under\"\n" +
			strings.Replace(tunnelText("under", `"0.0.0.0/0"`, ""), server, psk, 1)},
	}).load("t.toml")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i := range cfg.Tunnels {
		tun := &cfg.Tunnels[i]
		got = append(got, fmt.Sprint(tun.Name, len(tun.Accept), tun.FullCone, tun.Via))
	}
	if s, want := strings.Join(got, " "), "x-11 true 2 x-22 true 2 under0 false -1"; s != want {
		t.Errorf("tunnels are %s, want %s", s, want)
	}
	if a := cfg.Tunnels[1].Accept[1]; acceptLine(&a) != "t.toml:3 11.1.0.0/16 to the LAN [] [] false" {
		t.Errorf("the second accepts %s", acceptLine(&a))
	}
}

// A device that policy widens still drops what AllowedIPs as written do not
// name for its hosts.
func TestAcceptOfWidenedTunnel(t *testing.T) {
	text := "default = \"a\"\n" + tunnelText("a", `"10.0.0.0/8"`, `accept = "11.0.0.0/8"`)
	_, err := memory(ForCheck, map[string]file{"t.toml": {text: text}}).load("t.toml")
	if err == nil || !strings.Contains(err.Error(), `accept = "11.0.0.0/8" is not within the AllowedIPs of the tunnel, which are 10.0.0.0/8`) {
		t.Errorf("%v", err)
	}
}
