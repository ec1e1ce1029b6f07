package host

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"golang.org/x/sys/unix"
)

func port(addr string, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(addr), port)
}

// insideSpec is spec with everything that Inside is for.
func (w *world) insideSpec() Spec {
	s := w.spec()
	s.UsesInside = true
	s.Listen = []Port{{unix.IPPROTO_UDP, 5000, 5007}, {unix.IPPROTO_TCP, listenTCP, listenTCP}, {unix.IPPROTO_UDP, 5006, 5010}}
	return s
}

// insideServe starts the services that insideWorks asks.
func (w *world) insideServe() {
	w.gateway.echo(gatewayLAN + ":" + fmt.Sprint(ownPort))
	w.gateway.tcpServer(gatewayLAN + ":" + fmt.Sprint(ownPort))
	w.host.echo(lanHost + ":" + fmt.Sprint(hostPort))
	w.host.tcpServer(lanHost + ":" + fmt.Sprint(hostPort))
}

// insideWorks holds all kinds of conversation once, and looks that none is seen
// on the uplink.
func (w *world) insideWorks(f *innerPeer) {
	w.t.Helper()
	watch := w.gateway.watch(w.uplink)
	lan := w.gateway.watch("lan0")
	w.listens(w.host, lanHost)
	for name, ask := range map[string]func(from, to netip.AddrPort, limit time.Duration) (string, error){"UDP": f.ask, "TCP": f.askTCP} {
		from := f.port()
		if got, err := ask(from, port(lanHost, hostPort), patience); err != nil || got != port(gatewayLAN, from.Port()).String() {
			w.t.Errorf("%s to the LAN host: it heard %q, %v", name, got, err)
		}
		if got, err := ask(from, port(gatewayLAN, ownPort), patience); err != nil || got != from.String() {
			w.t.Errorf("%s to the gateway's own service: it heard %q, %v", name, got, err)
		}
	}
	if seen := append(watch.matching(about(Inside.String())), lan.matching(about(Inside.String()))...); len(seen) > 0 {
		w.t.Errorf("%d packets of %s on a wire, first % x", len(seen), Inside, seen[0])
	}
	if seen := watch.leaks(); len(seen) > 0 {
		w.t.Errorf("%d packets left by the uplink, first % x", len(seen), seen[0])
	}
}

// listens asks at the listed ports, and at one that is not.
func (w *world) listens(n *node, addr string) {
	w.t.Helper()
	want := func(what, got string, err error, port int) {
		w.t.Helper()
		if err != nil || !strings.HasPrefix(got, addr+":") || !strings.HasSuffix(got, fmt.Sprintf(">%s:%d", Inside, port)) {
			w.t.Errorf("%s from %s to the process: it saw %q, %v", what, addr, got, err)
		}
	}
	got, err := n.ask(fmt.Sprintf("%s:%d", gatewayLAN, listenUDP), patience)
	want("UDP", got, err, listenUDP)
	got, err = n.askTCP(fmt.Sprintf("%s:%d", gatewayLAN, listenTCP))
	want("TCP", got, err, listenTCP)
	if got, err := n.ask(fmt.Sprintf("%s:%d", gatewayLAN, ownPort), patience); err != nil || !strings.HasPrefix(got, addr+":") {
		w.t.Errorf("UDP from %s to the gateway's own service: it saw %q, %v", addr, got, err)
	}
}

func TestInside(t *testing.T) {
	layouts(t, func(t *testing.T, stick bool) {
		w := newWorld(t, stick)
		w.serve()
		w.insideServe()
		before := w.snapshot()
		f := newInnerPeer(w.startProcess())
		w.set(w.insideSpec())
		w.insideWorks(f)
		w.works()
		w.host.ip("route del default") // an answer needs none
		w.insideWorks(f)
		w.set(w.insideSpec()) // as at a reload
		w.insideWorks(f)
		w.restore(false)
		f.p.kill()
		wantEqual(t, "after Restore", w.snapshot(), before)
	})
}

// The kernel's own filters and those that people load.
func TestInsideBesideOthers(t *testing.T) {
	for name, text := range map[string]string{
		"strict about states": `table inet f { chain c { type filter hook forward priority 0; policy accept; ct state invalid drop; }
			chain i { type filter hook input priority 0; policy accept; ct state invalid drop; }
			chain o { type filter hook output priority 0; policy accept; ct state invalid drop; }; }`,
		"masquerades all": `table ip f { chain c { type nat hook postrouting priority srcnat; policy accept; ip saddr 192.168.77.0/24 masquerade; }; }`,
		"takes the ports": `table ip f { chain c { type nat hook prerouting priority dstnat; policy accept; fib daddr type local tcp dport 8443 dnat to 192.168.77.99; }; }`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			layouts(t, func(t *testing.T, stick bool) {
				w := newWorld(t, stick)
				w.serve()
				w.insideServe()
				w.gateway.nft(text)
				f := newInnerPeer(w.startProcess())
				w.set(w.insideSpec())
				w.insideWorks(f)
				w.works()
			})
		})
	}
	for _, all := range []string{"0", "1", "2"} {
		for _, own := range []string{"0", "1", "2"} {
			t.Run(fmt.Sprintf("reverse path filter, all %s, interfaces %s", all, own), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, own == all)
				w.insideServe()
				w.gateway.setSysctl(conf4+"/all/rp_filter", all)
				w.gateway.setSysctl(conf4+"/default/rp_filter", own)
				w.gateway.setSysctl(conf4+"/lan0/rp_filter", own)
				w.gateway.setSysctl(conf4+"/"+w.uplink+"/rp_filter", own)
				f := newInnerPeer(w.startProcess())
				w.set(w.insideSpec())
				w.insideWorks(f)
			})
		}
	}
}

// Every LAN reaches the process at each of the gateway's addresses, and hears
// from it by the address that it shares with it.
func TestInsideWithTwoLANs(t *testing.T) {
	w := newWorld(t, false)
	w.insideServe()
	second := newNode(t)
	veth(w.gateway, "lan1", "192.168.78.1/24", second, "eth0", "192.168.78.10/24")
	w.gateway.ip("addr add 192.168.79.1/24 dev lan1")
	second.ip("addr add 192.168.79.10/24 dev eth0")
	second.ip("route add default via 192.168.78.1")
	second.echo("192.168.78.10:9007")
	second.echo("192.168.79.10:9007")
	f := newInnerPeer(w.startProcess())
	s := w.insideSpec()
	s.LAN = append(s.LAN, LANInterface{"lan1", []netip.Prefix{netip.MustParsePrefix("192.168.78.0/24"), netip.MustParsePrefix("192.168.79.0/24")}})
	w.set(s)
	w.insideWorks(f)
	w.listens(second, "192.168.78.10")
	if got, err := w.host.ask(gatewayWAN+":5005", patience); err != nil || !strings.HasSuffix(got, ">192.0.0.6:5005") {
		t.Errorf("at the uplink's address: %q, %v", got, err)
	}
	second.echo("192.168.78.10:5005")
	if got, err := w.host.ask("192.168.78.10:5005", patience); err != nil || !strings.HasPrefix(got, lanHost+":") || strings.Contains(got, ">") {
		t.Errorf("a listed port of a host of the other LAN: it saw %q, %v", got, err)
	}
	from := f.port() // one port, three hosts
	for host, gateway := range map[string]string{lanHost: gatewayLAN, "192.168.78.10": "192.168.78.1", "192.168.79.10": "192.168.79.1"} {
		if got, err := f.ask(from, port(host, hostPort), patience); err != nil || got != port(gateway, from.Port()).String() {
			t.Errorf("to %s: it heard %q, %v", host, got, err)
		}
	}
}

// The gateway speaks to the LAN host itself, from the port that the process
// asks for: the process gets another one, and its answers.
func TestInsidePortTaken(t *testing.T) {
	w := newWorld(t, false)
	w.insideServe()
	f := newInnerPeer(w.startProcess())
	w.set(w.insideSpec())
	from := f.port()
	c := w.gateway.listen(port(gatewayLAN, from.Port()).String())
	b := make([]byte, 64)
	own := func(when string) {
		c.WriteToUDPAddrPort([]byte("mine"), port(lanHost, hostPort))
		c.SetReadDeadline(time.Now().Add(patience))
		if n, _, err := c.ReadFromUDPAddrPort(b); err != nil || string(b[:n]) != port(gatewayLAN, from.Port()).String() {
			t.Errorf("the gateway's own conversation %s: %q, %v", when, b[:n], err)
		}
	}
	own("before")
	got, err := f.ask(from, port(lanHost, hostPort), patience)
	if err != nil || !strings.HasPrefix(got, gatewayLAN+":") || got == port(gatewayLAN, from.Port()).String() {
		t.Errorf("the LAN host heard %q, %v", got, err)
	}
	own("after")
}

func echoRequest(id uint16) *layers.ICMPv4 {
	return &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(layers.ICMPv4TypeEchoRequest, 0), Id: id, Seq: 1}
}

// quotes reports whether an ICMP error's quoted UDP packet went between the two.
func quotes(b []byte, from, to netip.AddrPort) bool {
	src, dst := ends(gopacket.NewPacket(b, layers.LayerTypeIPv4, gopacket.NoCopy))
	return src == from && dst == to
}

func TestInsideICMP(t *testing.T) {
	layouts(t, func(t *testing.T, stick bool) {
		w := newWorld(t, stick)
		w.insideServe()
		w.host.answerPings()
		w.gateway.answerPings()
		f := newInnerPeer(w.startProcess())
		w.set(w.insideSpec())
		watch := w.gateway.watch(w.uplink)
		echoReply := layers.CreateICMPv4TypeCode(layers.ICMPv4TypeEchoReply, 0)
		for _, to := range []string{lanHost, gatewayLAN} {
			ping := func() { f.send(f.port(), port(to, 0), 64, echoRequest(77), gopacket.Payload("ping")) }
			if text, ok := f.icmp(ping, echoReply, to); !ok || string(text) != "ping" {
				t.Errorf("echo to %s: %q, %v", to, text, ok)
			}
		}
		// From the LAN and from the gateway: nobody listens.
		for to, n := range map[string]*node{lanHost: w.host, gatewayLAN: w.gateway} {
			from, heardOf := f.port(), Inside.String()
			if n == w.host {
				heardOf = gatewayLAN
			}
			closed := port(to, 9)
			say := func() {
				f.sendUDP(from, closed, "hello")
				time.Sleep(10 * time.Millisecond) // conntrack knows it now
				n.sayICMP(heardOf, 3, 3, udpPacket(port(heardOf, from.Port()), closed, 64))
			}
			quoted, ok := f.icmp(say, layers.CreateICMPv4TypeCode(layers.ICMPv4TypeDestinationUnreachable, layers.ICMPv4CodePort), to)
			if !ok || !quotes(quoted, from, closed) {
				t.Errorf("the closed port of %s: %v, quoting % x", to, ok, quoted)
			}
			if got, err := f.askTCP(from, closed, patience); err != nil || got != "reset" {
				t.Errorf("the closed TCP port of %s: %q, %v", to, got, err)
			}
		}
		// To the LAN host, about what it sent: it knows the gateway's address.
		from := f.port()
		if _, err := f.ask(from, port(lanHost, hostPort), patience); err != nil {
			t.Fatal(err)
		}
		lan := w.gateway.watch("lan0")
		narrow := &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(layers.ICMPv4TypeDestinationUnreachable, layers.ICMPv4CodeFragmentationNeeded), Seq: 1280}
		f.send(from, port(lanHost, 0), 64, narrow,
			gopacket.Payload(datagram(port(lanHost, hostPort), from, 63, udp(port(lanHost, hostPort), from), gopacket.Payload("too big"))))
		said := lan.matching(func(b []byte) bool {
			return about(lanHost)(b) && b[9] == unix.IPPROTO_ICMP && b[20] == 3 && b[21] == 4
		})
		if len(said) != 1 || !about(gatewayLAN)(said[0]) || !quotes(said[0][28:], port(lanHost, hostPort), port(gatewayLAN, from.Port())) {
			t.Errorf("the LAN host was told % x", said)
		}
		if seen := watch.matching(about(Inside.String())); len(seen) > 0 {
			t.Errorf("%d packets of %s on the uplink, first % x", len(seen), Inside, seen[0])
		}
	})
}

// What the kernel has to say about a packet of the process it says to the
// process: to Inside while it has not translated the packet, and afterwards to
// the gateway's own address, from where conntrack leads it back. On sayICMP in
// the kernel's stead see there.
func TestInsideKernelErrors(t *testing.T) {
	layouts(t, func(t *testing.T, stick bool) {
		w := newWorld(t, stick)
		w.insideServe()
		f := newInnerPeer(w.startProcess())
		w.set(w.insideSpec())
		watch := w.gateway.watch(w.uplink)
		to := port(lanHost, hostPort)
		for _, code := range [][2]byte{{11, 0}, {3, 1}, {3, 4}} {
			for _, said := range []string{Inside.String(), gatewayLAN} {
				from := f.port()
				if _, err := f.ask(from, to, patience); err != nil {
					t.Fatal(err)
				}
				say := func() { w.gateway.sayICMP(said, code[0], code[1], udpPacket(port(said, from.Port()), to, 1)) }
				quoted, ok := f.icmp(say, layers.CreateICMPv4TypeCode(code[0], code[1]), gatewayLAN)
				if !ok || !quotes(quoted, from, to) {
					t.Errorf("ICMP %v, said to %s: %v, quoting % x", code, said, ok, quoted)
				}
			}
		}
		if seen := watch.matching(func(b []byte) bool { return b[0]>>4 == 4 && b[9] == unix.IPPROTO_ICMP }); len(seen) > 0 {
			t.Errorf("%d ICMP packets on the uplink, first % x", len(seen), seen[0])
		}
	})
}

// A service that binds no address answers from the one of the LAN, which is
// what the process has asked.
func TestInsideAnswersFromTheLANAddress(t *testing.T) {
	w := newWorld(t, false)
	f := newInnerPeer(w.startProcess())
	w.set(w.insideSpec())
	w.gateway.echo("0.0.0.0:54")
	if got, err := f.ask(f.port(), port(gatewayLAN, 54), patience); err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// Foreign firewalls are asked about these conversations too, which are tracked.
func TestInsideForeignFirewall(t *testing.T) {
	layouts(t, func(t *testing.T, stick bool) {
		w := newWorld(t, stick)
		w.serve()
		w.insideServe()
		// Its input chain is its owner's business.
		w.gateway.nft(strings.Replace(foreignFirewall, `iifname "lan0" accept`, `iifname { "lan0", "turnout0" } accept`, 1))
		before := w.snapshot()
		f := newInnerPeer(w.startProcess())
		s := w.insideSpec()
		s.AdjustFirewall = true
		w.set(s)
		w.insideWorks(f)
		w.works()
		w.restore(false)
		f.p.kill()
		wantEqual(t, "after Restore", w.snapshot(), before)

		w.gateway.nft(`flush ruleset
			table inet f { chain c { type filter hook forward priority 0; policy accept; ct state new iifname { "lan0", "turnout0" } oifname { "lan0", "turnout0" } drop; }; }`)
		for _, c := range []struct {
			spec Spec
			want string
		}{{w.spec(), ""}, {w.insideSpec(), "it drops what LAN hosts send to a listening forward; it drops conversations with LAN hosts that the process starts"}} {
			var why []string
			w.gateway.must(func() error {
				for _, c := range Conflicts(c.spec) {
					why = append(why, c.Why)
				}
				return nil
			})
			wantEqual(t, "conflicts", strings.Join(why, "; "), c.want)
		}
	})
}
