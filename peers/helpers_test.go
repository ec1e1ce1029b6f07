package peers

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"turnout/conf"
	"turnout/peers/peerstest"
)

const mtu = 1420

var numbers atomic.Uint32

// uniqueName is a tunnel name that no other test process has.
func uniqueName() string { return fmt.Sprintf("tt%d.%d", os.Getpid(), numbers.Add(1)) }

// newKey makes a key that is different in every run: nothing depends on its
// value.
func newKey(t testing.TB) conf.PrivateKey {
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

// needRoot ends the test where it cannot run, which continuous integration
// does not accept.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("this test needs root")
	}
	t.Skip("this test needs root")
}

// An end is a tunnel with the test at its LAN side.
type end struct {
	*Device
	tun  *peerstest.TUN
	conf conf.Tunnel
	sent atomic.Int64
}

func openEnd(t testing.TB, c conf.Tunnel, o Options) *end {
	t.Helper()
	e := &end{tun: peerstest.NewTUN(mtu), conf: c}
	o.Device = e.tun
	o.Sent = func(n int) { e.sent.Add(int64(n)) }
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	d, err := Open(c, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	e.Device = d
	return e
}

// openPair connects two tunnels by 127.0.0.1 or ::1. The second knows the
// first one's address and not the other way round.
func openPair(t testing.TB, loopback string, o Options) (a, b *end) {
	t.Helper()
	return openEnds(t, loopback, o, o)
}

// openInside is openPair without sockets: both ends are hosts of a network in
// memory.
func openInside(t testing.TB, o Options) (a, b *end) {
	t.Helper()
	n := peerstest.NewNetwork()
	oa, ob := o, o
	oa.Transport = n.Host(netip.MustParseAddr("10.64.0.1"))
	ob.Transport = n.Host(netip.MustParseAddr("10.64.0.2"))
	return openEnds(t, "10.64.0.1", oa, ob)
}

// openEnds connects a, which has address host, and b.
func openEnds(t testing.TB, host string, oa, ob Options) (a, b *end) {
	t.Helper()
	ka, kb := newKey(t), newKey(t)
	psk := newKey(t)
	peer := func(k conf.PrivateKey, e conf.Endpoint) []conf.Peer {
		return []conf.Peer{{PublicKey: k.Public(), PresharedKey: psk, Endpoint: e,
			AllowedIPs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}}
	}
	a = openEnd(t, conf.Tunnel{Name: uniqueName(), PrivateKey: ka, Peers: peer(kb, conf.Endpoint{})}, oa)
	at := conf.Endpoint{Host: host, Port: a.Status().ListenPort}
	b = openEnd(t, conf.Tunnel{Name: uniqueName(), PrivateKey: kb, Peers: peer(ka, at)}, ob)
	return a, b
}

// ipPacket is an IPv4 packet of size bytes that carries a number.
func ipPacket(size int, number uint64) []byte {
	p := make([]byte, max(size, 28))
	p[0] = 0x45
	binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
	p[8], p[9] = 64, 253
	copy(p[12:], []byte{10, 0, 0, 1, 10, 0, 0, 2})
	binary.BigEndian.PutUint64(p[20:], number)
	for i := 28; i < len(p); i++ {
		p[i] = byte(number + uint64(i))
	}
	return p
}

// expect waits for packet number to come out of e.
func (e *end) expect(t testing.TB, size int, number uint64) {
	t.Helper()
	select {
	case p := <-e.tun.Received():
		if string(p) != string(ipPacket(size, number)) {
			t.Fatalf("packet %d came out changed: %x", number, p)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("packet %d did not come out", number)
	}
}

// shakeHands takes one packet each way.
func shakeHands(t testing.TB, a, b *end) {
	t.Helper()
	b.tun.Send(ipPacket(100, 1))
	a.expect(t, 100, 1)
	a.tun.Send(ipPacket(100, 2))
	b.expect(t, 100, 2)
}

// checkGoroutines fails the test if, after its cleanups so far, goroutines are
// left that were not there at the call.
func checkGoroutines(t *testing.T) {
	t.Helper()
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		for end := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; {
			if time.Now().After(end) {
				buf := make([]byte, 1<<16)
				t.Fatalf("%d goroutines became %d:\n%s", before, runtime.NumGoroutine(), buf[:runtime.Stack(buf, true)])
			}
			time.Sleep(10 * time.Millisecond)
		}
	})
}

// A logBook keeps log lines.
type logBook struct {
	lines chan string
}

func newLogBook(level slog.Level) (*logBook, *slog.Logger) {
	b := &logBook{lines: make(chan string, 10000)}
	return b, slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: level}))
}

func (b *logBook) Write(p []byte) (int, error) {
	select {
	case b.lines <- string(p):
		return len(p), nil
	default:
		return 0, io.ErrShortWrite
	}
}

// text returns what was logged since the last call.
func (b *logBook) text() string {
	var w strings.Builder
	for {
		select {
		case l := <-b.lines:
			w.WriteString(l)
		default:
			return w.String()
		}
	}
}

func newTUN() *peerstest.TUN { return peerstest.NewTUN(mtu) }
