package hostile

import (
	"net/netip"
	"slices"
)

// stopped are the cases that never reach the router on a real wire, by class;
// no names stand for all of them.
var stopped = [Sides]map[int][]string{
	LAN: {
		// ip_rcv of the gateway's kernel (net/ipv4/ip_input.c).
		1: nil, 2: nil, 3: nil, 4: nil, 5: nil, 6: nil, 7: nil, 9: nil,
		// ip_forward, which answers: TTL 1 at the TUN device was 2 on the LAN.
		10: nil, 11: nil,
		// ip_route_input: martians.
		12: {"from 0.0.0.0", "from 127.0.0.1", "from 224.0.0.1", "from 239.255.255.250", "from 255.255.255.255"},
		13: {"to 0.0.0.0", "to 127.0.0.1"},
		// ip_options_compile, and accept_source_route, which is off.
		15: nil, 16: nil,
		// nf_defrag_ipv4, which puts fragments together before anybody sees them.
		18: nil, 19: nil, 20: nil, 21: nil, 22: nil, 23: nil, 24: nil, 25: nil, 26: nil, 27: nil, 28: nil,
		// The kernel writes the virtio header, and the LAN's links the sizes.
		75: nil, 76: nil, 77: nil, 78: nil, 79: nil,
	},
	Tunnel: {
		// WireGuard at the far end and here: no IP version, no header, cut short.
		1: nil, 2: nil, 3: nil, 6: {"total length 0", "total length 19"}, 7: {"total length 65,535"},
		// It is for nobody behind the far end's device.
		13: nil,
		// The far end's device takes no more than its MTU, and floods are for
		// other tests.
		28: nil, 78: nil,
	},
}

// others are those that WireGuard makes good or bad in another way: it pads
// with zeros to 16 bytes and cuts off what is beyond the packet's length.
var others = [Sides]map[int][]string{
	Tunnel: {6: {"total length 40, header 60"}, 7: {"one byte too few"}},
}

// A Passage says how far a case gets on a real wire, from a raw socket of a LAN
// host or on the WireGuard device of the far end.
type Passage uint8

const (
	Reaches Passage = iota // the router, as it is
	Stopped                // before
	Changed                // on the way: it is another case, or none
)

// Passage returns how far the case gets on a side. No IPv6 reaches the router:
// the gateway's kernel refuses it, and no tunnel of the tests carries it.
func (c *Case) Passage(side Side) Passage {
	listed := func(l map[int][]string) bool {
		names, some := l[c.Class]
		return some && (names == nil || slices.Contains(names, c.Name))
	}
	pkt := c.Packets(example)[0]
	switch {
	case listed(others[side]):
		return Changed
	case listed(stopped[side]), len(pkt) > 0 && pkt[0]>>4 == 6:
		return Stopped
	}
	return Reaches
}

// example is a conversation whose packets are to be looked at only.
var example = Talk{
	Src: netip.MustParseAddr("192.0.2.1"), Dst: netip.MustParseAddr("192.0.2.2"),
	Src6: netip.MustParseAddr("2001:db8::1"), Dst6: netip.MustParseAddr("2001:db8::2"),
	UDP: Ports{1, 2}, TCP: Ports{3, 4}, Opening: Ports{5, 6}, Echo: 7,
}
