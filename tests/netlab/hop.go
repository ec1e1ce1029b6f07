package netlab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// KernelSpeaksICMP reports whether this machine's kernel still sends ICMP for
// IPv4. All of it leaves by one socket for each CPU, shared by all namespaces;
// kernels have been seen whose sockets held their full share of memory for
// good, and then nobody gets an echo reply or an error until a reboot.
func KernelSpeaksICMP() (bool, error) {
	n, err := NewNode("voice")
	if err != nil {
		return false, err
	}
	defer n.Close()
	speaks := true
	err = n.Do(func() error {
		var before unix.CPUSet
		if err := unix.SchedGetaffinity(0, &before); err != nil {
			return fmt.Errorf("read the CPUs of a thread: %w", err)
		}
		defer unix.SchedSetaffinity(0, &before)
		for cpu := range runtime.NumCPU() {
			var one unix.CPUSet
			one.Set(cpu)
			if unix.SchedSetaffinity(0, &one) != nil {
				continue // not ours to use
			}
			heard, err := echoesItself()
			if err != nil {
				return err
			}
			speaks = speaks && heard
		}
		return nil
	})
	return speaks, err
}

// echoesItself pings the loopback address from the calling thread.
func echoesItself() (bool, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMP)
	if err != nil {
		return false, fmt.Errorf("open a raw socket: %w", err)
	}
	defer unix.Close(fd)
	b, err := (&icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: 1, Data: []byte("voice")}}).Marshal(nil)
	if err != nil {
		return false, err
	}
	to := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 300_000})
	if err := unix.Sendto(fd, b, 0, to); err != nil {
		return false, fmt.Errorf("send an echo request: %w", err)
	}
	buf := make([]byte, 256)
	for end := time.Now().Add(time.Second); time.Now().Before(end); {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if errors.Is(err, unix.EAGAIN) {
			return false, nil
		}
		if err == nil && n >= 28 && buf[20] == 0 {
			return true, nil
		}
	}
	return false, nil
}

// serveHop makes a machine that forwards say so when a packet's TTL runs out
// on it, as its kernel would (RFC 792), for kernels that do not.
func (n *Node) serveHop(dev string, own netip.Addr) error {
	tap, err := n.tapIngress(dev)
	if err != nil {
		return fmt.Errorf("listen for the last hops on %s: %w", dev, err)
	}
	var out net.PacketConn
	err = n.Do(func() error {
		out, err = net.ListenPacket("ip4:icmp", own.String())
		return err
	})
	if err != nil {
		tap.Close()
		return err
	}
	n.OnClose(func() { tap.Close(); out.Close() })
	go func() {
		buf := make([]byte, 64<<10)
		for {
			size, err := tap.Read(buf)
			if err != nil {
				return
			}
			if to, m := timeExceeded(buf[:size]); m != nil {
				out.WriteTo(m, &net.IPAddr{IP: to.AsSlice()})
			}
		}
	}()
	return nil
}

// tapIngress opens a packet socket for IPv4 on a device without link layer.
func (n *Node) tapIngress(dev string) (*os.File, error) {
	var tap *os.File
	err := n.Do(func() error {
		ifi, err := net.InterfaceByName(dev)
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(htons(unix.ETH_P_IP)))
		if err != nil {
			return err
		}
		tap = os.NewFile(uintptr(fd), "tap")
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_IP), Ifindex: ifi.Index})
	})
	return tap, err
}

// timeExceeded is the answer to a packet that wants to go Beyond and may not,
// nil for all others.
func timeExceeded(b []byte) (netip.Addr, []byte) {
	h, err := ipv4.ParseHeader(b)
	if err != nil || h.TTL > 1 || h.Protocol == unix.IPPROTO_ICMP && len(b) > h.Len && b[h.Len] != 8 {
		return netip.Addr{}, nil
	}
	dst, _ := netip.AddrFromSlice(h.Dst.To4())
	src, _ := netip.AddrFromSlice(h.Src.To4())
	if dst != Beyond {
		return netip.Addr{}, nil
	}
	quote := append([]byte(nil), b[:min(len(b), h.Len+8)]...)
	m, err := (&icmp.Message{Type: ipv4.ICMPTypeTimeExceeded, Body: &icmp.TimeExceeded{Data: quote}}).Marshal(nil)
	if err != nil {
		return netip.Addr{}, nil
	}
	return src, m
}
