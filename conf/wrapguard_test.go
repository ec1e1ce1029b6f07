package conf

import (
	"path/filepath"
	"testing"

	"turnout/classifier"
)

// WrapGuard documents these configurations and says which peer takes which
// traffic. They load as written, and every flow goes where its text says.
func TestWrapGuardFlows(t *testing.T) {
	for _, c := range []struct {
		file string
		to   string
		prot string
		port uint16
		want string
		by   classifier.By
	}{
		{"basic", "1.1.1.1", "tcp", 443, "basic", classifier.ByDefault},
		{"example", "1.1.1.1", "tcp", 443, "example", classifier.ByDefault},

		{"file-routes", "8.8.8.8", "udp", 53, "file-routes", classifier.ByRoute},
		{"file-routes", "192.168.3.4", "tcp", 22, "file-routes", classifier.ByRoute},
		{"file-routes", "172.16.3.4", "tcp", 443, "file-routes", classifier.ByRoute},
		{"file-routes", "172.16.3.4", "icmp", 0, "file-routes", classifier.ByRoute},

		{"by-network", "8.8.8.8", "tcp", 443, "by-network-1", classifier.ByRoute},
		{"by-network", "192.168.1.100", "tcp", 22, "by-network-2", classifier.ByRoute},
		{"by-network", "192.168.1.100", "icmp", 0, "by-network-2", classifier.ByRoute},
		{"by-network", "192.168.2.100", "tcp", 22, "by-network-1", classifier.ByRoute},

		{"by-port", "93.184.216.34", "tcp", 80, "by-port-1", classifier.ByRoute},
		{"by-port", "93.184.216.34", "tcp", 443, "by-port-1", classifier.ByRoute},
		{"by-port", "10.0.0.5", "tcp", 2999, "by-port-1", classifier.ByDefault},
		{"by-port", "10.0.0.5", "tcp", 3000, "by-port-2", classifier.ByRoute},
		{"by-port", "10.0.0.5", "tcp", 4000, "by-port-2", classifier.ByRoute},
		{"by-port", "10.0.0.5", "tcp", 4001, "by-port-1", classifier.ByDefault},
		{"by-port", "10.0.0.5", "tcp", 8080, "by-port-2", classifier.ByRoute},
		{"by-port", "10.0.0.5", "tcp", 9000, "by-port-2", classifier.ByRoute},
		{"by-port", "10.0.0.5", "udp", 8080, "by-port-1", classifier.ByDefault},
		{"by-port", "10.0.0.5", "icmp", 0, "by-port-1", classifier.ByDefault},

		{"three-peers", "93.184.216.34", "tcp", 443, "three-peers-1", classifier.ByRoute},
		{"three-peers", "93.184.216.34", "icmp", 0, "three-peers-1", classifier.ByRoute},
		{"three-peers", "93.184.216.34", "tcp", 22, "three-peers-2", classifier.ByRoute},
		{"three-peers", "93.184.216.34", "udp", 22, "three-peers-1", classifier.ByRoute},
		{"three-peers", "93.184.216.34", "tcp", 3389, "three-peers-2", classifier.ByRoute},
		{"three-peers", "10.1.2.3", "tcp", 443, "three-peers-2", classifier.ByRoute},
		{"three-peers", "172.16.0.1", "udp", 53, "three-peers-2", classifier.ByRoute},
		{"three-peers", "172.32.0.1", "udp", 53, "three-peers-1", classifier.ByRoute},
		{"three-peers", "192.168.1.100", "icmp", 0, "three-peers-2", classifier.ByRoute},
		{"three-peers", "93.184.216.34", "udp", 4999, "three-peers-1", classifier.ByRoute},
		{"three-peers", "93.184.216.34", "udp", 5000, "three-peers-3", classifier.ByRoute},
		{"three-peers", "93.184.216.34", "udp", 6000, "three-peers-3", classifier.ByRoute},
		{"three-peers", "93.184.216.34", "udp", 6001, "three-peers-1", classifier.ByRoute},
		{"three-peers", "93.184.216.34", "tcp", 5500, "three-peers-1", classifier.ByRoute},
		{"three-peers", "10.1.2.3", "udp", 5500, "three-peers-2", classifier.ByRoute},
		{"three-peers", "93.184.216.34", "tcp", 1935, "three-peers-3", classifier.ByRoute},
		{"three-peers", "93.184.216.34", "udp", 1935, "three-peers-1", classifier.ByRoute},

		{"engine", "8.8.8.8", "udp", 53, "engine-1", classifier.ByRoute},
		{"engine", "192.168.1.100", "tcp", 80, "engine-2", classifier.ByRoute},
		{"engine", "192.168.1.100", "tcp", 443, "engine-2", classifier.ByRoute},
		{"engine", "1.2.3.4", "tcp", 8080, "engine-2", classifier.ByRoute},
		{"engine", "10.1.2.3", "tcp", 3000, "engine-3", classifier.ByRoute},
		{"engine", "10.1.2.3", "icmp", 0, "engine-3", classifier.ByRoute},
		{"engine", "192.168.1.100", "tcp", 22, "engine-1", classifier.ByRoute},
		{"engine", "1.2.3.4", "udp", 8080, "engine-1", classifier.ByRoute},

		{"demo-server", "10.150.0.3", "tcp", 8080, "demo-server", classifier.ByAllowedIPs},
		{"demo-server", "10.150.0.4", "tcp", 8080, "reject", classifier.ByDefault},
		{"demo-node", "10.150.0.3", "tcp", 8080, "demo-node", classifier.ByAllowedIPs},
		{"demo-node", "8.8.8.8", "tcp", 443, "reject", classifier.ByDefault},

		{"dual-stack", "8.8.8.8", "tcp", 443, "dual-stack", classifier.ByDefault},
		{"dual-stack", "2001:db8:1::1", "tcp", 443, "dual-stack", classifier.ByDefault},
	} {
		path := filepath.Join("testdata/wrapguard", c.file+".conf")
		cfg, err := Load(path, Options{Purpose: ForExplain})
		if err != nil {
			t.Fatal(err)
		}
		f := flow{c.to, c.prot, c.port}
		exit, by, line := ask(t, cfg, f)
		if exit != c.want || by != c.by {
			t.Errorf("%s: %+v goes to %s by %s (%s), want %s by %s", c.file, f, exit, by, line, c.want, c.by)
		}
	}
}

// The line that decided is given back as it was written.
func TestWrapGuardMatch(t *testing.T) {
	cfg, err := Load("testdata/wrapguard/three-peers.conf", Options{Purpose: ForExplain})
	if err != nil {
		t.Fatal(err)
	}
	_, _, line := ask(t, cfg, flow{"8.8.8.8", "tcp", 22})
	if want := "Route = 0.0.0.0/0:tcp:22     # secure shell"; line != want {
		t.Errorf("match is %q, want %q", line, want)
	}
	if n := len(cfg.Tunnels); n != 3 {
		t.Errorf("%d tunnels, want 3", n)
	}
	corp := cfg.Tunnels[1]
	if !corp.Widened4 || corp.Widened6 {
		t.Error("the company's tunnel, which takes SSH to everywhere, is not widened to IPv4")
	}
}
