package peers

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"turnout/conf"
)

func prefixes(s string) (list []netip.Prefix) {
	for _, f := range strings.Fields(s) {
		list = append(list, netip.MustParsePrefix(f))
	}
	return list
}

func endpointAt(s string) conf.Endpoint {
	a := netip.MustParseAddrPort(s)
	return conf.Endpoint{Host: a.Addr().String(), Port: a.Port()}
}

// readable puts names in the place of keys.
func readable(text string, keys ...string) string {
	return strings.NewReplacer(keys...).Replace(text)
}

func TestSetupText(t *testing.T) {
	key, psk, p1, p2 := newKey(t), newKey(t), newKey(t).Public(), newKey(t).Public()
	c := conf.Tunnel{
		PrivateKey: key, ListenPort: 51820,
		Peers: []conf.Peer{
			{PublicKey: p1, PresharedKey: psk, Endpoint: endpointAt("[2001:db8::1]:1"),
				AllowedIPs: prefixes("10.0.0.0/8 2001:db8::/32"), Keepalive: 25 * time.Second},
			{PublicKey: p2, Endpoint: conf.Endpoint{Host: "vpn.example.com", Port: 1}},
		},
	}
	want := `private_key=KEY
fwmark=77
listen_port=51820
public_key=P1
preshared_key=PSK
endpoint=[2001:db8::1]:1
persistent_keepalive_interval=25
allowed_ip=10.0.0.0/8
allowed_ip=2001:db8::/32
public_key=P2
persistent_keepalive_interval=0
`
	got := readable(setupText(c, 77), key.Hex(), "KEY", psk.Hex(), "PSK", p1.Hex(), "P1", p2.Hex(), "P2")
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestAllowed(t *testing.T) {
	one := conf.Peer{PublicKey: newKey(t).Public(), AllowedIPs: prefixes("10.0.0.0/8 2001:db8::/32")}
	for _, c := range []struct {
		t    conf.Tunnel
		want string
	}{
		{conf.Tunnel{}, "10.0.0.0/8 2001:db8::/32"},
		{conf.Tunnel{Widened4: true}, "0.0.0.0/0 2001:db8::/32"},
		{conf.Tunnel{Widened6: true}, "::/0 10.0.0.0/8"},
		{conf.Tunnel{Widened4: true, Widened6: true}, "0.0.0.0/0 ::/0"},
		{conf.Tunnel{Widened4: true, Peers: []conf.Peer{{}}}, "10.0.0.0/8 2001:db8::/32"},
	} {
		c.t.Peers = append(c.t.Peers, one)
		if d := cmp.Diff(prefixes(c.want), allowed(c.t, one), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); d != "" {
			t.Error(d)
		}
	}
}

func TestChangeText(t *testing.T) {
	key, psk, p1, p2, p3 := newKey(t), newKey(t), newKey(t).Public(), newKey(t).Public(), newKey(t).Public()
	old := conf.Tunnel{PrivateKey: key, Peers: []conf.Peer{
		{PublicKey: p1, PresharedKey: psk, Endpoint: endpointAt("192.0.2.1:1"), AllowedIPs: prefixes("10.1.0.0/16 10.2.0.0/16")},
		{PublicKey: p2, AllowedIPs: prefixes("10.3.0.0/16")},
	}}
	for _, c := range []struct {
		name   string
		change func(*conf.Tunnel)
		want   string
	}{
		{"nothing", func(*conf.Tunnel) {}, ""},
		{"an endpoint", func(c *conf.Tunnel) { c.Peers[0].Endpoint = endpointAt("192.0.2.2:2") },
			"public_key=P1\nupdate_only=true\nendpoint=192.0.2.2:2\n"},
		{"no preshared key", func(c *conf.Tunnel) { c.Peers[0].PresharedKey = conf.PrivateKey{} },
			"public_key=P1\nupdate_only=true\npreshared_key=NONE\n"},
		{"keepalive", func(c *conf.Tunnel) { c.Peers[1].Keepalive = 20 * time.Second },
			"public_key=P2\nupdate_only=true\npersistent_keepalive_interval=20\n"},
		{"allowed addresses, new before old gone", func(c *conf.Tunnel) { c.Peers[0].AllowedIPs = prefixes("10.2.0.0/16 10.4.0.0/16") },
			"public_key=P1\nupdate_only=true\nallowed_ip=10.4.0.0/16\npublic_key=P1\nupdate_only=true\nallowed_ip=-10.1.0.0/16\n"},
		{"another peer", func(c *conf.Tunnel) { c.Peers[1].PublicKey = p3 },
			"public_key=P3\npersistent_keepalive_interval=0\nallowed_ip=10.3.0.0/16\npublic_key=P2\nremove=true\n"},
		{"one peer widened", func(c *conf.Tunnel) { c.Peers = c.Peers[:1]; c.Widened4 = true },
			"public_key=P1\nupdate_only=true\nallowed_ip=0.0.0.0/0\n" +
				"public_key=P1\nupdate_only=true\nallowed_ip=-10.1.0.0/16\nallowed_ip=-10.2.0.0/16\npublic_key=P2\nremove=true\n"},
	} {
		next := old
		next.Peers = append([]conf.Peer(nil), old.Peers...)
		c.change(&next)
		got := readable(changeText(old, next), p1.Hex(), "P1", p2.Hex(), "P2", p3.Hex(), "P3", strings.Repeat("0", 64), "NONE")
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
	}
}
