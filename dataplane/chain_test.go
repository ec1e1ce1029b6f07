package dataplane

import (
	"bytes"
	"encoding/base64"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/tun"

	"turnout/classifier"
	"turnout/classifier/packet"
	"turnout/conf"
	"turnout/peers"
	"turnout/peers/peerstest"
)

/* Two gateways, each with a tunnel inside of a tunnel:
 *
 *	test ── TUN ── inner device ── Conduit ── outer Tunnel ── outer device ── 127.0.0.1
 *	                                                                              │
 *	test ── TUN ── inner device ── Conduit ── outer Tunnel ── outer device ── 127.0.0.1
 */

// A gateway is one row of the drawing.
type gateway struct {
	lan          *peerstest.TUN
	outer, inner *peers.Device
	path         *Tunnel
	at           netip.AddrPort // of the inner device
}

func newKey(t *testing.T) conf.PrivateKey {
	t.Helper()
	var b [32]byte
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	k, err := conf.ParsePrivateKey(base64.StdEncoding.EncodeToString(b[:]))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// newGateway opens both devices; far is nil where nobody is known yet. Keys are
// the outer and the inner one.
func newGateway(t *testing.T, address string, mine, theirs [2]conf.PrivateKey, far *gateway) *gateway {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fds[1]) })
	e := New(deviceOf(t, fds[0]), Options{Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() { e.tun.Close() })
	table, err := classifier.Compile(&classifier.Policy{Exits: []classifier.Exit{
		{Name: "direct", Kind: classifier.KindDirect}, {Name: "drop", Kind: classifier.KindDrop},
		{Name: "reject", Kind: classifier.KindReject}, {Name: "outer", Kind: classifier.KindTunnel}}})
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{lan: peerstest.NewTUN(ConduitMTU(1420))}
	own := netip.MustParseAddr(address)
	g.path = e.NewTunnel(TunnelOptions{Name: "outer", Exit: classifier.FirstNamed, MTU: 1420, Address4: packet.AddrFrom(own), Peers: 1})
	p := NewPlan(table)
	p.Tunnels[classifier.FirstNamed] = g.path
	e.Swap(p)

	open := func(i int, name string, device tun.Device, o peers.Options, to netip.AddrPort) *peers.Device {
		c := conf.Tunnel{Name: name, PrivateKey: mine[i], Peers: []conf.Peer{{
			PublicKey: theirs[i].Public(), AllowedIPs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}}}
		if to.IsValid() {
			c.Peers[0].Endpoint = conf.Endpoint{Host: to.Addr().String(), Port: to.Port()}
		}
		o.Device, o.Dir = device, t.TempDir()
		d, err := peers.Open(c, o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(d.Close)
		return d
	}
	var toOuter, toInner netip.AddrPort
	if far != nil {
		toOuter = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), far.outer.Status().ListenPort)
		toInner = far.at
	}
	g.outer = open(0, "outer", g.path, peers.Options{Sending: g.path.Sending, Sent: g.path.Sent}, toOuter)
	g.inner = open(1, "inner", g.lan, peers.Options{Transport: g.path.Conduit()}, toInner)
	g.at = netip.AddrPortFrom(own, g.inner.Status().ListenPort)
	return g
}

// A packet goes through both tunnels and back, in full size, and nothing of it
// is seen on the way but what the outer tunnels carry.
func TestTunnelInsideATunnel(t *testing.T) {
	ka, kb := [2]conf.PrivateKey{newKey(t), newKey(t)}, [2]conf.PrivateKey{newKey(t), newKey(t)}
	a := newGateway(t, "10.64.0.1", ka, kb, nil)
	b := newGateway(t, "10.64.0.2", kb, ka, a)
	if p := a.path.ConduitPorts(); len(p) != 1 || p[0] != a.at.Port() {
		t.Fatalf("the inner device is at %v, and the conduit at %v", a.at, p)
	}
	there, back := udp("10.1.0.1", "10.2.0.1", 5000, 53, 1332), udp("10.2.0.1", "10.1.0.1", 53, 5000, 1332)
	for i := range 100 {
		there[100], back[100] = byte(i), byte(i)
		for _, hop := range []struct {
			from, to *gateway
			pkt      []byte
		}{{b, a, there}, {a, b, back}} {
			hop.from.lan.Send(bytes.Clone(hop.pkt))
			select {
			case got := <-hop.to.lan.Received():
				if !bytes.Equal(got, hop.pkt) {
					t.Fatalf("packet %d changed on its way", i)
				}
			case <-time.After(10 * time.Second):
				t.Fatalf("packet %d did not arrive", i)
			}
		}
	}
	for _, g := range []*gateway{a, b} {
		g.path.Dropped.Each(func(why packet.Reason, n uint64) { t.Errorf("%d dropped: %v", n, why) })
		if n := g.path.Out.Packets.Load(); n < 100 || n > 110 {
			t.Errorf("%d packets left by the outer tunnel: were they fragmented?", n)
		}
	}
	if at := a.inner.Status().Peers[0].Endpoint; at != b.at {
		t.Errorf("the inner peer is at %v, not %v", at, b.at)
	}
}
