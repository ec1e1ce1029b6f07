package conf

import (
	"net/netip"
	"time"

	"turnout/classifier"
)

// Config is a validated configuration. It is immutable once Load returned it.
type Config struct {
	File     string // as given to Load
	LAN      LAN
	Uplink   Uplink
	Host     Host
	Hooks    Hooks
	Tunnels  []Tunnel // in listed order
	Groups   []Group
	Forwards []Forward // in listed order
	Limits   Limits
	Policy   *classifier.Policy // Exits: direct, drop, reject, then Tunnels, then Groups, each in order
	Warnings []Problem
}

// LAN names the hosts whose traffic is captured.
type LAN struct {
	Interfaces []string
	Prefixes   []netip.Prefix // empty: the interfaces' own
	Local      []netip.Prefix // reached by the main table from the LAN: containers, DMZ, routed subnets
}

// Uplink names the ways out of the host.
type Uplink struct {
	Interfaces []string // empty: every interface that holds a default route of the main table
}

// Host is what Turnout may use of the operating system.
type Host struct {
	TUN            string // name of the TUN device
	Mark           uint32 // firewall mark of our own sockets, within Mask
	Mask           uint32
	DirectMark     uint32 // mark of forwarded packets that pass by the main table, within DirectMask
	DirectMask     uint32
	Table          uint32 // routing table T
	Priority       uint32 // of the first ip rule; the others follow it
	AdjustFirewall bool   // insert accept rules into foreign chains that would drop us
}

// Hooks are argument vectors, run without a shell, in order.
type Hooks struct{ PreUp, PostUp, PreDown, PostDown [][]string }

// NATMode says how a tunnel's flows are translated.
type NATMode uint8

const (
	Masquerade NATMode = iota // LAN sources become the tunnel's own address
	NoNAT                     // a site gateway: addresses stay
)

// Tunnel is one [Interface] with its peers: one WireGuard device.
type Tunnel struct {
	Name       string
	Pos        classifier.Pos
	PrivateKey PrivateKey
	Addresses  []netip.Prefix
	ListenPort uint16 // 0: any
	MTU        int    // bytes of an inner packet; 0: worked out from the uplink's
	DNS        []netip.Addr
	DNSSearch  []string
	NAT        NATMode
	Peers      []Peer
	Accept     []Accept // what far hosts may start; empty: nothing
	FullCone   bool     // any far host may answer to a mapping (RFC 4787, endpoint-independent filtering)
	Via        int      // index in Config.Tunnels of the tunnel that carries this one; -1: the uplink
	// Widened says that the device carries every destination of IPv4, IPv6,
	// more than its one peer's AllowedIPs say, because policy may name it.
	Widened4, Widened6 bool
	ForeignHooks       []string // PostUp and so on of a wg-quick file: listed, never run
}

// Peer is a WireGuard peer inside a tunnel.
type Peer struct {
	Name         string
	Pos          classifier.Pos
	PublicKey    PublicKey
	PresharedKey PrivateKey // zero: none
	Endpoint     Endpoint   // zero: none, the peer calls us
	AllowedIPs   []netip.Prefix
	Keepalive    time.Duration // 0: off
}

// Group is several tunnels behind one name.
type Group struct {
	Name    string
	Pos     classifier.Pos
	Mode    string // "failover", "balance" or "fastest"
	Members []string
}

// Forward is a [[forward]]: conversations with one address and port are sent on
// to another.
type Forward struct {
	Name    string // may be empty
	Pos     classifier.Pos
	Text    string               // the whole table as written, on one line
	Tunnel  int                  // index in Config.Tunnels
	FromLAN bool                 // LAN hosts connect to the gateway's LAN address; else far hosts to the tunnel's own
	Protos  []uint8              // TCP, UDP: at least one
	Ports   classifier.PortRange // listened to
	To      netip.Addr           // IPv4
	ToPort  uint16               // for Ports.Lo; those above follow one to one, up to 65535
}

// Accept says which conversations a tunnel's far hosts may start.
type Accept struct {
	Pos        classifier.Pos
	Text       string       // the item as written, on one line
	From       netip.Prefix // IPv4, within the AllowedIPs
	To         netip.Prefix // IPv4; invalid: the whole LAN
	Protos     []uint8      // empty: any. Ports without a protocol have TCP and UDP here
	Ports      []classifier.PortRange
	Masquerade bool // the LAN host sees the gateway's LAN address
}

// Limits bound the flow table.
type Limits struct {
	Flows           int // in all, from 1024 to 16777215
	FlowsPerHost    int // of one LAN host, from 1 to Flows
	NewFlowsPerHost int // per second, of one LAN host; 0: no limit
}
