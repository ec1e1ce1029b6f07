package control

import (
	"net/netip"
	"time"
)

// Status is what the daemon says about itself. Counters run since Started.
type Status struct {
	// The daemon's own, filled by the verb that serves the socket.
	Version string    `json:"version"`
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
	Uptime  float64   `json:"uptime_seconds"`
	File    string    `json:"file"` // the configuration, as given to up

	// The router's.
	TUN     string   `json:"tun"`
	LAN     []LAN    `json:"lan"`
	Tunnels []Tunnel `json:"tunnels"` // in listed order
	Exits   []Exit   `json:"exits"`   // direct, drop, reject, then the tunnels and groups
	Drops   []Drop   `json:"drops"`   // reasons that counted something
	Flows   int      `json:"flows"`   // conversations in the flow table
}

// LAN is one captured interface.
type LAN struct {
	Interface string         `json:"interface"`
	Prefixes  []netip.Prefix `json:"prefixes"`
}

// Tunnel is one WireGuard device.
type Tunnel struct {
	Name       string         `json:"name"`
	Addresses  []netip.Prefix `json:"addresses"`
	MTU        int            `json:"mtu"` // bytes of an inner packet
	ListenPort uint16         `json:"listen_port"`
	Peers      []Peer         `json:"peers"`
}

// Peer is one WireGuard peer of a tunnel.
type Peer struct {
	Name          string    `json:"name,omitempty"`
	PublicKey     string    `json:"public_key"`              // base64
	Endpoint      string    `json:"endpoint,omitempty"`      // host:port in use; none: it has not called yet
	LastHandshake time.Time `json:"last_handshake,omitzero"` // none yet: absent
	Rx            uint64    `json:"rx_bytes"`                // bytes of WireGuard messages, as wg counts them
	Tx            uint64    `json:"tx_bytes"`
}

// Exit counts what policy sent to one exit, and what came back.
type Exit struct {
	Name        string `json:"name"`
	Kind        string `json:"kind"`           // "direct", "drop", "reject", "tunnel" or "group"
	Live        string `json:"live,omitempty"` // of a group: the member that carries now
	Packets     uint64 `json:"packets"`        // from the LAN
	Bytes       uint64 `json:"bytes"`          // not counted for drop and reject
	PacketsBack uint64 `json:"packets_back"`   // to the LAN
	BytesBack   uint64 `json:"bytes_back"`
}

// Drop counts the packets that were not forwarded for one reason.
type Drop struct {
	Reason  string `json:"reason"` // the short name: "no-flow"
	Text    string `json:"text"`   // the same in words
	Packets uint64 `json:"packets"`
}
