package dataplane

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"turnout/classifier/packet"
	"turnout/dataplane/segment"
)

/* The namespaces of TestThroughTwoDevices:
 *
 *	[client 10.99.0.1] a ─► cut ─► coalesce ─► b [server 10.99.0.2]
 *	                   a ◄─ coalesce ◄─ cut ◄─ b
 */

// inNamespace runs f on a thread in a new network namespace of its own, which
// goes when nothing in it is left.
func inNamespace(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("needs root for a network namespace")
		}
		t.Skip("needs root for a network namespace")
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		ns, err := netns.New()
		if err == nil {
			defer ns.Close()
			defer func() { done <- nil }() // f may end by t.FailNow
			f()
			return
		}
		done <- fmt.Errorf("making a network namespace: %w", err)
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// openUp opens a TUN device in the current namespace, with an address, up.
func openUp(t *testing.T, name, address string) *TUN {
	t.Helper()
	tun, err := OpenTUN(name)
	if err != nil {
		t.Error(err)
		runtime.Goexit()
	}
	t.Cleanup(func() { tun.Close() })
	link, err := netlink.LinkByName(name)
	if err != nil {
		t.Error(err)
		runtime.Goexit()
	}
	a, _ := netlink.ParseAddr(address)
	// No IPv6 chatter of the interface itself.
	os.WriteFile("/proc/sys/net/ipv6/conf/"+name+"/disable_ipv6", []byte("1"), 0)
	for _, err := range []error{
		netlink.AddrAdd(link, a), netlink.LinkSetTxQLen(link, 5000), netlink.LinkSetUp(link),
	} {
		if err != nil {
			t.Errorf("setting up %s: %v", name, err)
			runtime.Goexit()
		}
	}
	return tun
}

func TestOpenTUN(t *testing.T) {
	inNamespace(t, func() {
		first, err := OpenTUN("turn0")
		if err != nil {
			t.Error(err)
			return
		}
		defer first.Close()
		link, err := net.InterfaceByName("turn0")
		if err != nil || link.Index != first.Index() || first.Name() != "turn0" {
			t.Errorf("index %d, name %q; the system says %+v, %v", first.Index(), first.Name(), link, err)
		}
		if first.refused.Load() != 0 {
			t.Errorf("this kernel refuses super-packets?")
		}
		for _, row := range []struct{ name, want string }{
			{"turn0", "another process holds it"},
			{"lo", "TUN device lo"},
			{"", "1 to 15 bytes"},
			{"a-name-too-long-for-it", "1 to 15 bytes"},
			{"bad/name", "no name for an interface"},
		} {
			if d, err := OpenTUN(row.name); err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("%q: %v, want ...%s...", row.name, err, row.want)
				if d != nil {
					d.Close()
				}
			}
		}
	})
}

func TestOpenTUNFollowsARename(t *testing.T) {
	inNamespace(t, func() {
		tun, err := OpenTUN("turn0")
		if err != nil {
			t.Error(err)
			return
		}
		defer tun.Close()
		link, _ := netlink.LinkByName("turn0")
		if err := netlink.LinkSetName(link, "turn1"); err != nil {
			t.Error(err)
		}
		if tun.Name() != "turn1" {
			t.Errorf("Name %q, want turn1", tun.Name())
		}
		netlink.LinkDel(link)
		if tun.Name() != "" {
			t.Errorf("Name of a deleted device: %q", tun.Name())
		}
	})
}

// probePacket is a packet that no host answers.
func probePacket() []byte {
	return []byte{0x45, 0, 0, 20, 0, 0, 0, 0, 9, 253, 0, 0, 10, 99, 0, 77, 10, 99, 0, 78}
}

func TestWriteErrors(t *testing.T) {
	inNamespace(t, func() {
		tun, err := OpenTUN("turn0")
		if err != nil {
			t.Error(err)
			return
		}
		w := tun.NewWriter()
		if err := w.WritePacket(&segment.Header{}, probePacket()); err != syscall.EIO {
			t.Errorf("while down: %v, want EIO", err)
		}
		bad := segment.Header{GSOType: segment.GSOTCPv4, Flags: segment.NeedsChecksum, CsumStart: 9999, CsumOffset: 16, GSOSize: 1}
		if err := w.WritePacket(&bad, probePacket()); err != syscall.EINVAL {
			t.Errorf("a malformed offload: %v, want EINVAL", err)
		}
		if tun.refused.Load() != 0 {
			t.Error("one malformed packet switched super-packets off")
		}
		tun.Close()
		if err := w.WritePacket(&segment.Header{}, probePacket()); !errors.Is(err, os.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
}

func TestReadWaitsAndEnds(t *testing.T) {
	inNamespace(t, func() {
		tun := openUp(t, "turn0", "10.99.0.1/24")
		buf := make([]byte, 70000)
		if n, ok, err := tun.TryRead(buf); n != 0 || ok || err != nil {
			t.Errorf("nothing to read: %d, %v, %v", n, ok, err)
		}
		c, err := net.Dial("udp4", "10.99.0.9:9")
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		got := make(chan int, 1)
		go func() {
			n, _ := tun.Read(buf)
			got <- n
		}()
		time.Sleep(20 * time.Millisecond) // so that Read waits
		c.Write([]byte("one"))
		if n := <-got; n != 10+28+3 {
			t.Errorf("read %d bytes, want 41", n)
		}
		c.Write([]byte("three"))
		if n, ok, err := tun.TryRead(buf); n != 10+28+5 || !ok || err != nil {
			t.Errorf("read %d, %v, %v; want 43 bytes", n, ok, err)
		}
		ended := make(chan error, 1)
		go func() {
			_, err := tun.Read(buf)
			ended <- err
		}()
		time.Sleep(20 * time.Millisecond)
		tun.Close()
		if err := <-ended; !errors.Is(err, os.ErrClosed) {
			t.Errorf("the reader ended with %v", err)
		}
		if _, _, err := tun.TryRead(buf); !errors.Is(err, os.ErrClosed) {
			t.Errorf("TryRead after Close: %v", err)
		}
	})
}

func TestReadEndsWhenTheInterfaceIsDeleted(t *testing.T) {
	inNamespace(t, func() {
		tun := openUp(t, "turn0", "10.99.0.1/24")
		link, _ := netlink.LinkByName("turn0")
		ended := make(chan error, 1)
		go func() {
			_, err := tun.Read(make([]byte, 2000))
			ended <- err
		}()
		time.Sleep(20 * time.Millisecond)
		netlink.LinkDel(link)
		select {
		case err := <-ended:
			if err != syscall.EBADFD {
				t.Errorf("the reader ended with %v, want EBADFD", err)
			}
		case <-time.After(5 * time.Second):
			t.Error("the reader never noticed")
		}
	})
}

func TestTUNDoesNotAllocate(t *testing.T) {
	inNamespace(t, func() {
		tun := openUp(t, "turn0", "10.99.0.1/24")
		w, h, p := tun.NewWriter(), &segment.Header{}, probePacket()
		iov := [][]byte{p[:10], p[10:]}
		buf := make([]byte, 70000)
		if n := testing.AllocsPerRun(200, func() {
			w.WriteVec(h, iov)
			w.WritePacket(h, p)
			tun.TryRead(buf)
		}); n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
}

// A pump moves what it reads from one device, cut to packets, coalesced to
// another, as a LAN's traffic goes into one tunnel and out of another.
type pump struct {
	from, to        *TUN
	super, segments atomic.Int64 // read
	wrote, merged   atomic.Int64
	failed          atomic.Int64
	w               *Writer
	ended           chan struct{}
}

func (p *pump) WriteVec(h *segment.Header, iov [][]byte) error {
	if p.wrote.Add(1); h.GSOType != segment.GSONone {
		p.merged.Add(1)
	}
	return p.w.WriteVec(h, iov)
}

func (p *pump) run(t *testing.T) {
	defer close(p.ended)
	p.w = p.to.NewWriter()
	in := make([]byte, segment.HeaderLen+65535)
	bufs := make([][2048]byte, 128)
	var cutter segment.Cutter
	merge := segment.Coalescer{UDP: p.to.USO}
	for {
		n, err := p.from.Read(in)
		if err != nil {
			return
		}
		var h segment.Header
		var v packet.View
		pkt := in[segment.HeaderLen:n]
		if !h.Decode(in[:n]) || v.Decode(pkt) != packet.OK || v.Version != 4 {
			continue
		}
		if why := cutter.Start(h, pkt, &v); why != packet.OK {
			t.Errorf("the kernel's own packet: %v", why)
			continue
		}
		if h.GSOType != segment.GSONone {
			p.super.Add(1)
		}
		for cutter.Left() > 0 {
			for i := range bufs {
				n := cutter.Next(bufs[i][:])
				if n == 0 {
					break
				}
				if v.Decode(bufs[i][:n]) == packet.OK {
					p.segments.Add(1)
					merge.Add(bufs[i][:n], &v)
				}
			}
			p.failed.Add(int64(merge.Flush(p)))
		}
	}
}

// twoDevices connects two namespaces and returns how to be in the second.
func twoDevices(t *testing.T, spoil func(a, b *TUN)) (there, back *pump, inServer func(func())) {
	a := openUp(t, "turn-a", "10.99.0.1/24")
	client, err := netns.Get()
	if err != nil {
		t.Error(err)
		runtime.Goexit()
	}
	server, err := netns.New() // enters it
	if err != nil {
		t.Error(err)
		runtime.Goexit()
	}
	b := openUp(t, "turn-b", "10.99.0.2/24")
	netns.Set(client)
	t.Cleanup(func() { client.Close(); server.Close() })
	spoil(a, b)
	there = &pump{from: a, to: b, ended: make(chan struct{})}
	back = &pump{from: b, to: a, ended: make(chan struct{})}
	go there.run(t)
	go back.run(t)
	return there, back, func(f func()) {
		netns.Set(server)
		defer netns.Set(client)
		f()
	}
}

// transfer sends size random bytes over TCP and compares what arrives.
func transfer(t *testing.T, size int64, listen net.Listener) {
	received := make(chan hash.Hash, 1)
	go func() {
		h := sha256.New()
		defer func() { received <- h }()
		c, err := listen.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		io.Copy(h, c)
	}()
	c, err := net.DialTimeout("tcp4", listen.Addr().String(), 5*time.Second)
	if err != nil {
		t.Error(err)
		return
	}
	c.SetDeadline(time.Now().Add(30 * time.Second))
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	source := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)})
	sent := sha256.New()
	_, err = io.Copy(c, io.TeeReader(io.LimitReader(source, size), sent))
	c.Close()
	if err != nil {
		t.Errorf("sending: %v", err)
		listen.Close()
	}
	if h := <-received; !bytes.Equal(h.Sum(nil), sent.Sum(nil)) {
		t.Error("what arrived is not what was sent")
	}
}

func TestThroughTwoDevices(t *testing.T) {
	for _, row := range []struct {
		name    string
		refused uint32
		told    int
	}{
		{"super-packets", 0, 0},
		{"packet by packet", kind(&segment.Header{GSOType: segment.GSOTCPv4}), 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			inNamespace(t, func() {
				var log bytes.Buffer
				there, back, inServer := twoDevices(t, func(a, b *TUN) {
					b.Log = slog.New(slog.NewTextHandler(&log, nil))
					b.refused.Store(row.refused)
				})
				var l net.Listener
				inServer(func() { l, _ = net.Listen("tcp4", "10.99.0.2:0") })
				if l == nil {
					t.Error("cannot listen in the server's namespace")
					return
				}
				defer l.Close()
				transfer(t, 16<<20, l)
				t.Logf("%d super-packets became %d segments, written as %d packets, %d of them super-packets; %d failed",
					there.super.Load(), there.segments.Load(), there.wrote.Load(), there.merged.Load(), there.failed.Load())
				if there.super.Load() == 0 || there.merged.Load() == 0 {
					t.Error("no super-packets: this tests nothing")
				}
				if n := there.failed.Load() + back.failed.Load(); n != 0 {
					t.Errorf("%d packets failed", n)
				}
				there.from.Close()
				there.to.Close()
				<-there.ended
				<-back.ended
				if n := strings.Count(log.String(), "refuses super-packets"); n != row.told {
					t.Errorf("the log says it %d times, want %d: %s", n, row.told, log.String())
				}
			})
		})
	}
}

func TestDatagramsThroughTwoDevices(t *testing.T) {
	inNamespace(t, func() {
		there, _, inServer := twoDevices(t, func(a, b *TUN) {})
		if !there.to.USO {
			t.Log("this kernel has no super-packets of UDP")
			return
		}
		var l net.PacketConn
		inServer(func() { l, _ = net.ListenPacket("udp4", "10.99.0.2:0") })
		if l == nil {
			t.Error("cannot listen in the server's namespace")
			return
		}
		defer l.Close()
		c, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(l.LocalAddr().String())))
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		raw, _ := c.SyscallConn()
		raw.Control(func(fd uintptr) { unix.SetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_SEGMENT, 1000) })
		sent := make([]byte, 10500)
		for i := range sent {
			sent[i] = byte(i / 100)
		}
		if _, err := c.Write(sent); err != nil {
			t.Error(err)
			return
		}
		l.SetReadDeadline(time.Now().Add(5 * time.Second))
		var got []byte
		buf := make([]byte, 65535)
		for len(got) < len(sent) {
			n, _, err := l.ReadFrom(buf)
			if err != nil {
				t.Errorf("after %d bytes: %v", len(got), err)
				return
			}
			if n != 1000 && n != 500 {
				t.Errorf("a datagram of %d bytes", n)
			}
			got = append(got, buf[:n]...)
		}
		if !bytes.Equal(got, sent) {
			t.Error("what arrived is not what was sent")
		}
		t.Logf("%d super-packets became %d datagrams, %d super-packets", there.super.Load(), there.segments.Load(), there.merged.Load())
		if there.merged.Load() == 0 {
			t.Error("nothing was merged")
		}
	})
}
