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
	Generation uint8       // of the policy that decided; Entry is an index in that one
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
	// Traffic from the LAN and to it, up to the packet before the one that asked.
	// A super-packet counts as one packet.
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
	generation                uint8
	tcp                       tracking
	packets                   [2]uint32
	bytes                     [2]uint64
}

// A direction of a packet in a flow, and the index of its side's numbers.
const (
	out = 0
	in  = 1
)

// count adds a packet of n bytes to the flow's traffic. It comes after copy:
// reading back in one piece what was just written in two would stall.
func (e *entry) count(dir int, n uint16) {
	e.packets[dir]++
	e.bytes[dir] += uint64(n)
}

// copy makes f a copy of entry e. It writes f in place, field by field: a Flow
// built elsewhere and copied costs a stall of 15 ns.
func (t *Table) copy(f *Flow, e *entry) {
	b := &t.bindings.list[e.binding]
	f.Exit, f.Entry, f.By, f.Masquerade, f.Addr = b.exit, e.line, e.by, b.masquerade, b.addr
	f.Generation = e.generation
	f.LAN, f.Remote = e.lan, e.remote
	f.LANPort, f.RemotePort, f.Port = e.lanPort, e.remotePort, e.port
	f.Proto, f.State = e.proto, e.state
	f.StartedAt, f.TouchedAt = e.started, e.touched
	f.BytesOut, f.BytesIn = e.bytes[out], e.bytes[in]
	f.PacketsOut, f.PacketsIn = e.packets[out], e.packets[in]
}

// A packet from the LAN finds its flow by both ends, their ports and the
// protocol; a packet out of a tunnel by the exit, the external address and
// port, the remote end and the protocol.

func (t *Table) lanHash(e *entry) uint64 {
	return t.secret.hash(e.lan, e.remote, ports(e.lanPort, e.remotePort), uint32(e.proto))
}

func (t *Table) exitHash(e *entry) uint64 {
	b := &t.bindings.list[e.binding]
	return t.secret.hash(b.external(e), e.remote, ports(e.port, e.remotePort), exitTag(b.exit, e.proto))
}

func exitTag(exit uint16, proto uint8) uint32 { return uint32(exit)<<8 | uint32(proto) }

// external returns the address that the remote end of flow e sees.
func (b *binding) external(e *entry) packet.Addr {
	if b.masquerade {
		return b.addr
	}
	return e.lan
}
