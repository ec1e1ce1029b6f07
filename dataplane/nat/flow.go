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
