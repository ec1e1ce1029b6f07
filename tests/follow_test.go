package tests

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"turnout/tests/netlab"
)

// A lease may bring another prefix to the LAN, and an uplink may come and go:
// the running router fits itself to them, and neither opens nor cuts anything.
func TestFollowsTheHost(t *testing.T) {
	t.Parallel()
	need(t, "ip")
	r := world{Options: netlab.Options{Hosts: 2}, Peer: byTunnel}.up(t)
	watch := r.watch(t)
	second := r.Hosts[1]
	flow := netlab.Flow{Proto: "udp", Dst: netlab.Internet[0], Port: 53, Wait: 300 * time.Millisecond}

	// The host moves to a prefix of which the gateway knows nothing.
	on(t, second.Node, "ip", "addr", "flush", "dev", "eth0")
	on(t, second.Node, "ip", "addr", "add", "192.168.88.11/24", "dev", "eth0")
	on(t, second.Node, "ip", "route", "add", "default", "via", "192.168.88.1")
	second.Addr = netip.MustParseAddr("192.168.88.11")
	if got, err := second.Probe(flow); err != nil || got.Exit != netlab.Drop {
		t.Errorf("from a foreign prefix: %v, %v", got.Exit, err)
	}
	on(t, r.Gateway.Node, "ip", "addr", "add", "192.168.88.1/24", "dev", r.LANInterface())
	eventually(t, "the new prefix is routed", func() bool {
		got, err := second.Probe(flow)
		return err == nil && got.Exit == "sweden"
	})
	if err := r.arrives(r.Hosts[0], flow, "sweden"); err != nil {
		t.Errorf("the old prefix: %v", err)
	}

	// One LAN host reaches the other by the gateway, not by a tunnel.
	if out := on(t, r.Gateway.Node, "ip", "rule"); !strings.Contains(out, "to 192.168.88.0/24 iif") {
		t.Errorf("no rule keeps the new prefix inside:\n%s", out)
	}

	// A second way out appears, with a strict filter that would drop answers.
	on(t, r.Gateway.Node, "ip", "link", "add", "wan1", "type", "veth", "peer", "name", "wan1peer")
	r.Gateway.Sysctl("net.ipv4.conf.wan1.rp_filter", "1")
	on(t, r.Gateway.Node, "ip", "addr", "add", "203.0.114.2/24", "dev", "wan1")
	on(t, r.Gateway.Node, "ip", "link", "set", "wan1peer", "up")
	on(t, r.Gateway.Node, "ip", "link", "set", "wan1", "up")
	on(t, r.Gateway.Node, "ip", "route", "add", "default", "via", "203.0.114.1", "metric", "500")
	eventually(t, "the new uplink's filter is loose", func() bool {
		return strings.TrimSpace(on(t, r.Gateway.Node, "cat", "/proc/sys/net/ipv4/conf/wan1/rp_filter")) == "2"
	})
	if err := watch.Leaks(); err != nil {
		t.Error(err)
	}
}

// eventually waits for what must become true within a few seconds.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if is() {
			return
		}
	}
	t.Errorf("it never came true that %s", what)
}
