package peers

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"turnout/conf"
)

// named opens a tunnel to a, which it knows as vpn.example.com only.
func named(t *testing.T, a *end, k conf.PrivateKey, o Options, find lookup) *end {
	t.Helper()
	e := &end{tun: newTUN(), conf: conf.Tunnel{Name: uniqueName(), PrivateKey: k, Peers: []conf.Peer{{
		PublicKey: a.conf.PrivateKey.Public(), AllowedIPs: prefixes("10.0.0.0/8"),
		Endpoint: conf.Endpoint{Host: "vpn.example.com", Port: a.Status().ListenPort}}}}}
	o.Device, o.Dir = e.tun, t.TempDir()
	start := time.Now()
	d, err := open(e.conf, o, find)
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("Open took %v", took)
	}
	t.Cleanup(d.Close)
	e.Device = d
	return e
}

// A tunnel starts while DNS is down, says so, and works once it is up.
func TestNamesAreResolvedLater(t *testing.T) {
	k := newKey(t)
	a := openEnd(t, conf.Tunnel{Name: uniqueName(), PrivateKey: newKey(t), Peers: []conf.Peer{{
		PublicKey: k.Public(), AllowedIPs: prefixes("10.0.0.0/8")}}}, Options{})
	var tries atomic.Int32
	book, log := newLogBook(slog.LevelInfo)
	b := named(t, a, k, Options{Log: log}, func(ctx context.Context, host string) ([]netip.Addr, error) {
		if tries.Add(1) == 1 {
			return nil, errors.New("DNS is down")
		}
		if host != "vpn.example.com" {
			t.Errorf("host %q", host)
		}
		return []netip.Addr{netip.MustParseAddr("::ffff:127.0.0.1")}, nil
	})
	b.tun.Send(ipPacket(100, 1))
	a.expect(t, 100, 1)
	if text := book.text(); !strings.Contains(text, "DNS is down") || !strings.Contains(text, "vpn.example.com") {
		t.Errorf("log %s", text)
	}
	if got := b.Status().Peers[0].Endpoint; got.Addr() != netip.MustParseAddr("127.0.0.1") {
		t.Errorf("endpoint %v", got)
	}
}

// Close and a changed endpoint end a lookup that hangs, and its answer is not
// taken.
func TestLookupsEnd(t *testing.T) {
	checkGoroutines(t)
	t.Run("", func(t *testing.T) {
		a := openEnd(t, conf.Tunnel{Name: uniqueName(), PrivateKey: newKey(t)}, Options{})
		ended := make(chan bool, 10)
		b := named(t, a, newKey(t), Options{}, func(ctx context.Context, host string) ([]netip.Addr, error) {
			<-ctx.Done()
			ended <- true
			return []netip.Addr{netip.MustParseAddr("127.0.0.9")}, nil
		})
		c := b.conf
		c.Peers = append([]conf.Peer(nil), c.Peers...)
		c.Peers[0].Endpoint = endpointAt("127.0.0.1:9")
		if err := b.Apply(c); err != nil {
			t.Fatal(err)
		}
		<-ended
		if err := b.Apply(b.conf); err != nil { // the name again
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
		if got := b.Status().Peers[0].Endpoint; got != netip.MustParseAddrPort("127.0.0.1:9") {
			t.Errorf("endpoint %v", got)
		}
		start := time.Now()
		b.Close()
		if d := time.Since(start); d > time.Second {
			t.Errorf("Close took %v", d)
		}
		<-ended
	})
}

// The host's first reachable address is taken.
func TestReachable(t *testing.T) {
	inNetns(t, 1500, func() {
		d := &Device{}
		list := []netip.Addr{netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("127.0.0.5")}
		if got := d.reachable(list); got != list[2] {
			t.Errorf("took %v", got)
		}
		if got := d.reachable(list[:2]); got != list[0] {
			t.Errorf("took %v of two without a route", got)
		}
	})
}

func TestResolverMark(t *testing.T) {
	needRoot(t)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := markControl(0x5000)("udp4", "", rawFD(fd)); err != nil {
		t.Fatal(err)
	}
	if got, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK); err != nil || got != 0x5000 {
		t.Errorf("mark %#x, %v", got, err)
	}
}

// rawFD is a syscall.RawConn for a plain descriptor.
type rawFD int

var _ syscall.RawConn = rawFD(0)

func (fd rawFD) Control(f func(uintptr)) error  { f(uintptr(fd)); return nil }
func (fd rawFD) Read(func(uintptr) bool) error  { return errors.ErrUnsupported }
func (fd rawFD) Write(func(uintptr) bool) error { return errors.ErrUnsupported }
