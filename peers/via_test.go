package peers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/conn"

	"turnout/conf"
	"turnout/peers/peerstest"
)

func TestTrafficInside(t *testing.T) {
	a, b := openInside(t, Options{})
	shakeHands(t, a, b)
	t.Run("up", func(t *testing.T) { flood(t, b, a, 10000) })
	t.Run("down", func(t *testing.T) { flood(t, a, b, 10000) })
	t.Run("burst", func(t *testing.T) { burst(t, a, b, 1500) })
	for wait := time.Now().Add(5 * time.Second); a.sent.Load() < 11501 && time.Now().Before(wait); {
		time.Sleep(time.Millisecond)
	}
	if n := a.sent.Load(); n != 11501 {
		t.Errorf("Sent was told of %d data messages, not 11501", n)
	}
	sa, sb := a.Status(), b.Status()
	if sa.Lost+sb.Lost != 0 {
		t.Errorf("%d and %d datagrams were lost", sa.Lost, sb.Lost)
	}
	if want := netip.AddrPortFrom(netip.MustParseAddr("10.64.0.2"), sb.ListenPort); sa.Peers[0].Endpoint != want {
		t.Errorf("the peer is at %v, not %v", sa.Peers[0].Endpoint, want)
	}
}

// burst sends n packets at once and wants each of them.
func burst(t *testing.T, from, to *end, n int) {
	for i := range n {
		from.tun.Send(ipPacket(mtu, uint64(i)))
	}
	timeout := time.After(30 * time.Second)
	for got := range n {
		select {
		case <-to.tun.Received():
		case <-timeout:
			t.Fatalf("%d of %d packets arrived", got, n)
		}
	}
}

// A tunnel goes on after its device was down, and after it moved to another
// port of its Transport.
func TestRebindInside(t *testing.T) {
	checkGoroutines(t)
	t.Run("", func(t *testing.T) {
		a, b := openInside(t, Options{})
		shakeHands(t, a, b)
		for range 3 {
			time.Sleep(60 * time.Millisecond) // sooner, the far end takes a handshake for a flood
			if err := errors.Join(b.wg.Down(), b.wg.Up()); err != nil {
				t.Fatal(err)
			}
			shakeHands(t, a, b)
		}
		c := b.conf
		c.ListenPort = 1234
		if err := b.Apply(c); err != nil {
			t.Fatal(err)
		}
		shakeHands(t, a, b)
		if at := a.Status().Peers[0].Endpoint; at.Port() != 1234 {
			t.Errorf("the peer is at %v", at)
		}
	})
}

// openVia opens a via that is a host of n, with its receiver and its address.
func openVia(t *testing.T, n *peerstest.Network, ip string) (*via, *plug, conn.Endpoint) {
	t.Helper()
	v := &via{common: aCommon(), under: n.Host(netip.MustParseAddr(ip)), lost: &new(Device).lost}
	fns, port, err := v.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.shutdown)
	at, err := v.ParseEndpoint(netip.AddrPortFrom(netip.MustParseAddr(ip), port).String())
	if err != nil {
		t.Fatal(err)
	}
	return v, newPlug(fns[0]), at
}

// A via is opened and closed as wireguard-go does with a bind.
func TestViaOpensAndCloses(t *testing.T) {
	n := peerstest.NewNetwork()
	v, r, at := openVia(t, n, "10.64.0.1")
	if _, _, err := v.Open(0); !errors.Is(err, conn.ErrBindAlreadyOpen) {
		t.Errorf("opened twice: %v", err)
	}
	other := &via{common: aCommon(), under: n.Host(netip.MustParseAddr("10.64.0.1"))}
	port := at.(*endpoint).addr.Port()
	if _, _, err := other.Open(port); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a port of somebody else: %v", err)
	}
	ended := make(chan error)
	go func() {
		_, err := r.receive()
		ended <- err
	}()
	time.Sleep(10 * time.Millisecond)
	if err := errors.Join(v.Close(), v.Close()); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("the receiver ended with %v", err)
	}
	if err := v.Send([][]byte{{1}}, at); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a closed via sends: %v", err)
	}
	if _, got, err := v.Open(port); err != nil || got != port {
		t.Errorf("opening again: port %d, %v", got, err)
	}
	v.shutdown()
	if _, _, err := v.Open(0); !errors.Is(err, net.ErrClosed) {
		t.Errorf("opening after shutdown: %v", err)
	}
}

// What wireguard-go keeps fills the window, as with sockets: then the inbox is
// where datagrams wait, and where they are lost.
func TestViaWaitsForTheWindow(t *testing.T) {
	n := peerstest.NewNetwork()
	from, _, _ := openVia(t, n, "10.64.0.1")
	to, r, at := openVia(t, n, "10.64.0.2")
	const most = pileCount
	for range most + 5 {
		if err := from.Send([][]byte{dataMessage()}, at); err != nil {
			t.Fatal(err)
		}
	}
	if got := to.lost.Load(); got != 5 {
		t.Fatalf("%d were lost, not 5", got)
	}
	for kept := 0; kept < windowMax; {
		got, err := r.receive()
		if err != nil {
			t.Fatal(err)
		}
		kept += got
		for i := range got {
			r.bufs[i] = make([]byte, 1<<16-1)
		}
	}
	begun := time.Now()
	if _, err := r.receive(); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(begun); d < windowPatience {
		t.Errorf("a full window was waited for %v", d)
	}
}

// Who bounds what is in flight hears of every send inside, too.
func TestSendsInsideAreTold(t *testing.T) {
	n := peerstest.NewNetwork()
	v, _, at := openVia(t, n, "10.64.0.1")
	said := ""
	v.sending = func() { said += "sending " }
	v.sent = func(n int) { said += fmt.Sprintf("sent %d ", n) }
	other, _ := v.ParseEndpoint("[2001:db8::1]:9")
	for _, c := range []struct {
		to   conn.Endpoint
		pkts [][]byte
		fail error
		want string
	}{
		{at, [][]byte{dataMessage(), dataMessage(), make([]byte, 92)}, nil, "sending sent 2 "},
		{at, [][]byte{make([]byte, 148)}, nil, ""},
		{other, [][]byte{dataMessage()}, syscall.EAFNOSUPPORT, "sending sent 1 "},
	} {
		said = ""
		if err := v.Send(c.pkts, c.to); !errors.Is(err, c.fail) {
			t.Errorf("a send to %s: %v", c.to.DstToString(), err)
		}
		if said != c.want {
			t.Errorf("a send of %d packets to %s said %q, want %q", len(c.pkts), c.to.DstToString(), said, c.want)
		}
	}
}

func TestNoAllocationsInside(t *testing.T) {
	n := peerstest.NewNetwork()
	from, _, _ := openVia(t, n, "10.64.0.1")
	_, r, at := openVia(t, n, "10.64.0.2")
	pkts := make([][]byte, 64)
	for i := range pkts {
		pkts[i] = make([]byte, 1452)
	}
	var failed error
	once := func() {
		failed = errors.Join(failed, from.Send(pkts, at))
		for got := 0; got < len(pkts); {
			k, err := r.receive()
			if err != nil {
				failed = err
				return
			}
			got += k
		}
	}
	once()
	if n := testing.AllocsPerRun(100, once); n > 0 {
		t.Errorf("%v allocations for a batch of 64 sent and received", n)
	}
	if failed != nil {
		t.Error(failed)
	}
}

// Inside of a tunnel there is IPv4, whatever the host has routes to.
func TestNamesInsideAreIPv4(t *testing.T) {
	n := peerstest.NewNetwork()
	k := newKey(t)
	a := openEnd(t, conf.Tunnel{Name: uniqueName(), PrivateKey: newKey(t), Peers: []conf.Peer{{
		PublicKey: k.Public(), AllowedIPs: prefixes("10.0.0.0/8")}}},
		Options{Transport: n.Host(netip.MustParseAddr("10.64.0.1"))})
	b := named(t, a, k, Options{Transport: n.Host(netip.MustParseAddr("10.64.0.2"))},
		func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.IPv6Loopback(), netip.MustParseAddr("::ffff:10.64.0.1")}, nil
		})
	b.tun.Send(ipPacket(100, 1))
	a.expect(t, 100, 1)
	if got := firstIPv4([]netip.Addr{netip.IPv6Loopback()}); got != netip.IPv6Loopback() {
		t.Errorf("took %v of what there is", got)
	}
}
