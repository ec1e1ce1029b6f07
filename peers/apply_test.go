package peers

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"turnout/conf"
)

// A session goes on while its AllowedIPs change, and packets follow them.
func TestApplyWhileRunning(t *testing.T) {
	a, b := openPair(t, "127.0.0.1", Options{})
	shakeHands(t, a, b)
	first := b.Status().Peers[0].LastHandshake

	c := b.conf
	c.Peers = append([]conf.Peer(nil), c.Peers...)
	c.Peers[0].AllowedIPs = prefixes("172.16.0.0/12")
	if err := b.Apply(c); err != nil {
		t.Fatal(err)
	}
	if text := uapi(t, b); strings.Contains(text, "allowed_ip=10.0.0.0/8") || !strings.Contains(text, "allowed_ip=172.16.0.0/12") {
		t.Errorf("AllowedIPs did not move:\n%s", strings.Join(strings.Fields(text)[1:], "\n"))
	}
	c.Widened4 = true
	if err := b.Apply(c); err != nil {
		t.Fatal(err)
	}
	shakeHands(t, a, b)
	if got := b.Status().Peers[0].LastHandshake; got != first {
		t.Error("the session did not live on")
	}
}

// uapi is the device's own account of itself.
func uapi(t *testing.T, e *end) string {
	t.Helper()
	text, err := e.wg.IpcGet()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestApplyPeers(t *testing.T) {
	a, b := openPair(t, "127.0.0.1", Options{})
	third := openEnd(t, conf.Tunnel{Name: uniqueName(), PrivateKey: newKey(t), Peers: []conf.Peer{{
		PublicKey: b.conf.PrivateKey.Public(), AllowedIPs: prefixes("10.0.0.0/8")}}}, Options{})
	shakeHands(t, a, b)
	c := b.conf
	c.Peers = []conf.Peer{{PublicKey: third.conf.PrivateKey.Public(), AllowedIPs: prefixes("10.0.0.0/8"),
		Endpoint: conf.Endpoint{Host: "127.0.0.1", Port: third.Status().ListenPort}}}
	if err := b.Apply(c); err != nil {
		t.Fatal(err)
	}
	b.tun.Send(ipPacket(200, 7))
	third.expect(t, 200, 7)
	if s := b.Status(); len(s.Peers) != 1 || s.Peers[0].PublicKey != third.conf.PrivateKey.Public() {
		t.Errorf("status %+v", s)
	}
}

// A port that is taken costs nothing: the tunnel stays where it was.
func TestApplyPortInUse(t *testing.T) {
	a, b := openPair(t, "127.0.0.1", Options{})
	shakeHands(t, a, b)
	port := b.Status().ListenPort
	c := b.conf
	c.ListenPort = a.Status().ListenPort
	err := b.Apply(c)
	if err == nil || !strings.Contains(err.Error(), "is in use by another program") {
		t.Errorf("error %v", err)
	}
	if got := b.Status().ListenPort; got != port {
		t.Errorf("port %d became %d", port, got)
	}
	shakeHands(t, a, b)
}

func TestApplyRefuses(t *testing.T) {
	a := openEnd(t, conf.Tunnel{Name: uniqueName(), PrivateKey: newKey(t)}, Options{})
	c := a.conf
	c.Name = uniqueName()
	if err := a.Apply(c); err == nil || !strings.Contains(err.Error(), c.Name) {
		t.Errorf("another name: %v", err)
	}
	a.Close()
	if err := a.Apply(a.conf); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// A tunnel with an own key among its peers ignores that peer, as WireGuard
// does.
func TestOwnKeyAsPeer(t *testing.T) {
	k := newKey(t)
	a := openEnd(t, conf.Tunnel{Name: uniqueName(), PrivateKey: k, Peers: []conf.Peer{{PublicKey: k.Public(),
		AllowedIPs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}}}, Options{})
	if text := uapi(t, a); strings.Contains(text, "public_key=") {
		t.Error("the tunnel is its own peer")
	}
}
