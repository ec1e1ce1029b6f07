package dataplane

import (
	"context"
	"encoding/binary"
	"log/slog"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"turnout/classifier"
	"turnout/classifier/packet"
	"turnout/dataplane/segment"
)

// A world is an engine whose TUN device is one end of a pair of sockets, which
// keep packets apart as a TUN device does; the test holds the other end.
//
//	test ── seqpacket ── TUN ── Engine ── Tunnel.Read, Tunnel.Write ── test
type world struct {
	testing.TB
	*Engine
	kernel *os.File // what the kernel would send and get
	se, no *Tunnel  // masqueraded as 10.64.0.2, and not at all
}

const (
	exitSE = classifier.FirstNamed + iota
	exitNO
)

// newWorld makes a world that runs.
func newWorld(t testing.TB) *world {
	t.Helper()
	w := newStill(t)
	w.run()
	return w
}

// run has the engine move packets until the test ends.
func (w *world) run() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Engine.Run(ctx) }()
	w.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				w.Errorf("the engine ended with: %v", err)
			}
		case <-time.After(5 * time.Second):
			w.Error("the engine does not end")
		}
	})
}

// newStill makes a world in which nothing moves by itself. It routes 10.0.0.0/8
// without NAT, 203.0.113.0/24 directly, drops 192.0.2.1, rejects 192.0.2.2 and
// masquerades the rest.
func newStill(t testing.TB) *world {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{TB: t, Engine: New(deviceOf(t, fds[0]), Options{Log: slog.New(slog.DiscardHandler)})}
	w.kernel = os.NewFile(uintptr(fds[1]), "kernel")

	prefix := netip.MustParsePrefix
	entry := func(exit classifier.ExitID, to string) classifier.Entry {
		return classifier.Entry{By: classifier.ByRule, Exit: exit, Text: to, To: []netip.Prefix{prefix(to)}}
	}
	table, err := classifier.Compile(&classifier.Policy{
		Exits: []classifier.Exit{
			{Name: "direct", Kind: classifier.KindDirect}, {Name: "drop", Kind: classifier.KindDrop},
			{Name: "reject", Kind: classifier.KindReject},
			{Name: "se", Kind: classifier.KindTunnel}, {Name: "no", Kind: classifier.KindTunnel},
		},
		Entries: []classifier.Entry{
			entry(exitNO, "10.0.0.0/8"), entry(classifier.Direct, "203.0.113.0/24"),
			entry(classifier.Drop, "192.0.2.1/32"), entry(classifier.Reject, "192.0.2.2/32"),
			{By: classifier.ByDefault, Exit: exitSE, Text: "default"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	own := packet.AddrFrom(netip.MustParseAddr("10.64.0.2"))
	w.se = w.NewTunnel(TunnelOptions{Name: "se", Exit: exitSE, MTU: 1420, Address4: own, Masquerade: true})
	w.no = w.NewTunnel(TunnelOptions{Name: "no", Exit: exitNO, MTU: 1280, Address4: own})
	p := NewPlan(table)
	p.LAN = []Network{NewNetwork(prefix("192.168.77.0/24"), netip.MustParseAddr("192.168.77.1"), 1500)}
	p.Tunnels[exitSE], p.Tunnels[exitNO] = w.se, w.no
	w.Swap(p)
	t.Cleanup(func() {
		w.tun.Close()
		w.se.Close()
		w.no.Close()
		w.kernel.Close()
	})
	return w
}

// deviceOf makes a TUN of a socket.
func deviceOf(t testing.TB, fd int) *TUN {
	d := &TUN{file: os.NewFile(uintptr(fd), "tun")}
	var err error
	if d.conn, err = d.file.SyscallConn(); err != nil {
		t.Fatal(err)
	}
	d.read.wait = func(fd uintptr) bool { return d.readOnce(fd) }
	d.read.try = func(fd uintptr) bool { d.readOnce(fd); return true }
	return d
}

// send gives the engine a packet as the kernel would.
func (w *world) send(h segment.Header, pkt []byte) {
	w.Helper()
	b := make([]byte, segment.HeaderLen+len(pkt))
	h.Encode(b)
	copy(b[segment.HeaderLen:], pkt)
	if _, err := w.kernel.Write(b); err != nil {
		w.Fatal(err)
	}
}

// got returns the next packet that the engine gives the kernel, nil after a
// while without one.
func (w *world) got() (h segment.Header, pkt []byte) {
	w.Helper()
	b := make([]byte, segment.HeaderLen+frameSize)
	w.kernel.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
	n, err := w.kernel.Read(b)
	if os.IsTimeout(err) {
		return h, nil
	}
	if err != nil {
		w.Fatal(err)
	}
	h.Decode(b)
	return h, b[segment.HeaderLen:n]
}

// read returns the next packets of a tunnel, as WireGuard would get them.
func read(t *testing.T, tun *Tunnel, most int) [][]byte {
	t.Helper()
	bufs, sizes := make([][]byte, most), make([]int, most)
	for i := range bufs {
		bufs[i] = make([]byte, 16+65535)
	}
	type result struct {
		n   int
		err error
	}
	done := make(chan result, 1)
	go func() {
		n, err := tun.Read(bufs, sizes, 16)
		done <- result{n, err}
	}()
	select {
	case r := <-done:
		if r.err != nil {
			t.Fatal(r.err)
		}
		tun.Sending()
		tun.Sent(r.n)
		var out [][]byte
		for i := range r.n {
			out = append(out, bufs[i][16:16+sizes[i]])
		}
		return out
	case <-time.After(2 * time.Second):
		t.Fatalf("tunnel %s gives nothing", tun.opt.Name)
		return nil
	}
}

// give hands a tunnel packets, as WireGuard would.
func give(t *testing.T, tun *Tunnel, pkts ...[]byte) {
	t.Helper()
	var bufs [][]byte
	for _, p := range pkts {
		b := make([]byte, 16+len(p), 16+65535)
		copy(b[16:], p)
		bufs = append(bufs, b)
	}
	if n, err := tun.Write(bufs, 16); n != len(pkts) || err != nil {
		t.Fatalf("Write took %d of %d packets, %v", n, len(pkts), err)
	}
}

// build makes a valid IPv4 packet; l4 is the transport header and payload, its
// checksum filled in at offset sum.
func build(src, dst string, proto uint8, l4 []byte, sum int) []byte {
	b := make([]byte, 20+len(l4))
	b[0], b[8], b[9] = 0x45, 64, proto
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	s, d := netip.MustParseAddr(src).As4(), netip.MustParseAddr(dst).As4()
	copy(b[12:], s[:])
	copy(b[16:], d[:])
	copy(b[20:], l4)
	seal(b, sum)
	return b
}

// seal fills in both checksums of a packet without IP options.
func seal(b []byte, sum int) {
	b[10], b[11] = 0, 0
	binary.BigEndian.PutUint16(b[10:], ^packet.Checksum(b[:20], 0))
	l4 := b[20:]
	l4[sum], l4[sum+1] = 0, 0
	var initial uint64
	if b[9] != packet.ICMP {
		v := packet.View{Proto: b[9]}
		v.Src = packet.Addr4(binary.BigEndian.Uint32(b[12:]))
		v.Dst = packet.Addr4(binary.BigEndian.Uint32(b[16:]))
		v.Version = 4
		initial = packet.PseudoSum(&v, len(l4))
	}
	binary.BigEndian.PutUint16(l4[sum:], ^packet.Checksum(l4, initial))
}

func udp(src, dst string, sport, dport uint16, n int) []byte {
	l4 := make([]byte, 8+n)
	binary.BigEndian.PutUint16(l4, sport)
	binary.BigEndian.PutUint16(l4[2:], dport)
	binary.BigEndian.PutUint16(l4[4:], uint16(len(l4)))
	for i := range n {
		l4[8+i] = byte(i)
	}
	return build(src, dst, packet.UDP, l4, 6)
}

func tcp(src, dst string, sport, dport uint16, seq uint32, flags uint8, options, data []byte) []byte {
	l4 := make([]byte, 20+len(options)+len(data))
	binary.BigEndian.PutUint16(l4, sport)
	binary.BigEndian.PutUint16(l4[2:], dport)
	binary.BigEndian.PutUint32(l4[4:], seq)
	l4[12], l4[13] = byte((20+len(options))/4)<<4, flags
	binary.BigEndian.PutUint16(l4[14:], 65535)
	copy(l4[20:], options)
	copy(l4[20+len(options):], data)
	return build(src, dst, packet.TCP, l4, 16)
}

func echo(src, dst string, typ uint8, id uint16) []byte {
	l4 := make([]byte, 64)
	l4[0] = typ
	binary.BigEndian.PutUint16(l4[4:], id)
	return build(src, dst, packet.ICMP, l4, 2)
}

// setDF sets the don't-fragment bit of a packet made by build.
func setDF(b []byte) []byte {
	b[6] |= 0x40
	b[10], b[11] = 0, 0
	binary.BigEndian.PutUint16(b[10:], ^packet.Checksum(b[:20], 0))
	return b
}

// sound decodes a packet and fails the test when a checksum is wrong.
func sound(t *testing.T, b []byte) *packet.View {
	t.Helper()
	v := new(packet.View)
	if why := v.Decode(b); why != packet.OK {
		t.Fatalf("the packet is malformed: %v", why)
	}
	if why := packet.VerifyHeader(b, v); why != packet.OK {
		t.Fatalf("the packet's header: %v", why)
	}
	if v.HasPorts && v.Frag == packet.Whole {
		l4 := b[v.L4:v.Len]
		if packet.Checksum(l4, packet.PseudoSum(v, len(l4))) != 0xffff {
			t.Fatalf("the transport checksum of %v is wrong", v)
		}
	}
	return v
}

// dropped waits until the engine has counted n packets under why.
func (w *world) dropped(why packet.Reason, n uint64) {
	w.Helper()
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if w.Dropped[why].Load() == n {
			return
		}
	}
	w.Errorf("%d packets were counted as %v, want %d", w.Dropped[why].Load(), why, n)
}
