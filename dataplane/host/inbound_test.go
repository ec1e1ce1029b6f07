package host

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// An administrator's port forward: port 8080 of the uplink's address is the LAN
// host's port 80.
func (w *world) forwardPort() {
	w.t.Helper()
	w.gateway.nft(`
table ip admin {
	chain prerouting {
		type nat hook prerouting priority dstnat
		ip daddr ` + w.public() + ` meta l4proto { tcp, udp } th dport 8080 dnat to ` + lanHost + `:80
	}
}`)
}

// askFrom asks from one of the internet's addresses.
func (n *node) askFrom(from, to string, limit time.Duration) (string, error) {
	var c *net.UDPConn
	err := n.do(func() (err error) {
		c, err = net.DialUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 0)),
			net.UDPAddrFromAddrPort(netip.MustParseAddrPort(to)))
		return err
	})
	if err != nil {
		return "", err
	}
	defer c.Close()
	return askBy(c, limit)
}

func TestPortForwardOnTheUplink(t *testing.T) {
	layouts(t, func(t *testing.T, stick bool) {
		w := newWorld(t, stick)
		w.serve()
		w.forwardPort()
		w.host.echo(lanHost + ":80")
		w.host.tcpServer(lanHost + ":80")
		forward := func(when string) {
			t.Helper()
			// From an address that policy tunnels, and from one it drops.
			for _, from := range []string{tunneled, "198.18.0.1"} {
				if got, err := w.internet.askFrom(from, w.public()+":8080", patience); err != nil || !strings.HasPrefix(got, from) {
					t.Errorf("%s, UDP from %s: %q, %v", when, from, got, err)
				}
			}
		}
		w.internet.ip("addr add 198.18.0.1/32 dev lo")
		w.gateway.setSysctl(ipForward, "1")
		forward("without us")
		p := w.startProcess()
		w.set(w.spec())
		forward("with us")
		w.works()

		w.set(w.spec()) // as after a reload: connections hang on the set
		if set := w.gateway.run("nft", "list", "set", "inet", "turnout", "inbound"); !strings.Contains(set, lanHost) {
			t.Errorf("Set forgot the inbound flows:\n%s", set)
		}
		p.kill()
		forward("after a crash")
	})
}

// Answers that conntrack has forgotten would leave with their LAN source.
func TestForgottenInboundFlow(t *testing.T) {
	w := newWorld(t, false)
	w.forwardPort()
	w.startProcess()
	w.set(w.spec())
	w.host.echo(lanHost + ":80")
	client := w.internet.listen(remote + ":5000")
	server := netip.MustParseAddrPort(gatewayWAN + ":8080")
	client.WriteToUDPAddrPort([]byte("hello"), server)
	b := make([]byte, 64)
	client.SetReadDeadline(time.Now().Add(patience))
	if _, _, err := client.ReadFromUDPAddrPort(b); err != nil {
		t.Fatal(err)
	}
	watch := w.gateway.watch("wan0")
	w.gateway.run("conntrack", "-F")
	// The LAN host speaks first, from the port it was asked at.
	late := w.sender(w.host)
	for range 3 {
		late.udp(lanHost+":80", remote+":5000", 64)
		time.Sleep(20 * time.Millisecond)
	}
	leaked := watch.matching(func(b []byte) bool { return len(b) > 20 && net.IP(b[12:16]).String() == lanHost })
	if len(leaked) > 0 {
		t.Errorf("%d packets left with their LAN source", len(leaked))
	}
	if set := w.gateway.run("nft", "list", "set", "inet", "turnout", "inbound"); strings.Contains(set, lanHost) {
		t.Errorf("the flow is still there:\n%s", set)
	}
}

// A neighbour of the uplink sends to a LAN address outright, as if it were a
// tunnel's far end, to pull that flow out into the open.
func TestInboundInjection(t *testing.T) {
	w := newWorld(t, false)
	w.startProcess()
	w.set(w.spec())
	w.internet.ip("route add 192.168.77.0/24 via " + gatewayWAN)
	server := w.host.listen(lanHost + ":4000")
	neighbour := w.internet.listen(tunneled + ":7")
	watch := w.gateway.watch("wan0")
	for range 3 {
		neighbour.WriteToUDPAddrPort([]byte("psst"), netip.MustParseAddrPort(lanHost+":4000"))
		server.WriteToUDPAddrPort([]byte("secret"), netip.MustParseAddrPort(tunneled+":7"))
		time.Sleep(20 * time.Millisecond)
	}
	if seen := watch.matching(about(tunneled)); len(seen) > 0 {
		t.Errorf("%d packets to %s left by the uplink", len(seen), tunneled)
	}
}

// A sender writes whole IPv4 packets.
type sender struct {
	w  *world
	fd int
}

func (w *world) sender(n *node) *sender {
	w.t.Helper()
	s := &sender{w: w}
	n.must(func() (err error) {
		s.fd, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		return err
	})
	w.t.Cleanup(func() { unix.Close(s.fd) })
	return s
}

func (s *sender) udp(from, to string, ttl byte) {
	s.w.t.Helper()
	b := udpPacket(netip.MustParseAddrPort(from), netip.MustParseAddrPort(to), ttl)
	if err := unix.Sendto(s.fd, b, 0, &unix.SockaddrInet4{Addr: [4]byte(b[16:20])}); err != nil {
		s.w.t.Errorf("sending from %s to %s: %v", from, to, err)
	}
}

// udpPacket is an IPv4 packet with a UDP datagram without checksum.
func udpPacket(from, to netip.AddrPort, ttl byte) []byte {
	b := make([]byte, 32)
	b[0], b[3], b[8], b[9] = 0x45, byte(len(b)), ttl, unix.IPPROTO_UDP
	copy(b[12:], from.Addr().AsSlice())
	copy(b[16:], to.Addr().AsSlice())
	b[20], b[21] = byte(from.Port()>>8), byte(from.Port())
	b[22], b[23] = byte(to.Port()>>8), byte(to.Port())
	b[25] = 12
	copy(b[28:], "late")
	putHeaderChecksum(b)
	return b
}

func putHeaderChecksum(b []byte) {
	sum := uint32(0)
	for i := 0; i < 20; i += 2 {
		if i != 10 {
			sum += uint32(b[i])<<8 | uint32(b[i+1])
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	b[10], b[11] = byte(^sum>>8), byte(^sum)
}
