package tests

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strconv"
	"testing"

	"turnout/tests/netlab"
)

// A row is a flow, where it must come out, and which layer of the policy says so.
type row struct {
	host    int // index in Lab.Hosts
	proto   string
	dst     string
	port    uint16
	srcPort uint16
	dscp    uint8
	exit    string
	by      string
}

const tableRules = `
[[rule]]
name = "one port of one host"
to = ["198.51.100.1"]
proto = "tcp"
ports = "8080"
via = "japan"
[[rule]]
name = "shadowed by the rule before"
proto = "tcp"
ports = "8000-8100"
via = "office"
[[rule]]
name = "a host"
from = ["192.168.77.11"]
to = ["198.51.100.2"]
via = "office"
[[rule]]
name = "half the LAN"
from = ["192.168.77.12/31"]
proto = "icmp"
via = "japan"
[[rule]]
name = "source ports"
proto = "udp"
from_ports = "2000-2099"
via = "office"
[[rule]]
name = "voice"
dscp = [46]
via = "japan"
[[rule]]
name = "ports of both protocols"
to = ["198.51.100.3"]
ports = "123,5060"
via = "direct"
[[rule]]
name = "the bank"
to = ["198.51.100.4/32"]
proto = "tcp"
via = "direct"
[[rule]]
name = "telnet"
proto = "tcp"
ports = "23"
via = "drop"
[[rule]]
name = "mail"
proto = "tcp"
ports = "25"
via = "reject"
[[rule]]
name = "games"
proto = "udp"
ports = "27000-27100"
via = "reject"
[[rule]]
name = "no pings to one host"
to = ["198.51.100.3/32"]
proto = "icmp"
via = "drop"
`

var tablePeers = map[string][]string{
	"sweden": {"AllowedIPs = 0.0.0.0/0", "Route = 198.51.100.2/31:any"},
	"japan": {
		"AllowedIPs = 0.0.0.0/0",
		"Route = 0.0.0.0/0:udp:53 # names",
		"Route = 198.51.100.3/32:tcp:80,443,990-999",
		"Route = 198.51.100.1/32:any:22",
	},
	"office": {
		"AllowedIPs = 10.99.0.0/16, 10.98.0.0/15",
		"Route = 198.51.100.1/32:tcp:22",
		"Route = 198.51.100.2/32:tcp:3389",
		"Route = 198.51.100.2:icmp",
	},
}

var table = []row{
	// default
	{0, "tcp", "198.51.100.1", 443, 0, 0, "sweden", "default"},
	{0, "tcp", "198.51.100.1", 80, 0, 0, "sweden", "default"},
	{1, "tcp", "198.51.100.1", 993, 0, 0, "sweden", "default"},
	{0, "udp", "198.51.100.1", 443, 0, 0, "sweden", "default"},
	{2, "udp", "198.51.100.1", 8080, 0, 0, "sweden", "default"},
	{0, "icmp", "198.51.100.1", 0, 0, 0, "sweden", "default"},
	{0, "icmp", "198.51.100.4", 0, 0, 0, "sweden", "default"},
	{0, "udp", "198.51.100.4", 443, 0, 0, "sweden", "default"},
	{0, "tcp", "198.51.100.1", 53, 0, 0, "sweden", "default"},
	{0, "udp", "198.51.100.1", 23, 0, 0, "sweden", "default"},
	// routes: the longest prefix, then the named protocol, then the fewer ports
	{0, "udp", "198.51.100.1", 53, 0, 0, "japan", "route"},
	{1, "udp", "198.51.100.4", 53, 0, 0, "japan", "route"},
	{0, "udp", "198.51.100.2", 53, 0, 0, "sweden", "route"},
	{0, "tcp", "198.51.100.2", 443, 0, 0, "sweden", "route"},
	{0, "tcp", "198.51.100.2", 3389, 0, 0, "office", "route"},
	{0, "udp", "198.51.100.2", 3389, 0, 0, "sweden", "route"},
	{0, "icmp", "198.51.100.2", 0, 0, 0, "office", "route"},
	{0, "tcp", "198.51.100.3", 443, 0, 0, "japan", "route"},
	{2, "tcp", "198.51.100.3", 993, 0, 0, "japan", "route"},
	{0, "tcp", "198.51.100.3", 3389, 0, 0, "sweden", "route"},
	{0, "tcp", "198.51.100.1", 22, 0, 0, "office", "route"},
	{0, "udp", "198.51.100.1", 22, 0, 0, "japan", "route"},
	// AllowedIPs
	{0, "tcp", "10.99.0.1", 443, 0, 0, "office", "allowed-ips"},
	{1, "udp", "10.99.0.1", 443, 0, 0, "office", "allowed-ips"},
	{0, "icmp", "10.99.0.1", 0, 0, 0, "office", "allowed-ips"},
	{0, "udp", "10.99.0.1", 53, 0, 0, "japan", "route"},
	// rules
	{0, "tcp", "198.51.100.1", 8080, 0, 0, "japan", "rule"},
	{0, "tcp", "198.51.100.2", 8080, 0, 0, "office", "rule"},
	{1, "tcp", "198.51.100.2", 443, 0, 0, "office", "rule"},
	{1, "udp", "198.51.100.2", 53, 0, 0, "office", "rule"},
	{2, "icmp", "198.51.100.1", 0, 0, 0, "japan", "rule"},
	{0, "udp", "198.51.100.1", 443, 2007, 0, "office", "rule"},
	{0, "udp", "198.51.100.1", 5060, 0, 46, "japan", "rule"},
	{0, "icmp", "198.51.100.1", 0, 0, 46, "japan", "rule"},
	{0, "udp", "198.51.100.3", 123, 0, 0, netlab.Direct, "rule"},
	{0, "tcp", "198.51.100.3", 5060, 0, 0, netlab.Direct, "rule"},
	{0, "tcp", "198.51.100.4", 443, 0, 0, netlab.Direct, "rule"},
	{0, "tcp", "198.51.100.1", 23, 0, 0, netlab.Drop, "rule"},
	{0, "tcp", "198.51.100.1", 25, 0, 0, netlab.Reject, "rule"},
	{0, "udp", "198.51.100.1", 27015, 0, 0, netlab.Reject, "rule"},
	{0, "icmp", "198.51.100.3", 0, 0, 0, netlab.Drop, "rule"},
}

func (r row) flow() netlab.Flow {
	return netlab.Flow{Proto: r.proto, Dst: netip.MustParseAddr(r.dst), Port: r.port, SrcPort: r.srcPort, DSCP: r.dscp}
}

// Every flow arrives where policy says, by the word of the far end, and
// `turnout explain` says the same of the running router.
func TestEveryFlowTakesItsExit(t *testing.T) {
	t.Parallel()
	r := world{Options: netlab.Options{Hosts: 3}, Head: tableRules, Peer: tablePeers}.up(t)
	if err := all(table, func(f row) error { return r.arrives(r.Hosts[f.host], f.flow(), f.exit) }); err != nil {
		t.Error(err)
	}
	if err := all(table, r.explains); err != nil {
		t.Error(err)
	}
}

// explains compares the live table's answer with the row.
func (r *run) explains(f row) error {
	args := []string{"--json", "--run-dir", r.RunDir(), "--to", f.dst, "--proto", f.proto,
		"--from", r.Hosts[f.host].Addr.String(), "--dscp", strconv.Itoa(int(f.dscp))}
	if f.port != 0 {
		args = append(args, "--port", strconv.Itoa(int(f.port)))
	}
	if f.srcPort != 0 {
		args = append(args, "--from-port", strconv.Itoa(int(f.srcPort)))
	}
	stdout, stderr, status, err := r.Gateway.Turnout("explain", args...)
	if err != nil || status != 0 {
		return fmt.Errorf("explain %v: status %d, %v: %s", f.flow(), status, err, stderr)
	}
	var a struct{ Exit, Tunnel, By string }
	if err := json.Unmarshal([]byte(stdout), &a); err != nil {
		return fmt.Errorf("explain %v: %w", f.flow(), err)
	}
	if a.Exit == "tunnel" {
		a.Exit = a.Tunnel
	}
	if a.Exit != f.exit || a.By != f.by {
		return fmt.Errorf("explain %v says %s by %s, want %s by %s", f.flow(), a.Exit, a.By, f.exit, f.by)
	}
	return nil
}
