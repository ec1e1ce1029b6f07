package tests

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"turnout/tests/netlab"
)

// Each hop of the way through a tunnel shows: the gateway, the server, and a
// machine behind it.
func TestTracerouteShowsTheHops(t *testing.T) {
	t.Parallel()
	r := world{Options: netlab.Options{Beyond: true}}.up(t)
	want := []string{r.GatewayAddr().String(), r.Servers[0].Address.String(), netlab.Beyond.String()}
	for i, hop := range want {
		if i == 0 && !kernelSpeaks(t) {
			continue // the gateway's own hop is its kernel's
		}
		got, err := hopAt(r.Hosts[0], netlab.Beyond, i+1)
		if err != nil || got != hop {
			t.Errorf("with TTL %d %q answers (%v), want %s", i+1, got, err, hop)
		}
	}
}

// kernelSpeaks reports whether this machine's kernel sends ICMP at all, so that
// a test knows which answers can be asked of it.
func kernelSpeaks(t *testing.T) bool {
	t.Helper()
	speaks, err := netlab.KernelSpeaksICMP()
	if err != nil {
		t.Fatal(err)
	}
	if !speaks {
		t.Log("this machine's kernel sends no ICMP for IPv4 any more, in no namespace: what it would answer itself is not asked for")
	}
	return speaks
}

// hopAt returns who answers an echo request with a small TTL.
func hopAt(h *netlab.Host, to netip.Addr, ttl int) (string, error) {
	conn, err := h.ListenICMP()
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := ipv4.NewPacketConn(conn).SetTTL(ttl); err != nil {
		return "", err
	}
	m := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: 4000 + ttl, Data: []byte("hop")}}
	b, err := m.Marshal(nil)
	if err != nil {
		return "", err
	}
	buf := make([]byte, 1500)
	for range 3 { // the kernel limits its ICMP errors, the tunnel may be cold
		if _, err := conn.WriteTo(b, &net.IPAddr{IP: to.AsSlice()}); err != nil {
			return "", err
		}
		conn.SetReadDeadline(time.Now().Add(time.Second))
		n, from, err := conn.ReadFrom(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		if err != nil {
			return "", err
		}
		if answers(buf[:n], 4000+ttl) {
			return from.String(), nil
		}
	}
	return "", os.ErrDeadlineExceeded
}

// answers reports whether an ICMP message is about the echo request with id, and
// not a late one about another.
func answers(b []byte, id int) bool {
	m, err := icmp.ParseMessage(unix.IPPROTO_ICMP, b)
	if err != nil {
		return false
	}
	switch body := m.Body.(type) {
	case *icmp.Echo:
		return m.Type == ipv4.ICMPTypeEchoReply && body.ID == id
	case *icmp.TimeExceeded:
		return netlab.QuotesEcho(body.Data, id)
	}
	return false
}

func TestPingAndTracerouteTools(t *testing.T) {
	t.Parallel()
	need(t, "ping", "traceroute")
	r := world{Options: netlab.Options{Beyond: true}}.up(t)
	h := r.Hosts[0].Node
	if out := on(t, h, "ping", "-n", "-c", "5", "-i", "0.2", netlab.Beyond.String()); !strings.Contains(out, " 0% packet loss") {
		t.Errorf("ping:\n%s", out)
	}
	out := on(t, h, "traceroute", "-n", "-q", "1", "-w", "1", netlab.Beyond.String())
	for i, hop := range []string{r.GatewayAddr().String(), r.Servers[0].Address.String(), netlab.Beyond.String()} {
		if i == 0 && !kernelSpeaks(t) {
			continue
		}
		if !strings.Contains(out, " "+hop+" ") {
			t.Errorf("traceroute does not show %s:\n%s", hop, out)
		}
	}
}

// A tunnel with a small MTU: both ends learn to send small segments.
func TestMSSFitsTheTunnel(t *testing.T) {
	t.Parallel()
	const mtu = 1280
	r := world{Link: map[string]string{"sweden": fmt.Sprint("MTU = ", mtu)}}.up(t)
	f := netlab.Flow{Proto: "tcp", Dst: netlab.Internet[0], Port: 443}
	got, err := r.Hosts[0].Probe(f)
	if err != nil || got.Exit != "sweden" {
		t.Fatalf("%+v, %v", got, err)
	}
	// The timestamps option takes 12 bytes of each segment.
	if most := mtu - 40; got.MaxSeg > most || got.MaxSeg < most-12 {
		t.Errorf("the server sends segments of %d bytes, the tunnel takes %d", got.MaxSeg, most)
	}
	f.Wait = 2 * time.Second
	conn, err := r.Hosts[0].Dial(f)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if size, most := netlab.MaxSegment(conn), mtu-40; size > most || size < most-12 {
		t.Errorf("the host sends segments of %d bytes, the tunnel takes %d", size, most)
	}
	if err := r.Hosts[0].Upload(f, 4<<20, 7, 20*time.Second); err != nil {
		t.Error(err)
	}
}

// What is too big for the tunnel is refused with the true MTU when it must not
// be fragmented, and fragmented when it may.
func TestTooBigIsSaidOrFragmented(t *testing.T) {
	t.Parallel()
	const mtu = 1280
	r := world{Link: map[string]string{"sweden": fmt.Sprint("MTU = ", mtu)}}.up(t)
	f := netlab.Flow{Proto: "udp", Dst: netlab.Internet[0], Port: 443}
	big := []byte(strings.Repeat("x", 1400))

	conn := discover(t, r.Hosts[0], f, unix.IP_PMTUDISC_DO)
	if _, err := conn.Write(big); err != nil {
		t.Fatalf("before anybody could object: %v", err)
	}
	if learned := awaitMTU(conn, mtu); learned != mtu {
		t.Errorf("the host learns a path MTU of %d, want %d", learned, mtu)
	}

	// Not the same port: the kernel remembers the path for DF only.
	conn = discover(t, r.Hosts[0], f, unix.IP_PMTUDISC_DONT)
	if _, err := conn.Write(big); err != nil {
		t.Fatal(err)
	}
	conn.SetReadDeadline(time.Now().Add(3 * time.Second))
	buf := make([]byte, 4096)
	n, err := conn.Read(buf)
	if err != nil || !strings.HasSuffix(string(buf[:n]), string(big)) {
		t.Errorf("a datagram in fragments: %d bytes come back, %v", n, err)
	}
}

// discover opens a flow whose packets do or do not carry DF.
func discover(t *testing.T, h *netlab.Host, f netlab.Flow, how int) *net.UDPConn {
	t.Helper()
	conn, err := h.DialUDP(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	option(conn, func(fd int) error { return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, how) })
	return conn
}

func option(conn *net.UDPConn, f func(fd int) error) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	return errors.Join(raw.Control(func(fd uintptr) { inner = f(int(fd)) }), inner)
}

// awaitMTU waits until the socket has learned a path MTU.
func awaitMTU(conn *net.UDPConn, want int) (mtu int) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	for ctx.Err() == nil && mtu != want {
		option(conn, func(fd int) (err error) {
			mtu, err = unix.GetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU)
			return err
		})
		time.Sleep(5 * time.Millisecond)
	}
	return mtu
}
