package conf

import (
	"os"
	"slices"
	"strings"
	"testing"

	"turnout/classifier"
	"turnout/conf/wgquick"
)

// The commented reference configuration loads, has every key, and its [host]
// shows the defaults.
func TestReference(t *testing.T) {
	const path = "../docs/turnout.toml"
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	provider := func(key string) file {
		return file{text: ifaceText + peerText(key, "0.0.0.0/0, ::/0", "192.0.2.1:51820")}
	}
	files := map[string]file{
		path:                  {text: string(data), mode: 0o644},
		"../docs/office.key":  {text: private},
		"../docs/office.psk":  {text: psk},
		"../docs/video.txt":   {text: "203.0.113.0/24  # one\n\n2001:db8:5::/48\n"},
		"../docs/sweden.conf": provider(server),
		"../docs/us1.conf":    provider(server2),
		"../docs/us2.conf":    provider("qpFhQACJJ7uFmAUhmWP5fCqVvIrjuPDKrcvC8nRFFF8="),
	}
	for _, p := range []Purpose{ForCheck, ForExplain, ForUp} {
		cfg, err := memory(p, files).load(path)
		if err != nil {
			t.Fatal(err)
		}
		if cfg.Host != defaultHost() {
			t.Errorf("[host] is %+v, the defaults are %+v", cfg.Host, defaultHost())
		}
		if cfg.Limits != defaultLimits() {
			t.Errorf("[limits] is %+v, the defaults are %+v", cfg.Limits, defaultLimits())
		}
		if len(cfg.Forwards) != 2 || len(cfg.Tunnels[1].Accept) != 2 || !cfg.Tunnels[0].FullCone || cfg.Tunnels[3].Via != 0 {
			t.Errorf("the reference gives %+v, forwards %+v", cfg.Tunnels, cfg.Forwards)
		}
		if len(cfg.Tunnels) != 4 || len(cfg.Groups) != 1 || len(cfg.Hooks.PostUp) != 1 || cfg.Tunnels[1].Peers[0].Name != "gate" {
			t.Errorf("the reference gives %+v", cfg)
		}
		if exit, by, _ := ask(t, cfg, flow{"10.1.1.1", "tcp", 22}); exit != "office" || by != classifier.ByRule {
			t.Errorf("SSH to the office goes to %s by %s", exit, by)
		}
	}
	keys := strings.Fields("default lan interfaces prefixes local uplink host tun mark mark_mask direct_mark direct_mark_mask table priority adjust_firewall " +
		"hooks pre_up post_up pre_down post_down name config nat route_allowed_ips private_key_file private_key_command preshared_key_file " +
		"mode members set prefixes file from to not_from not_to proto ports from_ports dscp via " +
		"limits flows flows_per_host new_flows_per_host full_cone accept forward tunnel listen port")
	for _, k := range slices.Concat(wgquick.Interface, wgquick.Peer) {
		keys = append(keys, k.Snake)
	}
	for _, k := range keys {
		// fw_mark and save_config are understood for the sake of imported files.
		if !strings.Contains(string(data), k) && k != "fw_mark" && k != "save_config" {
			t.Errorf("the reference does not mention %s", k)
		}
	}
}

func TestEveryQuickKey(t *testing.T) {
	cfg, err := Load("wgquick/testdata/every-key.conf", Options{LAN: []string{"eth1"}, Purpose: ForExplain})
	if err != nil {
		t.Fatal(err)
	}
	tun := cfg.Tunnels[0]
	peer := tun.Peers[0]
	for _, c := range []struct {
		what string
		ok   bool
	}{
		{"LAN", slices.Equal(cfg.LAN.Interfaces, []string{"eth1"})},
		{"# Name", tun.Name == "every-key"},
		{"PrivateKey", !tun.PrivateKey.IsZero()},
		{"Address", len(tun.Addresses) == 3 && tun.Addresses[0].String() == "10.20.0.2/24" && tun.Addresses[2].String() == "10.20.1.2/32"},
		{"DNS", len(tun.DNS) == 2 && slices.Equal(tun.DNSSearch, []string{"home.arpa", "example.com"})},
		{"ListenPort", tun.ListenPort == 51821},
		{"MTU", tun.MTU == 1380},
		{"hooks", len(tun.ForeignHooks) == 8 && tun.ForeignHooks[2] == "PostUp = iptables -A FORWARD -i %i -j ACCEPT"},
		{"PublicKey", !peer.PublicKey.IsZero()},
		{"PresharedKey", !peer.PresharedKey.IsZero()},
		{"AllowedIPs", len(peer.AllowedIPs) == 3 && peer.AllowedIPs[2].String() == "10.30.0.0/16"},
		{"Endpoint", peer.Endpoint == Endpoint{"2001:db8::1", 51820} && peer.Endpoint.String() == "[2001:db8::1]:51820"},
		{"PersistentKeepalive", peer.Keepalive.Seconds() == 25},
		{"Route", len(cfg.Policy.Entries) == 4}, // Table = 1234 keeps the AllowedIPs out
	} {
		if !c.ok {
			t.Errorf("%s is not as written: %+v", c.what, tun)
		}
	}
	said := cfg.Warnings
	for _, word := range []string{"Table", "FwMark", "SaveConfig", "PreUp", "PostUp", "PreDown", "PostDown", "widened"} {
		if !slices.ContainsFunc(said, func(p Problem) bool { return strings.Contains(p.Text, word) }) {
			t.Errorf("no warning speaks of %s: %v", word, said)
		}
	}
}

func TestKindOfFile(t *testing.T) {
	quick := ifaceText + peerText(server, "0.0.0.0/0", "192.0.2.1:1")
	for name, text := range map[string]string{
		"a.conf": quick, "a": quick, "a.wg": "\ufeff\n# a comment\n [interface] # x\n" + strings.TrimPrefix(quick, "[Interface]\n"),
		"a.toml": tunnelText("a", `"0.0.0.0/0"`, ""), "b": "# Name\n" + tunnelText("b", `"0.0.0.0/0"`, ""),
	} {
		c, err := memory(ForExplain, map[string]file{name: {text: text}}).load(name)
		if err != nil || len(c.Tunnels) != 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
}
