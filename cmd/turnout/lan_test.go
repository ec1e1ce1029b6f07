package main

import (
	"net/netip"
	"testing"

	"turnout/dataplane"
)

// Each listed prefix belongs to the interface that is in it, with that
// interface's gateway address and MTU.
func TestListedPrefixesFindTheirInterface(t *testing.T) {
	prefix := netip.MustParsePrefix
	network := func(p, gateway string, mtu int) dataplane.Network {
		return dataplane.NewNetwork(prefix(p), netip.MustParseAddr(gateway), mtu)
	}
	lan := []lanInterface{
		{name: "eth1", mtu: 1500, networks: []dataplane.Network{network("192.168.1.1/24", "192.168.1.1", 1500)}},
		{name: "eth2", mtu: 9000, networks: []dataplane.Network{network("192.168.2.1/24", "192.168.2.1", 9000)}},
	}
	list(lan, []netip.Prefix{prefix("192.168.2.0/25"), prefix("192.168.1.0/24"), prefix("10.5.0.0/16"), prefix("fd00::/64")})
	want := [][]dataplane.Network{
		{network("192.168.1.0/24", "192.168.1.1", 1500), network("10.5.0.0/16", "192.168.1.1", 1500)},
		{network("192.168.2.0/25", "192.168.2.1", 9000)},
	}
	for i := range lan {
		if len(lan[i].networks) != len(want[i]) {
			t.Fatalf("%s has %d networks, want %d", lan[i].name, len(lan[i].networks), len(want[i]))
		}
		for j, n := range lan[i].networks {
			if n != want[i][j] {
				t.Errorf("%s has %+v, want %+v", lan[i].name, n, want[i][j])
			}
		}
	}
}
