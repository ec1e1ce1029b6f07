package tests

import (
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"turnout/tests/netlab"
)

// A server at the end of a tunnel provokes ICMP errors about its own packets.
// The kernel would send them from the gateway's real address, by the uplink,
// and so tell the server who is behind the tunnel.
func TestNoICMPUnmasksTheGateway(t *testing.T) {
	need(t, "ip")
	for _, layout := range []netlab.Layout{netlab.TwoLegs, netlab.Stick} {
		t.Run(layout.String(), func(t *testing.T) {
			t.Parallel()
			testUnmask(t, layout)
		})
	}
}

func testUnmask(t *testing.T, layout netlab.Layout) {
	const lanMTU = 1300
	r := world{
		Options: netlab.Options{Layout: layout},
		// The direct rule makes the uplink a way that the kernel may use.
		Head: "[[rule]]\nto = [\"198.51.100.4\"]\nvia = \"direct\"\n",
		Before: func(t *testing.T, l *netlab.Lab) {
			if layout == netlab.Stick {
				return // where it would be the tunnels' MTU as well
			}
			if err := l.Gateway.MTU(l.LANInterface(), lanMTU); err != nil {
				t.Fatal(err)
			}
		},
	}.up(t)
	provoke, host := provoker(t, r)
	watch := r.watch(t)

	provoke(64, 100) // well-behaved, to see that it arrives at all
	host.SetReadDeadline(time.Now().Add(time.Second))
	if _, err := host.Read(make([]byte, 2048)); err != nil {
		t.Fatalf("nothing comes through the tunnel: %v", err)
	}
	provoke(1, 100)
	provoke(64, lanMTU+50)
	// A host that is switched off: the gateway's ARP requests stay unanswered.
	on(t, r.Hosts[0].Node, "ip", "link", "set", "eth0", "down")
	on(t, r.Gateway.Node, "ip", "neigh", "flush", "dev", r.LANInterface())
	provoke(64, 100)
	time.Sleep(4 * time.Second)
	if err := watch.Leaks(); err != nil {
		t.Error(err)
	}
}

// provoker opens a flow from the host to a server and returns a function that
// sends a packet back along it, with DF, a TTL and a size in bytes, and the
// host's end.
func provoker(t *testing.T, r *run) (func(ttl, size int), *net.UDPConn) {
	t.Helper()
	const port = 5353
	var server net.PacketConn
	err := r.Servers[0].Do(func() (err error) {
		server, err = net.ListenPacket("udp4", "198.51.100.1:5353")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	option(server.(*net.UDPConn), func(fd int) error {
		return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE)
	})
	host, err := r.Hosts[0].DialUDP(netlab.Flow{Proto: "udp", Dst: netlab.Internet[0], Port: port})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { host.Close() })
	if _, err := host.Write([]byte("speak")); err != nil {
		t.Fatal(err)
	}
	server.SetReadDeadline(time.Now().Add(3 * time.Second))
	_, from, err := server.ReadFrom(make([]byte, 100))
	if err != nil {
		t.Fatalf("the server hears nothing: %v", err)
	}
	return func(ttl, size int) {
		t.Helper()
		if err := ipv4.NewPacketConn(server).SetTTL(ttl); err != nil {
			t.Fatal(err)
		}
		const headers = 28
		if _, err := server.WriteTo([]byte(strings.Repeat("x", size-headers)), from); err != nil {
			t.Fatal(err)
		}
		time.Sleep(200 * time.Millisecond)
	}, host
}
