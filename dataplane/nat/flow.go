package nat

import "turnout/classifier/packet"

// A flow has two sides. The near one is the LAN, or of a relayed conversation
// the tunnel whose far host began it; the far one is the flow's exit.
const (
	// LAN is the near side that the hosts of the LAN are on.
	LAN uint16 = 0
	// Direct is the exit that bypasses all tunnels (classifier.Direct): the
	// kernel carries its flows, so that neither their replies nor most of their
	// packets are seen here.
	Direct uint16 = 0
	// Hairpin is the exit of a conversation of two LAN hosts by way of a
	// tunnel's own address: its far side is the LAN, too.
	Hairpin uint16 = 1<<16 - 1
)

// A Pin is what was decided for a flow.
type Pin struct {
	Exit       uint16      // the live exit: a tunnel's classifier.ExitID, Direct or Hairpin
	Entry      int32       // index of the deciding line in the policy, -1 for none
	By         uint8       // classifier.By
	Generation uint8       // of the policy that decided; Entry is an index in that one
	Masquerade bool        // the far side sees Addr in place of the near host's address
	FullCone   bool        // whoever knows a mapped UDP port may send to it (RFC 4787, 5)
	Addr       packet.Addr // a tunnel's own address, when Masquerade
	Pool       uint16      // the tunnel whose address that is; 0: Exit
	// Far is the destination in place of the one that the near host names, with
	// its port; the zero Addr: as it is. OpenIn does not look at it.
	Far     packet.Addr
	FarPort uint16
}

// A Flow is a copy of what the table knows of one conversation at one moment.
// Ports are TCP's or UDP's; LANPort and Port hold the identifier of an ICMP
// echo; they are 0 for other protocols.
//
//	near side: LAN:LANPort  <->  Remote:RemotePort
//	far side:  Addr:Port    <->  Far:FarPort         without Masquerade Addr is LAN
//
// Far is the zero Addr where the far side's end is Remote:RemotePort.
type Flow struct {
	Pin
	Near                uint16 // the near side: LAN, or a tunnel's exit
	LAN, Remote         packet.Addr
	LANPort, RemotePort uint16
	Port                uint16 // what the far end sees as the near one's port
	Proto               uint8
	State               State
	Inbound             bool // the far side began it
	Adopted             bool // from the process before: OpenFile

	StartedAt, TouchedAt Tick // first packet; last one that kept the flow alive
	// Traffic from the LAN and to it, up to the packet before the one that asked.
	// A super-packet counts as one packet.
	BytesOut, BytesIn     uint64
	PacketsOut, PacketsIn uint32
}

// An entry is a flow in the table, without pointers.
type entry struct {
	lan, remote, far          packet.Addr
	lanPort, remotePort, port uint16
	farPort                   uint16
	binding                   uint16 // 0: the entry is free
	opener                    uint8  // the side that began: out or in
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

// A direction of a packet in a flow, and the index of its side's numbers: out
// is from the near side to the far one.
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
	f.Near, f.FullCone = b.near, b.fullCone
	if b.pool != b.exit {
		f.Pool = b.pool
	}
	f.Generation, f.Inbound = e.generation, e.opener == in
	if e.far != e.remote || e.farPort != e.remotePort {
		f.Far, f.FarPort = e.far, e.farPort
	}
	f.LAN, f.Remote = e.lan, e.remote
	f.LANPort, f.RemotePort, f.Port = e.lanPort, e.remotePort, e.port
	f.Proto, f.State = e.proto, e.state
	f.StartedAt, f.TouchedAt = e.started, e.touched
	f.BytesOut, f.BytesIn = e.bytes[out], e.bytes[in]
	f.PacketsOut, f.PacketsIn = e.packets[out], e.packets[in]
}

// A packet finds its flow by the side that it comes from, both ends as that
// side knows them, their ports and the protocol.

func (t *Table) nearHash(e *entry) uint64 {
	b := &t.bindings.list[e.binding]
	return t.secret.hash(e.lan, e.remote, ports(e.lanPort, e.remotePort), sideTag(b.near, e.proto))
}

func (t *Table) farHash(e *entry) uint64 {
	b := &t.bindings.list[e.binding]
	return t.secret.hash(b.external(e), e.far, ports(e.port, e.farPort), sideTag(b.exit, e.proto))
}

func sideTag(side uint16, proto uint8) uint32 { return uint32(side)<<8 | uint32(proto) }

// external returns the address that the far end of flow e sees.
func (b *binding) external(e *entry) packet.Addr {
	if b.masquerade {
		return b.addr
	}
	return e.lan
}
