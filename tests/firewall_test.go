package tests

import (
	"bufio"
	"fmt"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"turnout/tests/netlab"
)

// foreignFirewall is what ufw, firewalld or Docker leave on a host: nothing is
// forwarded that nobody asked for, and what conntrack does not know is dropped.
const foreignFirewall = `table inet filter {
	chain forward {
		type filter hook forward priority filter; policy drop;
		ct state invalid drop
		ct state established,related accept
	}
	chain input {
		type filter hook input priority filter; policy accept;
		ct state invalid drop
	}
}
`

func withFirewall(head string) world {
	return world{
		Head: head + "[[rule]]\nto = [\"198.51.100.4\"]\nvia = \"direct\"\n",
		Before: func(t *testing.T, l *netlab.Lab) {
			nft(t, l.Gateway.Node, foreignFirewall)
		},
	}
}

// Where a foreign firewall would drop the LAN's packets, up says which chain
// does and what to type; what it says to type is enough.
func TestForeignFirewallIsNamed(t *testing.T) {
	t.Parallel()
	need(t, "nft")
	r := withFirewall("").up(t)
	said := r.Daemon.Log()
	if !strings.Contains(said, "inet filter forward") {
		t.Errorf("up does not name the chain:\n%s", said)
	}
	commands := nftCommands(said)
	if len(commands) == 0 {
		t.Fatalf("up does not say what to type:\n%s", said)
	}
	for _, c := range commands {
		on(t, r.Gateway.Node, "sh", "-c", c)
	}
	checkBothWays(t, r)
}

// nftCommands finds the commands in a log, as a person who pastes them would.
func nftCommands(log string) []string {
	return regexp.MustCompile(`nft insert rule [^"\n]*`).FindAllString(log, -1)
}

func TestForeignFirewallIsAdjusted(t *testing.T) {
	t.Parallel()
	r := withFirewall("[host]\nadjust_firewall = true\n").build(t)
	before := snapshot(t, r.Gateway.Node)
	r.up(t)
	checkBothWays(t, r)
	down(t, r)
	same(t, "after down", before, snapshot(t, r.Gateway.Node))
}

func checkBothWays(t *testing.T, r *run) {
	t.Helper()
	for exit, i := range map[string]int{"sweden": 0, netlab.Direct: 3} {
		if err := all(everyProtocol(i), func(f netlab.Flow) error { return r.arrives(r.Hosts[0], f, exit) }); err != nil {
			t.Error(err)
		}
	}
}

// The admin's own port forward on the uplink keeps working: its replies leave by
// the uplink, not by a tunnel.
func TestPortForwardOfTheAdminWorks(t *testing.T) {
	need(t, "nft")
	for _, layout := range []netlab.Layout{netlab.TwoLegs, netlab.Stick} {
		t.Run(layout.String(), func(t *testing.T) {
			t.Parallel()
			testPortForward(t, layout)
		})
	}
}

func testPortForward(t *testing.T, layout netlab.Layout) {
	r := world{Options: netlab.Options{Layout: layout}, Before: func(t *testing.T, l *netlab.Lab) {
		if err := l.Gateway.Sysctl("net.ipv4.ip_forward", "1"); err != nil {
			t.Fatal(err)
		}
		nft(t, l.Gateway.Node, fmt.Sprintf(`table ip admin {
	chain prerouting {
		type nat hook prerouting priority dstnat; policy accept;
		iifname "eth0" tcp dport 8443 dnat to %s:443
		iifname "eth0" udp dport 8443 dnat to %[1]s:443
	}
}
`, l.Hosts[0].Addr))
	}}.build(t)
	serveHello(t, r.Hosts[0].Node)
	r.up(t)
	// Ask from an address that policy sends into a tunnel when the LAN asks it.
	target := net.JoinHostPort(r.UplinkAddr().String(), "8443")
	for _, network := range []string{"tcp4", "udp4"} {
		for try := range 3 { // the second finds whatever the first has left behind
			if got, err := hello(r.Router.Node, network, target); err != nil || got != "hello\n" {
				t.Errorf("%s, try %d: %q, %v", network, try, got, err)
			}
		}
	}
	if err := r.arrives(r.Hosts[0], everyProtocol(0)[0], "sweden"); err != nil {
		t.Error(err)
	}
}

// serveHello says hello on TCP and UDP port 443 of a node.
func serveHello(t *testing.T, n *netlab.Node) {
	t.Helper()
	err := n.Do(func() error {
		ln, err := net.Listen("tcp4", ":443")
		if err != nil {
			return err
		}
		pc, err := net.ListenPacket("udp4", ":443")
		if err != nil {
			return err
		}
		n.OnClose(func() { ln.Close(); pc.Close() })
		go func() {
			for {
				conn, err := ln.Accept()
				if err != nil {
					return
				}
				bufio.NewReader(conn).ReadString('\n')
				fmt.Fprintln(conn, "hello")
				conn.Close()
			}
		}()
		go func() {
			for buf := make([]byte, 100); ; {
				_, from, err := pc.ReadFrom(buf)
				if err != nil {
					return
				}
				pc.WriteTo([]byte("hello\n"), from)
			}
		}()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// hello asks from the first internet address of the router.
func hello(n *netlab.Node, network, target string) (string, error) {
	d := net.Dialer{Timeout: 2 * time.Second}
	if network == "tcp4" {
		d.LocalAddr = &net.TCPAddr{IP: netlab.Internet[0].AsSlice()}
	} else {
		d.LocalAddr = &net.UDPAddr{IP: netlab.Internet[0].AsSlice()}
	}
	var conn net.Conn
	err := n.Do(func() (err error) {
		conn, err = d.Dial(network, target)
		return err
	})
	if err != nil {
		return "", err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(2 * time.Second))
	if _, err := fmt.Fprintln(conn, "knock"); err != nil {
		return "", err
	}
	return bufio.NewReader(conn).ReadString('\n')
}
