package netlab

import (
	"errors"
	"fmt"
	"net"
	"sync"

	"golang.org/x/sys/unix"
)

// A Tap sends IP packets from a device of a node just as they are, whatever the
// node's kernel would think of them, and keeps those that come in.
type Tap struct {
	fd    int
	to    unix.SockaddrLinklayer
	ended chan struct{}
	once  sync.Once

	mu   sync.Mutex
	came [][]byte
}

// Tap opens a tap on a device; to is whom its frames are for, nil where there
// are none. It closes with the node.
func (n *Node) Tap(dev string, to net.HardwareAddr) (*Tap, error) {
	t := &Tap{ended: make(chan struct{})}
	err := n.Do(func() error {
		ifi, err := net.InterfaceByName(dev)
		if err != nil {
			return err
		}
		t.to = unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_IP), Ifindex: ifi.Index, Halen: uint8(len(to))}
		copy(t.to.Addr[:], to)
		t.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		if err := unix.Bind(t.fd, &t.to); err != nil {
			unix.Close(t.fd)
			return err
		}
		return unix.SetsockoptTimeval(t.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000})
	})
	if err != nil {
		return nil, fmt.Errorf("tap %s of %s: %w", dev, n.Name, err)
	}
	stop := make(chan struct{})
	go t.run(stop)
	n.OnClose(func() { t.once.Do(func() { close(stop); <-t.ended; unix.Close(t.fd) }) })
	return t, nil
}

func (t *Tap) run(stop chan struct{}) {
	defer close(t.ended)
	buf := make([]byte, 1<<16)
	for {
		n, _, err := unix.Recvfrom(t.fd, buf, 0)
		switch {
		case err == nil:
			t.mu.Lock()
			t.came = append(t.came, append([]byte(nil), buf[:n]...))
			t.mu.Unlock()
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR), errors.Is(err, unix.ENETDOWN):
		default:
			return
		}
		select {
		case <-stop:
			return
		default:
		}
	}
}

// Send sends one packet, from its IP header on.
func (t *Tap) Send(pkt []byte) error {
	to := t.to
	if len(pkt) > 0 && pkt[0]>>4 == 6 {
		to.Protocol = htons(unix.ETH_P_IPV6)
	}
	return unix.Sendto(t.fd, pkt, 0, &to)
}

// Came returns the IPv4 packets that came in since the last call.
func (t *Tap) Came() [][]byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	came := t.came
	t.came = nil
	return came
}
