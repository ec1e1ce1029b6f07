package main

import (
	"path/filepath"

	"turnout/tests/netlab"
)

const demoDrawing = `
  alice .10 --.                          .=== sweden ===.
              +--[ LAN ]-- gateway ======+=== japan  ===+=== 198.51.100.1 to .4
  bob   .11 --'            turnout       '=== office ==='    and 10.99.0.1
                              |                         |
                              '-------- direct ---------'

  Every exit reaches the same addresses; the far end says by which one a flow came.

`

var demoServers = []string{"sweden", "japan", "office"}

// demoPolicy has every layer in it: rules, routes, AllowedIPs, default.
const demoPolicy = `default = "sweden"

[lan]
interfaces = ["eth1"]

[[tunnel]]
name   = "sweden"
config = "sweden.conf"

[[tunnel]]
name   = "japan"
config = "japan.conf"

[[tunnel]]
name   = "office"
config = "office.conf"

[[rule]]
name = "the bank wants our own address"
to   = ["198.51.100.4"]
via  = "direct"

[[rule]]
name  = "clocks are set without a detour"
proto = "udp"
ports = "123"
via   = "direct"

[[rule]]
name  = "no telnet"
proto = "tcp"
ports = "23"
via   = "drop"

[[rule]]
name  = "no mail but by the mail server"
proto = "tcp"
ports = "25"
via   = "reject"

[[rule]]
name  = "no games"
proto = "udp"
ports = "27000-27100"
via   = "reject"

[[rule]]
name  = "the secret host does not exist"
to    = ["198.51.100.3"]
proto = "icmp"
via   = "drop"

[[rule]]
name = "bob works from home"
from = ["192.168.77.11"]
to   = ["198.51.100.2"]
via  = "office"

[[rule]]
name = "voice takes the quick way"
dscp = [46]
via  = "japan"
`

// demoPeers are the lines that make each provider's file more than a default.
var demoPeers = map[string][]string{
	"sweden": nil,
	"japan": {
		"AllowedIPs = 0.0.0.0/0",
		"Route = 0.0.0.0/0:udp:53            # names are resolved in Japan",
		"Route = 198.51.100.3:tcp:80,443,8080-8090",
	},
	"office": {
		"AllowedIPs = 10.99.0.0/16",
		"Route = 198.51.100.2/32:tcp:22,3389 # remote work",
	},
}

// writeDemoPolicy writes the configuration as a person would, one file per
// provider beside turnout.toml, whose path it returns.
func writeDemoPolicy(lab *netlab.Lab) (string, error) {
	for _, s := range lab.Servers {
		if _, err := lab.Gateway.Write(s.Name+".conf", s.WGQuick(demoPeers[s.Name]...)); err != nil {
			return "", err
		}
	}
	path, err := lab.Gateway.Write("turnout.toml", demoPolicy)
	return filepath.Clean(path), err
}
