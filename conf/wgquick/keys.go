package wgquick

import "strings"

// A Key is a word that a section knows.
type Key struct {
	Name    string // as wg-quick spells it: "AllowedIPs"
	Snake   string // as turnout.toml spells it: "allowed_ips"
	Repeats bool   // may stand on several lines
	List    bool   // commas separate several values
	Empty   bool   // may have no value
}

// Interface and Peer are the keys of the two sections, in the order in which
// messages list them.
var (
	Interface = []Key{
		{Name: "PrivateKey", Snake: "private_key"},
		{Name: "Address", Snake: "addresses", Repeats: true, List: true},
		{Name: "DNS", Snake: "dns", Repeats: true, List: true},
		{Name: "ListenPort", Snake: "listen_port"},
		{Name: "MTU", Snake: "mtu"},
		{Name: "Table", Snake: "table"},
		{Name: "FwMark", Snake: "fw_mark"},
		{Name: "PreUp", Snake: "pre_up", Repeats: true},
		{Name: "PostUp", Snake: "post_up", Repeats: true},
		{Name: "PreDown", Snake: "pre_down", Repeats: true},
		{Name: "PostDown", Snake: "post_down", Repeats: true},
		{Name: "SaveConfig", Snake: "save_config"},
	}
	Peer = []Key{
		{Name: "PublicKey", Snake: "public_key"},
		{Name: "PresharedKey", Snake: "preshared_key"},
		{Name: "AllowedIPs", Snake: "allowed_ips", Repeats: true, List: true, Empty: true},
		{Name: "Endpoint", Snake: "endpoint"},
		{Name: "PersistentKeepalive", Snake: "persistent_keepalive"},
		// Commas in a Route separate ports as well as routes: not a List here.
		{Name: "Route", Snake: "routes", Repeats: true},
	}
)

// find looks a key up by its wg-quick name, in any letter case.
func find(keys []Key, name string) (Key, bool) {
	for _, k := range keys {
		if strings.EqualFold(k.Name, name) {
			return k, true
		}
	}
	return Key{}, false
}

// names lists keys for a message.
func names(keys []Key) string {
	var s []string
	for _, k := range keys {
		s = append(s, k.Name)
	}
	return strings.Join(s, ", ")
}
