package conf

import (
	"strings"
	"testing"
)

// peerText is a [Peer]; an empty endpoint makes it a caller.
func peerText(key, allowed, endpoint string, more ...string) string {
	text := "\n[Peer]\nPublicKey = " + key + "\nAllowedIPs = " + allowed + "\n"
	if endpoint != "" {
		text += "Endpoint = " + endpoint + "\n"
	}
	return text + strings.Join(more, "\n") + "\n"
}

func TestSplit(t *testing.T) {
	const at = "192.0.2.1:51820"
	for _, c := range []struct{ about, text, want string }{
		{"one peer", ifaceText + peerText(server, "0.0.0.0/0", at), "provider(1)"},
		{"one peer with a Route", ifaceText + peerText(server, "0.0.0.0/0", at, "Route = 10.0.0.0/8"), "provider(1)"},
		{"peers that share nothing", ifaceText + peerText(server, "10.0.0.0/8", at) + peerText(server2, "10.1.0.0/16", at), "provider(2)"},
		{"two that name one prefix", ifaceText + peerText(server, "10.0.0.0/8", at) + peerText(server2, "192.0.2.0/24, 10.9.9.9/8", at), "provider-1(1) provider-2(1)"},
		{"a Route on one", ifaceText + peerText(server, "10.0.0.0/8", at) + peerText(server2, "10.1.0.0/16", at, "Route = 10.0.0.0/8"), "provider-1(1) provider-2(1)"},
		{"callers stay together", ifaceText + "ListenPort = 51820\n" + peerText(server, "10.0.0.2", "") + peerText(server2, "10.0.0.3", "", "Route = 10.0.0.3"), "provider:51820(2)"},
		{"callers and a server", ifaceText + "ListenPort = 51820\n" + peerText(server2, "0.0.0.0/0", at, "Route = 0.0.0.0/0") +
			peerText(server, "10.0.0.2", "") + peerText("qpFhQACJJ7uFmAUhmWP5fCqVvIrjuPDKrcvC8nRFFF8=", "10.0.0.3", ""), "provider-1(1) provider-2:51820(2)"},
		{"without callers the first listens", ifaceText + "ListenPort = 51820\n" + peerText(server, "0.0.0.0/0", at) + peerText(server2, "0.0.0.0/0", at), "provider-1:51820(1) provider-2(1)"},
		{"we ourselves do not count", ifaceText + peerText(server, "0.0.0.0/0", at) + peerText(ownPublic(t), "0.0.0.0/0", at), "provider(1)"},

		{"the interface's name", "# Name = office\n" + ifaceText + peerText(server, "0.0.0.0/0", at), "office(1)"},
		{"the only peer's name", ifaceText + peerText(server, "0.0.0.0/0", at, "# Name = office"), "office(1)"},
		{"both", "# Name = office\n" + ifaceText + peerText(server, "0.0.0.0/0", at, "# Name = gate"), "office(1)"},
		{"names of some peers", ifaceText + peerText(server, "0.0.0.0/0", at) + peerText(server2, "0.0.0.0/0", at, "# Name = office"), "provider-1(1) office(1)"},
		{"the interface's name for several", "# Name = vpn\n" + ifaceText + peerText(server, "0.0.0.0/0", at, "# Name = a") + peerText(server2, "0.0.0.0/0", at), "a(1) vpn-2(1)"},
	} {
		t.Run(c.about, func(t *testing.T) {
			cfg := loadText(t, "provider.conf", c.text)
			if got := tunnelList(cfg); got != c.want {
				t.Errorf("tunnels are %s, want %s", got, c.want)
			}
			for _, tun := range cfg.Tunnels {
				if tun.PrivateKey.Public().String() != ownPublic(t) || len(tun.Addresses) != 1 {
					t.Errorf("tunnel %s lacks the interface's key or address", tun.Name)
				}
			}
		})
	}
}

func ownPublic(t *testing.T) string {
	t.Helper()
	k, err := ParsePrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return k.Public().String()
}

// tunnelList writes names, ports and numbers of peers.
func tunnelList(c *Config) string {
	var parts []string
	for _, t := range c.Tunnels {
		text := t.Name
		if t.ListenPort != 0 {
			text += ":51820"
		}
		parts = append(parts, text+"("+string(rune('0'+len(t.Peers)))+")")
	}
	return strings.Join(parts, " ")
}

// turnout.toml's name wins over those in the file, except for single peers of
// a file that gives several tunnels.
func TestNameFromTOML(t *testing.T) {
	two := ifaceText + peerText(server, "0.0.0.0/0", "192.0.2.1:1") + peerText(server2, "0.0.0.0/0", "192.0.2.1:2", "# Name = named")
	files := map[string]file{
		"etc/turnout.toml": {text: `
[[tunnel]]
name = "one"
config = "a/one.conf"
[[tunnel]]
name = "two"
config = "/abs/two.conf"
[[tunnel]]
config = "a/three.conf"
`},
		"etc/a/one.conf":   {text: "# Name = other\n" + ifaceText + peerText(server, "0.0.0.0/0", "192.0.2.1:1")},
		"/abs/two.conf":    {text: two},
		"etc/a/three.conf": {text: ifaceText + peerText(server, "0.0.0.0/0", "192.0.2.1:1")},
	}
	cfg, err := memory(ForCheck, files).load("etc/turnout.toml")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := tunnelList(cfg), "one(1) two-1(1) named(1) three(1)"; got != want {
		t.Errorf("tunnels are %s, want %s", got, want)
	}
	if p := cfg.Tunnels[0].Pos; p.File != "etc/a/one.conf" || p.Line != 2 {
		t.Errorf("the first tunnel is at %v", p)
	}
}
