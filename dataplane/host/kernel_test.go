package host

import (
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What a tunnel's far end sends and the kernel cannot deliver makes the kernel
// answer by the uplink, with the packet inside. It must not.
func TestNoICMPThatQuotesATunnelsPacket(t *testing.T) {
	layouts(t, func(t *testing.T, stick bool) {
		w := newWorld(t, stick)
		p := w.startProcess()
		w.set(w.spec())
		far := netip.MustParseAddrPort(tunneled + ":7")
		kinds := [][2]byte{{11, 0}, {3, 1}, {3, 4}}
		provoke := func() [][]byte {
			watch := w.gateway.watch(w.uplink)
			for _, k := range kinds { // in case this kernel says nothing itself
				w.gateway.sayICMP(tunneled, k[0], k[1], udpPacket(far, netip.MustParseAddrPort(lanHost+":9"), 64))
			}
			p.file.Write(udpPacket(far, netip.MustParseAddrPort(lanHost+":9"), 1))       // TTL exceeded
			p.file.Write(udpPacket(far, netip.MustParseAddrPort("192.168.77.99:9"), 64)) // nobody there
			big := append(udpPacket(far, netip.MustParseAddrPort(lanHost+":9"), 64), make([]byte, 1300)...)
			big[2], big[3], big[6] = byte(len(big)>>8), byte(len(big)), 0x40 // DF
			putHeaderChecksum(big)
			p.file.Write(big) // too big for the LAN
			w.eventually("the kernel gives up on the dead host", func() bool {
				return strings.Contains(w.gateway.ip("neigh show 192.168.77.99"), "FAILED") ||
					w.gateway.ip("neigh show 192.168.77.99") == ""
			})
			return watch.matching(func(b []byte) bool { return about(tunneled)(b) && b[9] == unix.IPPROTO_ICMP })
		}
		w.gateway.ip("link set lan0 mtu 1280")
		w.gateway.setSysctl("net/ipv4/icmp_ratelimit", "0")
		if seen := provoke(); len(seen) > 0 {
			t.Errorf("%d ICMP packets, first % x", len(seen), seen[0])
		}
		// The positive control: without the chain they do go out.
		w.gateway.run("nft", "flush", "chain", "inet", "turnout", "quotes")
		heard := map[[2]byte]bool{}
		for _, b := range provoke() {
			heard[[2]byte(b[20:22])] = true
		}
		for _, want := range kinds {
			if !heard[want] {
				t.Errorf("the control did not see ICMP %d/%d, only %v", want[0], want[1], heard)
			}
		}
	})
}

// sayICMP sends an ICMP error from n as its kernel would. The kernel's own voice
// is one socket for each CPU of the machine, shared by all namespaces; it has
// been seen to fail for minutes, and no control can rest on it.
func (n *node) sayICMP(to string, typ, code byte, quoted []byte) {
	n.t.Helper()
	m := append([]byte{typ, code, 0, 0, 0, 0, 0, 0}, quoted...)
	if code == 4 {
		m[6], m[7] = 1280>>8, 1280&0xff
	}
	n.must(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMP)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		err = sendICMP(fd, m, netip.MustParseAddr(to))
		if err == unix.EPERM {
			return nil // the guard has dropped it
		}
		return err
	})
}

// sendICMP sends a message whose checksum is zero yet.
func sendICMP(fd int, m []byte, to netip.Addr) error {
	sum := uint32(0)
	for i := 0; i+1 < len(m); i += 2 {
		sum += uint32(m[i])<<8 | uint32(m[i+1])
	}
	sum = sum>>16 + sum&0xffff
	sum = ^(sum>>16 + sum)
	m[2], m[3] = byte(sum>>8), byte(sum)
	return unix.Sendto(fd, m, 0, &unix.SockaddrInet4{Addr: to.As4()})
}

// answerPings answers echo requests to n, beside its kernel, for sayICMP's reason.
func (n *node) answerPings() {
	n.t.Helper()
	fd := -1
	n.must(func() (err error) {
		if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMP); err != nil {
			return err
		}
		timeout := unix.NsecToTimeval(int64(50 * time.Millisecond))
		return unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout)
	})
	stop, done := make(chan struct{}), make(chan struct{})
	n.t.Cleanup(func() { close(stop); <-done; unix.Close(fd) })
	go func() {
		defer close(done)
		b := make([]byte, 2048)
		for {
			size, _, err := unix.Recvfrom(fd, b, 0)
			select {
			case <-stop:
				return
			default:
			}
			if err != nil || size < 28 || b[20] != 8 {
				continue
			}
			m := append([]byte{0, 0, 0, 0}, b[24:size]...)
			sendICMP(fd, m, netip.AddrFrom4([4]byte(b[12:16])))
		}
	}()
}

// About direct traffic the far end must hear: path MTU discovery lives on it.
func TestICMPAboutDirectTrafficPasses(t *testing.T) {
	layouts(t, func(t *testing.T, stick bool) {
		w := newWorld(t, stick)
		w.serve()
		w.startProcess()
		w.set(w.spec())
		w.works()
		client := w.host.listen(lanHost + ":4001")
		client.WriteToUDPAddrPort([]byte("hello"), netip.MustParseAddrPort(remote+":7"))
		client.SetReadDeadline(time.Now().Add(patience))
		if _, _, err := client.ReadFromUDPAddrPort(make([]byte, 64)); err != nil {
			t.Fatalf("no direct flow: %v", err)
		}
		watch := w.gateway.watch(w.uplink)
		w.gateway.sayICMP(remote, 11, 0, udpPacket(netip.MustParseAddrPort(remote+":7"), netip.MustParseAddrPort(lanHost+":4001"), 1))
		seen := watch.matching(func(b []byte) bool {
			return about(remote)(b) && b[9] == unix.IPPROTO_ICMP && b[20] == 11
		})
		if len(seen) == 0 {
			t.Error("the far end was not told that its packet died")
		}
	})
}

// The gateway's own services stay reachable, by all its addresses, and what is
// for everyone on the LAN stays on the LAN.
func TestGatewaysOwnServices(t *testing.T) {
	layouts(t, func(t *testing.T, stick bool) {
		w := newWorld(t, stick)
		w.gateway.echo(gatewayLAN + ":53")
		w.startProcess()
		w.set(w.spec())
		watch := w.gateway.watch(w.uplink)
		own := []string{gatewayLAN}
		if !stick {
			own = append(own, gatewayWAN)
			w.gateway.echo(gatewayWAN + ":53")
		}
		for _, addr := range own {
			if got, err := w.host.ask(addr+":53", patience); err != nil || !strings.HasPrefix(got, lanHost) {
				t.Errorf("the service at %s: %q, %v", addr, got, err)
			}
		}
		w.host.echo(lanHost + ":7")
		if got, err := w.gateway.ask(lanHost+":7", patience); err != nil {
			t.Errorf("the gateway cannot reach the LAN: %q, %v", got, err)
		}
		everyone := w.sender(w.host)
		w.host.must(func() error { return unix.SetsockoptInt(everyone.fd, unix.SOL_SOCKET, unix.SO_BROADCAST, 1) })
		for _, to := range []string{"255.255.255.255:67", "192.168.77.255:137", "224.0.0.251:5353", "239.255.255.250:1900"} {
			everyone.udp(lanHost+":68", to, 64)
		}
		if seen := watch.leaks(); len(seen) > 0 {
			t.Errorf("%d packets for everyone left by the uplink, first % x", len(seen), seen[0])
		}
	})
}

// The process speaks to LAN hosts in the gateway's own name.
func TestProcessAnswersAsTheGateway(t *testing.T) {
	for _, rp := range []string{"0", "1", "2"} {
		w := newWorld(t, false)
		w.gateway.setSysctl(conf4+"/all/rp_filter", rp)
		p := w.startProcess()
		w.set(w.spec())
		c := w.host.listen(lanHost + ":4000")
		p.file.Write(udpPacket(netip.MustParseAddrPort(gatewayLAN+":9"), netip.MustParseAddrPort(lanHost+":4000"), 64))
		c.SetReadDeadline(time.Now().Add(patience))
		if _, from, err := c.ReadFromUDPAddrPort(make([]byte, 64)); err != nil || from.Addr().String() != gatewayLAN {
			t.Errorf("rp_filter %s: from %v, %v", rp, from, err)
		}
	}
}

// Networks that [lan] local names are reached as if we were not there, by
// tracked connections, and reach the LAN.
func TestLocalNetworks(t *testing.T) {
	w := newWorld(t, false)
	dmz := newNode(t)
	veth(w.gateway, "dmz0", "10.9.0.1/24", dmz, "eth0", "10.9.0.2/24")
	dmz.ip("route add default via 10.9.0.1")
	w.gateway.nft(`table inet stateful { chain c { type filter hook forward priority 0; policy accept
		oifname "dmz0" ct state invalid,untracked drop
		iifname "dmz0" oifname "lan0" ct state != established drop
	}; }`)
	w.startProcess()
	s := w.spec()
	s.Local = []netip.Prefix{netip.MustParsePrefix("10.9.0.0/24")}
	w.set(s)
	dmz.echo("10.9.0.2:7")
	if got, err := w.host.ask("10.9.0.2:7", patience); err != nil || !strings.HasPrefix(got, lanHost) {
		t.Errorf("from the DMZ: %q, %v", got, err)
	}
	// With its route gone, a local prefix must not fall through to the uplink.
	watch := w.gateway.watch("wan0")
	w.gateway.ip("link set dmz0 down")
	if got, err := w.host.ask("10.9.0.2:7", 300*time.Millisecond); err == nil {
		t.Errorf("the DMZ answered %q without a link", got)
	}
	if seen := watch.leaks(); len(seen) > 0 {
		t.Errorf("%d packets for the DMZ left by the uplink", len(seen))
	}
}

// A DHCP server on the uplink that hands out routes (option 121) gets nothing.
func TestRoutesOfTheUplinkStealNothing(t *testing.T) {
	w := newWorld(t, false)
	w.startProcess()
	w.set(w.spec())
	w.gateway.ip("route add 128.0.0.0/1 via 198.51.100.1")
	w.gateway.ip("route add " + tunneled + "/32 via 198.51.100.1")
	watch := w.gateway.watch("wan0")
	if got, err := w.host.ask(tunneled+":7", patience); err != nil || got != "where am I?" {
		t.Errorf("through the tunnel: %q, %v", got, err)
	}
	if seen := watch.matching(about(tunneled)); len(seen) > 0 {
		t.Errorf("%d packets left by the uplink", len(seen))
	}
}

// What a tunnel sends to the LAN stays here when the LAN's link is down.
func TestLANDown(t *testing.T) {
	w := newWorld(t, false)
	p := w.startProcess()
	w.set(w.spec())
	toLAN := func() {
		p.file.Write(udpPacket(netip.MustParseAddrPort(tunneled+":7"), netip.MustParseAddrPort(lanHost+":9"), 64))
	}
	lan := w.gateway.watch("lan0")
	toLAN()
	if len(lan.matching(about(tunneled))) == 0 {
		t.Fatal("the LAN host is not reached with its link up")
	}
	watch := w.gateway.watch("wan0")
	w.gateway.ip("link set lan0 down")
	toLAN()
	if seen := watch.matching(about(lanHost)); len(seen) > 0 {
		t.Errorf("%d packets left by the uplink, first % x", len(seen), seen[0])
	}
}

// IPv6 of the LAN is refused at once, whether or not the host forwards it, but
// for the LAN itself.
func TestIPv6(t *testing.T) {
	for _, forwarding := range []string{"0", "1"} {
		t.Run("forwarding "+forwarding, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, false)
			w.host.ip("addr add 2001:db8:77::10/64 dev eth0 nodad")
			w.gateway.ip("addr add 2001:db8:77::1/64 dev lan0 nodad")
			w.gateway.ip("addr add 2001:db8:1::2/64 dev wan0 nodad")
			w.gateway.ip("-6 route add default via 2001:db8:1::1")
			w.host.ip("-6 route add default via 2001:db8:77::1")
			w.gateway.setSysctl(conf6+"/all/forwarding", forwarding)
			w.startProcess()
			w.set(w.spec())
			watch := w.gateway.watch("wan0")
			if out, err := w.host.try("", "ping", "-c", "1", "-W", "2", "2001:db8:77::1"); err != nil {
				t.Errorf("the gateway does not answer by IPv6: %v %s", err, out)
			}
			start := time.Now()
			out, err := w.host.try("", "ping", "-c", "1", "-W", "2", "2001:db8:ffff::1")
			if err == nil || !strings.Contains(out, "rohibited") || time.Since(start) > time.Second {
				t.Errorf("after %v: %v %s", time.Since(start), err, out)
			}
			seen := watch.matching(func(b []byte) bool { return b[0]>>4 == 6 && len(b) > 40 && b[8] == 0x20 && b[13] == 0x77 })
			if len(seen) > 0 {
				t.Errorf("%d IPv6 packets of the LAN left by the uplink", len(seen))
			}
			if got := w.gateway.sysctl(conf6 + "/all/forwarding"); got != forwarding {
				t.Errorf("IPv6 forwarding is %s, was %s", got, forwarding)
			}
		})
	}
}

func TestIPv6SwitchedOff(t *testing.T) {
	w := newWorld(t, false)
	w.serve()
	w.gateway.setSysctl(conf6+"/all/disable_ipv6", "1")
	w.gateway.setSysctl(conf6+"/default/disable_ipv6", "1")
	before := w.snapshot()
	p := w.startProcess()
	w.set(w.spec())
	w.works()
	w.restore(false)
	p.kill()
	wantEqual(t, "after Restore", w.snapshot(), before)
}

func TestReadingTheHost(t *testing.T) {
	w := newWorld(t, false)
	w.gateway.ip("addr add 192.168.78.1/25 dev lan0")
	w.gateway.ip("addr add 2001:db8:77::1/64 dev lan0 nodad")
	w.gateway.ip("route add default via 192.168.78.2 dev lan0 metric 100")
	w.gateway.must(func() error {
		mtu, err := MTUOf("lan0")
		if err != nil || mtu != 1500 {
			t.Errorf("MTU %d, %v", mtu, err)
		}
		if _, err := MTUOf("eth9"); err == nil || !strings.Contains(err.Error(), "only lo, lan0, wan0") {
			t.Errorf("MTU of what is not there: %v", err)
		}
		uplinks, err := DefaultUplinks()
		wantEqual(t, "uplinks", strings.Join(uplinks, " "), "wan0 lan0")
		prefixes, err2 := LANPrefixes("lan0")
		var text []string
		for _, p := range prefixes {
			text = append(text, p.String())
		}
		wantEqual(t, "prefixes", strings.Join(text, " "), "192.168.77.0/24 192.168.78.0/25 2001:db8:77::/64")
		return errors.Join(err, err2)
	})
	if _, err := os.Stat("/proc/sys/net/ipv4"); err != nil {
		t.Error(err)
	}
}
