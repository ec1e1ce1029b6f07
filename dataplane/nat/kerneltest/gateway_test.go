package kerneltest

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"turnout/tests/netlab"
)

// The two sides of a NAT, and the direction of what comes from there.
const (
	near = 0 // the LAN
	far  = 1
)

// A gateway is a network namespace whose kernel masquerades one TUN device
// behind another. The test holds both and so is all hosts of both sides: what
// it writes to one has been routed when the write returns.
//
//	hosts 192.168.77.0/24 ── lan [ kernel ] wan 10.8.0.2 ── everybody else
//
// A TUN device knows no neighbours and no checksum offload: each checksum is
// judged as it was written, and is true when it is read.
type gateway struct {
	node   *netlab.Node
	ends   [2]int
	serial uint16
	buf    [1 << 16]byte
}

// ruleset is the common home router: the LAN may begin, others may answer, and
// what conntrack calls invalid goes nowhere. The gateway itself is silent.
// Marks pass untracked.
const ruleset = `
table ip home {
	chain raw {
		type filter hook prerouting priority raw
		ip protocol 253 notrack
	}
	chain input {
		type filter hook input priority filter; policy drop
	}
	chain forward {
		type filter hook forward priority filter; policy drop
		ip protocol 253 accept
		ct state invalid drop
		ct state established,related accept
		iifname "lan" oifname "wan" accept
	}
	chain postrouting {
		type nat hook postrouting priority srcnat
		oifname "wan" masquerade
	}
}`

// No timer is part of the comparison, and none may run out when the machine is
// busy: all that could are made long.
const day = "86400"

var patient = strings.Fields(`tcp_timeout_syn_sent tcp_timeout_syn_recv tcp_timeout_fin_wait tcp_timeout_close_wait
	tcp_timeout_last_ack tcp_timeout_time_wait tcp_timeout_close tcp_timeout_max_retrans tcp_timeout_unacknowledged
	udp_timeout udp_timeout_stream icmp_timeout generic_timeout gre_timeout gre_timeout_stream`)

func needGateway(t *testing.T) {
	t.Helper()
	missing := netlab.Possible()
	if _, err := exec.LookPath("nft"); err != nil {
		missing = errors.Join(missing, err)
	}
	switch {
	case missing == nil:
	case os.Getenv("CI") == "true":
		t.Fatal(missing)
	default:
		t.Skip(missing)
	}
}

func newGateway(t *testing.T) *gateway {
	t.Helper()
	node, err := netlab.NewNode("gateway")
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{node: node}
	if err := errors.Join(g.devices(), g.settings()); err != nil {
		g.close()
		t.Fatal(err)
	}
	return g
}

func (g *gateway) close() {
	for _, fd := range g.ends {
		if fd > 0 {
			unix.Close(fd)
		}
	}
	g.node.Close()
}

func (g *gateway) devices() error {
	for side, name := range []string{near: "lan", far: "wan"} {
		err := g.node.Do(func() (err error) { g.ends[side], err = openTUN(name); return err })
		if err != nil {
			return fmt.Errorf("make device %s: %w", name, err)
		}
	}
	return errors.Join(
		g.node.Sysctl("net.ipv6.conf.all.disable_ipv6", "1"),
		g.node.Address("lan", netip.MustParsePrefix("192.168.77.1/24")),
		g.node.Address("wan", netip.MustParsePrefix("10.8.0.2/24")),
		g.node.Up("lan"), g.node.Up("wan"),
		g.node.Route(netip.MustParsePrefix("0.0.0.0/0"), netip.Addr{}, "wan"),
	)
}

func (g *gateway) settings() error {
	if _, err := g.node.Feed(ruleset, "nft", "-f", "-"); err != nil {
		return err
	}
	errs := []error{
		g.node.Sysctl("net.ipv4.ip_forward", "1"),
		g.node.Sysctl("net.ipv4.conf.all.rp_filter", "0"),
		g.node.Sysctl("net.ipv4.ipfrag_time", day),
		g.node.Sysctl("net.netfilter.nf_conntrack_tcp_loose", "1"),
		g.node.Sysctl("net.netfilter.nf_conntrack_tcp_be_liberal", "0"),
		g.node.Sysctl("net.netfilter.nf_conntrack_checksum", "1"),
	}
	for _, name := range patient {
		errs = append(errs, g.node.Sysctl("net.netfilter.nf_conntrack_"+name, day))
	}
	return errors.Join(errs...)
}

func openTUN(name string) (int, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return 0, err
	}
	ifr, err := unix.NewIfreq(name)
	if err == nil {
		ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr)
	}
	if err != nil {
		unix.Close(fd)
		return 0, err
	}
	return fd, nil
}

// pass sends packets from one side and returns what comes out on the other.
func (g *gateway) pass(from int, packets [][]byte) (out [][]byte, err error) {
	g.drain()
	for _, b := range packets {
		if _, err := unix.Write(g.ends[from], b); err != nil {
			return nil, fmt.Errorf("write a packet: %w", err)
		}
	}
	g.serial++
	mark := markFrom(from, g.serial)
	if _, err := unix.Write(g.ends[from], mark); err != nil {
		return nil, fmt.Errorf("write a mark: %w", err)
	}
	for {
		b, err := g.read(1-from, 10*time.Second)
		if err != nil {
			return nil, err
		}
		if protoOf(b) == marks {
			if be16(b[4:]) == g.serial {
				return out, nil
			}
			continue
		}
		out = append(out, b)
	}
}

// drain forgets what the kernel has said for itself: ICMP errors, to whoever
// sent the packet before.
func (g *gateway) drain() {
	for _, fd := range g.ends {
		for {
			if _, err := unix.Read(fd, g.buf[:]); err != nil {
				break
			}
		}
	}
}

// read waits for the next packet that leaves on a side.
func (g *gateway) read(side int, limit time.Duration) ([]byte, error) {
	deadline := time.Now().Add(limit)
	for {
		n, err := unix.Read(g.ends[side], g.buf[:])
		switch {
		case err == nil:
			return append([]byte(nil), g.buf[:n]...), nil
		case err != unix.EAGAIN && err != unix.EINTR:
			return nil, fmt.Errorf("read a packet: %w", err)
		case time.Now().After(deadline):
			return nil, errors.New("the kernel has lost a mark")
		}
		unix.Poll([]unix.PollFd{{Fd: int32(g.ends[side]), Events: unix.POLLIN}}, 100)
	}
}

// marks is the protocol (RFC 3692, for experiments) of the packet that follows
// each event through the gateway. What has not come out before it was dropped.
const marks = 253

func markFrom(side int, serial uint16) []byte {
	p := ip{src: ip4("192.168.77.254"), dst: ip4("203.0.113.254"), proto: marks, id: serial}
	if side == far {
		p.src, p.dst = p.dst, p.src
	}
	return p.bytes()
}
