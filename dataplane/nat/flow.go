package nat

import "turnout/classifier/packet"

// Direct is the exit that bypasses all tunnels (classifier.Direct): the kernel
// carries its flows, so that neither their replies nor most of their packets
// are seen here.
const Direct uint16 = 0

// A Pin is what policy decided for a flow.
type Pin struct {
	Exit       uint16      // the live exit: a tunnel's classifier.ExitID, or Direct
	Entry      int32       // index of the deciding line in the policy, -1 for none
	By         uint8       // classifier.By
	Masquerade bool        // translate the LAN address to Addr
	Addr       packet.Addr // the tunnel's own address, when Masquerade
}

// A Flow is a copy of what the table knows of one conversation at one moment.
// Ports are TCP's or UDP's; LANPort and Port hold the identifier of an ICMP
// echo; they are 0 for other protocols.
type Flow struct {
	Pin
	LAN, Remote         packet.Addr
	LANPort, RemotePort uint16
	Port                uint16 // what the remote end sees as our port; LANPort unless Masquerade
	Proto               uint8
	State               State

	StartedAt, TouchedAt Tick // first packet; last one that kept the flow alive
	// Traffic from the LAN and to it. A super-packet counts as one packet.
	BytesOut, BytesIn     uint64
	PacketsOut, PacketsIn uint32
}

// An entry is a flow in the table: 112 bytes, no pointers.
type entry struct {
	lan, remote               packet.Addr
	lanPort, remotePort, port uint16
	binding                   uint16 // 0: the entry is free
	started, touched          Tick
	prev, next                uint32 // in the queue of its state; next chains free entries
	line                      int32
	proto                     uint8
	state                     State
	by                        uint8
	tcp                       tracking
	packets                   [2]uint32
	bytes                     [2]uint64
}

// A direction of a packet in a flow, and the index of its side's numbers.
const (
	out = 0
	in  = 1
)

// count adds a packet of n bytes to the flow's traffic.
func (e *entry) count(dir int, n uint16) {
	e.packets[dir]++
	e.bytes[dir] += uint64(n)
}

// flow copies entry i.
func (t *Table) flow(i uint32) Flow {
	e := t.flows.at(i)
	b := &t.bindings.list[e.binding]
	return Flow{
		Pin: Pin{Exit: b.exit, Entry: e.line, By: e.by, Masquerade: b.masquerade, Addr: b.addr},
		LAN: e.lan, Remote: e.remote,
		LANPort: e.lanPort, RemotePort: e.remotePort, Port: e.port,
		Proto: e.proto, State: e.state,
		StartedAt: e.started, TouchedAt: e.touched,
		BytesOut: e.bytes[out], BytesIn: e.bytes[in],
		PacketsOut: e.packets[out], PacketsIn: e.packets[in],
	}
}

// lanKey is how a packet from the LAN finds its flow.
func lanKey(lan, remote packet.Addr, lanPort, remotePort uint16, proto uint8) key {
	return key{lan, remote, ports(lanPort, remotePort), uint32(proto)}
}

// exitKey is how a packet out of a tunnel finds its flow.
func exitKey(exit uint16, ext, remote packet.Addr, port, remotePort uint16, proto uint8) key {
	return key{ext, remote, ports(port, remotePort), uint32(exit)<<8 | uint32(proto)}
}

func (e *entry) lanKey() key {
	return lanKey(e.lan, e.remote, e.lanPort, e.remotePort, e.proto)
}

func (t *Table) exitKey(e *entry) key {
	b := &t.bindings.list[e.binding]
	ext := e.lan
	if b.masquerade {
		ext = b.addr
	}
	return exitKey(b.exit, ext, e.remote, e.port, e.remotePort, e.proto)
}
