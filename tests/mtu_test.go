package tests

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"turnout/tests/netlab"
)

// A narrow is a world whose tunnels take less than its LAN:
//
//	masquerade  the LAN host calls the internet
//	forward     the far host calls a port of the tunnel's address, and the LAN host answers
//	site        the far host calls the LAN host by its own address, who answers under it
//
// The MTU of the LAN is 5,000 where packets have DF, so that large ones reach
// the router; else 1,500, and the host's fragments are fragmented again.
type narrow struct {
	*run
	mtu       int
	df        bool
	lan       *netlab.Host
	bystander net.PacketConn // all ICMP that the other LAN host gets
}

// A way is a conversation through one of the tunnels, between the LAN host and
// far.
type way struct {
	server *netlab.Server
	caller *netlab.Host
	dst    netip.Addr // that the caller calls
	port   uint16     // where ends answer; the next one is free
	far    netip.Addr // as the LAN host knows it
}

func newNarrow(t *testing.T, mtu int, df bool) *narrow {
	t.Helper()
	link := fmt.Sprint("MTU = ", mtu)
	w := world{
		Options: netlab.Options{Hosts: 2, Servers: []string{"masquerade", "forward", "site"}},
		Default: "masquerade",
		Link:    map[string]string{"masquerade": link, "forward": link, "site": link},
		Peer:    map[string][]string{"site": {"AllowedIPs = 10.81.3.0/24"}},
		Tunnel:  map[string]string{"site": "nat = \"none\"\naccept = [\"10.81.3.0/24\"]"},
		Head:    "[[forward]]\ntunnel = \"forward\"\nport = \"9000-9001\"\nto = \"192.168.77.10:8080\"\n",
	}
	if df {
		w.LANMTU = 5000
	}
	n := &narrow{run: w.up(t), mtu: mtu, df: df}
	n.lan = n.Hosts[0]
	var errs []error
	for _, s := range n.Servers {
		errs = append(errs, s.MTU("wg0", mtu))
	}
	if !df {
		errs = append(errs, n.lan.Sysctl("net.ipv4.ip_no_pmtu_disc", "1")) // of sockets from now on
	}
	errs = append(errs, n.lan.Serve("lan", 8080), n.Server("site").Reach(netip.PrefixFrom(n.lan.Addr, 32)))
	var err error
	n.bystander, err = n.Hosts[1].ListenICMP()
	if err := errors.Join(append(errs, err)...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.bystander.Close() })
	return n
}

func (n *narrow) way(name string) way {
	s := n.Server(name)
	switch name {
	case "forward":
		return way{s, n.Caller(s), s.Client, 9000, s.Address}
	case "site":
		return way{s, n.Caller(s), n.lan.Addr, 8080, s.Address}
	}
	return way{s, n.lan, netlab.Internet[0], 443, netlab.Internet[0]}
}

// Whatever the way, the MTU of the tunnel and the manner of the hosts: TCP goes
// both ways, a large datagram arrives whole, or its sender learns how large it
// may be.
func TestEveryPathMTU(t *testing.T) {
	for _, mtu := range []int{1280, 1380, 1420} {
		for _, df := range []bool{true, false} {
			t.Run(fmt.Sprintf("mtu=%d,df=%v", mtu, df), func(t *testing.T) {
				t.Parallel()
				n := newNarrow(t, mtu, df)
				watch := n.watch(t)
				for _, name := range []string{"masquerade", "forward", "site"} {
					t.Run(name, func(t *testing.T) { n.try(t, n.way(name)) })
				}
				if err := watch.Leaks(); err != nil {
					t.Error(err)
				}
				if told := icmpError(n.bystander, 3, 4, 100*time.Millisecond); told != nil {
					t.Errorf("another host is told of packets that it has not sent: % x", told)
				}
			})
		}
	}
}

func (n *narrow) try(t *testing.T, w way) {
	tap, err := w.server.Tap("wg0", nil)
	if err != nil {
		t.Fatal(err)
	}
	f := netlab.Flow{Proto: "tcp", Dst: w.dst, Port: w.port, Wait: 5 * time.Second}
	if err := errors.Join(w.caller.Upload(f, 1<<20, 1, 20*time.Second), w.caller.Download(f, 1<<20, 2, 20*time.Second)); err != nil {
		t.Error(err)
	}
	if n.df {
		n.learns(t, w)
	} else {
		n.arrivesWhole(t, w)
	}
	var came [][]byte
	for begun := time.Now(); ; time.Sleep(5 * time.Millisecond) { // the tap may lag behind
		came = append(came, tap.Came()...)
		err := n.wire(came)
		if err == nil {
			return
		}
		if time.Since(begun) > 2*time.Second {
			t.Fatal(err)
		}
	}
}

// arrivesWhole sends 4,000 bytes and wants them back. What the LAN host says
// leaves it in three fragments, and the router in five.
func (n *narrow) arrivesWhole(t *testing.T, w way) {
	t.Helper()
	conn, err := w.caller.DialUDP(netlab.Flow{Dst: w.dst, Port: w.port})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := crosses(conn, conn, pattern(4000)); err != nil {
		t.Errorf("a datagram of 4,000 bytes: %v", err)
	}
}

// learns sends 4,000 bytes with DF from the LAN host, who learns what fits; that
// arrives, and a byte more is refused already by his own socket.
func (n *narrow) learns(t *testing.T, w way) {
	t.Helper()
	icmp, err := n.lan.ListenICMP()
	if err != nil {
		t.Fatal(err)
	}
	defer icmp.Close()
	conn, ears := n.talk(t, w)
	option(conn, func(fd int) error {
		return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO)
	})
	learned := 0
	for try := 0; try < 3 && learned != n.mtu; try++ { // a datagram may be lost
		if _, err := conn.Write(pattern(4000)); err != nil {
			t.Fatalf("having learned an MTU of %d, where %d is right: %v", learned, n.mtu, err)
		}
		learned = awaitMTU(conn, n.mtu)
	}
	if learned != n.mtu {
		t.Fatalf("the host learns a path MTU of %d, want %d", learned, n.mtu)
	}
	if err := pending(conn); err != unix.EMSGSIZE {
		t.Errorf("the host's socket has error %v waiting, want EMSGSIZE", err)
	}
	for _, size := range []int{4000, n.mtu - 28 + 1} {
		if _, err := conn.Write(pattern(size)); !errors.Is(err, unix.EMSGSIZE) {
			t.Errorf("a datagram of %d bytes: %v, want EMSGSIZE", size, err)
		}
	}
	if err := crosses(conn, ears, pattern(n.mtu-28)); err != nil {
		t.Errorf("a datagram that fits: %v", err)
	}
	told := icmpError(icmp, 3, 4, time.Second)
	if told == nil {
		t.Fatal("the host gets no ICMP 3/4")
	}
	if mtu := int(word(told[6:])); mtu != n.mtu {
		t.Errorf("the host is told an MTU of %d, want %d", mtu, n.mtu)
	}
	quoted, err := ipv4.ParseHeader(told[8:])
	if err != nil || quoted.Src.String() != n.lan.Addr.String() || quoted.Dst.String() != w.far.String() {
		t.Errorf("the host is told of a packet %v, %v; it sent one from %v to %v", quoted, err, n.lan.Addr, w.far)
	}
}

// pending takes the error off a socket that it would report next.
func pending(conn *net.UDPConn) (errno unix.Errno) {
	option(conn, func(fd int) error {
		n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
		errno = unix.Errno(n)
		return err
	})
	return errno
}

// talk opens a conversation of datagrams, and returns the LAN host's end and
// the one at which his words are heard: his own, if the far end says them back.
func (n *narrow) talk(t *testing.T, w way) (lan, ears *net.UDPConn) {
	t.Helper()
	f := netlab.Flow{Dst: w.dst, Port: w.port}
	if w.caller != n.lan { // a port of ours, where nobody answers by himself
		f = netlab.Flow{SrcPort: 8081, Dst: w.far, Port: 7000}
	}
	lan, err := n.lan.DialUDP(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lan.Close() })
	if w.caller == n.lan {
		return lan, lan
	}
	if ears, err = w.caller.DialUDP(netlab.Flow{SrcPort: 7000, Dst: w.dst, Port: w.port + 1}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ears.Close() })
	if err := crosses(ears, lan, []byte("a call")); err != nil {
		t.Fatalf("the call: %v", err)
	}
	return lan, ears
}

// crosses says words at one end and wants them heard at another, perhaps behind
// what the other adds.
func crosses(from, to *net.UDPConn, words []byte) error {
	buf := make([]byte, 1<<16)
	for range 4 {
		if _, err := from.Write(words); err != nil {
			return err
		}
		to.SetReadDeadline(time.Now().Add(time.Second))
		n, err := to.Read(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		if err != nil {
			return err
		}
		if !bytes.HasSuffix(buf[:n], words) {
			return fmt.Errorf("%d other bytes arrive", n)
		}
		return nil
	}
	return errors.New("silence")
}

// pattern is n bytes that are not all the same.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 31 >> 3)
	}
	return b
}

// icmpError returns the next ICMP error of a kind that a host gets, nil after a
// time without one.
func icmpError(conn net.PacketConn, typ, code uint8, wait time.Duration) []byte {
	conn.SetReadDeadline(time.Now().Add(wait))
	buf := make([]byte, 1<<16)
	for {
		n, _, err := conn.ReadFrom(buf)
		if err != nil {
			return nil
		}
		if n >= 8+20 && buf[0] == typ && buf[1] == code {
			return buf[:n]
		}
	}
}

func word(b []byte) uint16 { return uint16(b[0])<<8 | uint16(b[1]) }

// wire judges what came out of the tunnel at its far end: the manner of the
// host's segments, the size of fragments, and how many make a datagram.
func (n *narrow) wire(came [][]byte) error {
	segments, pieces := 0, map[uint16]int{}
	for _, b := range came {
		df, fragment := b[6]&0x40 != 0, word(b[6:])&0x3fff != 0
		switch {
		case fragment && len(b) > n.mtu:
			return fmt.Errorf("a fragment of %d bytes comes through a tunnel of %d", len(b), n.mtu)
		case fragment:
			pieces[word(b[4:])]++
		case b[9] == unix.IPPROTO_TCP && len(b) > 200:
			if segments++; df != n.df {
				return fmt.Errorf("a segment with DF %v", df)
			}
		}
	}
	if segments == 0 || (len(pieces) > 0) == n.df {
		return fmt.Errorf("%d segments and %d datagrams in fragments came", segments, len(pieces))
	}
	for _, count := range pieces {
		if count != 5 {
			return fmt.Errorf("a datagram came in %d fragments, want 5", count)
		}
	}
	return nil
}
