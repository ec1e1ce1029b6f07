package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

const patience = 2 * time.Second

// listen opens a UDP socket inside n.
func (n *node) listen(addr string) *net.UDPConn {
	n.t.Helper()
	var c *net.UDPConn
	n.must(func() (err error) {
		c, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(addr)))
		return err
	})
	n.t.Cleanup(func() { c.Close() })
	return c
}

// echo answers every datagram with the address that it came from.
func (n *node) echo(addr string) {
	c := n.listen(addr)
	go func() {
		b := make([]byte, 2048)
		for {
			_, from, err := c.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			c.WriteToUDPAddrPort([]byte(from.String()), from)
		}
	}()
}

// ask sends a datagram from n until one comes back, and returns its text.
func (n *node) ask(to string, limit time.Duration) (string, error) {
	var c *net.UDPConn
	err := n.do(func() (err error) {
		c, err = net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(to)))
		return err
	})
	if err != nil {
		return "", err
	}
	defer c.Close()
	return askBy(c, limit)
}

func askBy(c *net.UDPConn, limit time.Duration) (string, error) {
	b := make([]byte, 2048)
	err := error(os.ErrDeadlineExceeded)
	for end := time.Now().Add(limit); time.Now().Before(end); {
		c.Write([]byte("where am I?"))
		c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		var size int
		if size, err = c.Read(b); err == nil {
			return string(b[:size]), nil
		}
		if errors.Is(err, unix.ECONNREFUSED) {
			return "", err
		}
		time.Sleep(10 * time.Millisecond)
	}
	return "", fmt.Errorf("asking %s: %w", c.RemoteAddr(), err)
}

// tcpServer answers each connection with the address that it came from.
func (n *node) tcpServer(addr string) {
	n.t.Helper()
	var l net.Listener
	n.must(func() (err error) { l, err = net.Listen("tcp4", addr); return err })
	n.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(c, c.RemoteAddr().String())
			c.Close()
		}
	}()
}

func (n *node) askTCP(to string) (string, error) { return n.askTCPFrom("0.0.0.0", to) }

func (n *node) askTCPFrom(from, to string) (string, error) {
	var text string
	err := n.do(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
		defer cancel()
		c, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).DialContext(ctx, "tcp4", to)
		if err != nil {
			return err
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(patience))
		b := make([]byte, 64)
		size, err := c.Read(b)
		text = string(b[:size])
		return err
	})
	return text, err
}

// A watcher sees every IPv4 and IPv6 packet that one node sends by an interface.
type watcher struct {
	mu   sync.Mutex
	seen [][]byte
	fd   int
	done chan struct{}
}

// watch looks at what n sends by an interface. ETH_P_ALL, because other types
// miss outgoing packets.
func (n *node) watch(ifname string) *watcher {
	n.t.Helper()
	w := &watcher{done: make(chan struct{})}
	n.must(func() error {
		i, err := net.InterfaceByName(ifname)
		if err != nil {
			return err
		}
		all := uint16(unix.ETH_P_ALL)<<8 | uint16(unix.ETH_P_ALL)>>8
		if w.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(all)); err != nil {
			return err
		}
		timeout := unix.NsecToTimeval(int64(50 * time.Millisecond))
		if err := unix.SetsockoptTimeval(w.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
			return err
		}
		return unix.Bind(w.fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: i.Index})
	})
	stop := make(chan struct{})
	go w.loop(stop)
	n.t.Cleanup(func() { close(stop); <-w.done; unix.Close(w.fd) })
	return w
}

func (w *watcher) loop(stop chan struct{}) {
	defer close(w.done)
	b := make([]byte, 65536)
	for {
		size, from, err := unix.Recvfrom(w.fd, b, 0)
		select {
		case <-stop:
			return
		default:
		}
		ll, ok := from.(*unix.SockaddrLinklayer)
		if err != nil || !ok || ll.Pkttype != unix.PACKET_OUTGOING {
			continue
		}
		w.mu.Lock()
		w.seen = append(w.seen, append([]byte(nil), b[:size]...))
		w.mu.Unlock()
	}
}

// matching returns the packets that f takes, after those in flight came.
func (w *watcher) matching(f func(b []byte) bool) [][]byte {
	time.Sleep(150 * time.Millisecond)
	w.mu.Lock()
	defer w.mu.Unlock()
	var some [][]byte
	for _, b := range w.seen {
		if f(b) {
			some = append(some, b)
		}
	}
	return some
}

// about takes IPv4 packets to or from an address.
func about(addr string) func([]byte) bool {
	a := netip.MustParseAddr(addr).As4()
	return func(b []byte) bool {
		return len(b) >= 20 && b[0]>>4 == 4 && ([4]byte(b[12:16]) == a || [4]byte(b[16:20]) == a)
	}
}

// leaks are IPv4 packets of the LAN host that go beyond the LAN, on a stick
// too, and whatever goes to the far ends.
func (w *watcher) leaks() [][]byte {
	host := netip.MustParseAddr(lanHost).As4()
	return w.matching(func(b []byte) bool {
		if len(b) < 20 || b[0]>>4 != 4 {
			return false
		}
		inside := b[16] == 192 && b[17] == 168 && b[18] == 77
		return [4]byte(b[12:16]) == host && !inside || about(remote)(b) || about(tunneled)(b)
	})
}

func wantEqual(t testing.TB, what, got, want string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}
