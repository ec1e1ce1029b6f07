package dataplane

import (
	"net/netip"
	"sync/atomic"

	"turnout/classifier"
	"turnout/classifier/packet"
	"turnout/dataplane/nat"
)

// A Plan is everything that the dispatcher decides by. It is immutable but for
// Live; Engine.Swap replaces it as a whole.
type Plan struct {
	Table *classifier.Table
	LAN   []Network
	// Tunnels and Live are indexed by ExitID. Live says which exit stands in
	// for a group at this moment; it is the identity for all others.
	Tunnels []*Tunnel
	Live    []atomic.Uint32

	// Generation numbers the plans of an engine, modulo 256; flows are pinned
	// under it. Flows of more than age generations ago have to ask again.
	Generation uint8
	age        uint8
}

// carries reports whether id is an exit that takes packets.
func (p *Plan) carries(id classifier.ExitID) bool {
	return id == classifier.Direct || int(id) < len(p.Tunnels) && p.Tunnels[id] != nil
}

// keeps reports whether a flow goes on as it is pinned.
func (p *Plan) keeps(f *nat.Flow) bool {
	return p.Generation-f.Generation <= p.age && p.carries(classifier.ExitID(f.Exit))
}

// A Network is one prefix of the LAN, the gateway's own address on it, which is
// the source of what the gateway answers to its hosts, and the largest packet
// that it takes, in bytes.
type Network struct {
	Prefix  netip.Prefix
	Gateway packet.Addr
	MTU     int

	first, last packet.Addr
}

// NewNetwork returns the network of a prefix.
func NewNetwork(prefix netip.Prefix, gateway netip.Addr, mtu int) Network {
	prefix = prefix.Masked()
	n := Network{Prefix: prefix, Gateway: packet.AddrFrom(gateway), MTU: mtu, first: packet.AddrFrom(prefix.Addr())}
	n.last = n.first
	host := prefix.Addr().BitLen() - prefix.Bits()
	if host >= 64 {
		n.last.Lo = ^uint64(0)
		n.last.Hi |= 1<<(host-64) - 1
	} else {
		n.last.Lo |= 1<<host - 1
	}
	return n
}

// holds reports whether a host of the network has address a. The network's own
// address and its broadcast address are no host of an IPv4 network larger than
// a /31 (RFC 3021).
func (n *Network) holds(a packet.Addr) bool {
	if less(a, n.first) || less(n.last, a) {
		return false
	}
	if !a.Is4() || n.last.Lo-n.first.Lo < 2 {
		return true
	}
	return a != n.first && a != n.last
}

func less(a, b packet.Addr) bool { return a.Hi < b.Hi || a.Hi == b.Hi && a.Lo < b.Lo }

// NewPlan makes a plan for a compiled policy, every group carried by its first
// member.
func NewPlan(table *classifier.Table) *Plan {
	exits := table.Policy().Exits
	p := &Plan{
		Table:   table,
		Tunnels: make([]*Tunnel, len(exits)),
		Live:    make([]atomic.Uint32, len(exits)),
	}
	for id := range exits {
		p.Live[id].Store(uint32(FirstMember(exits, classifier.ExitID(id))))
	}
	return p
}

// FirstMember follows groups to the first exit that is none.
func FirstMember(exits []classifier.Exit, id classifier.ExitID) classifier.ExitID {
	for depth := 0; exits[id].Kind == classifier.KindGroup; depth++ {
		if len(exits[id].Members) == 0 || depth == len(exits) {
			return classifier.Reject
		}
		id = exits[id].Members[0]
	}
	return id
}

// network returns the LAN network that has a host of address a, or nil.
func (p *Plan) network(a packet.Addr) *Network {
	for i := range p.LAN {
		if p.LAN[i].holds(a) {
			return &p.LAN[i]
		}
	}
	return nil
}

// Resolve returns the exit that carries for id at this moment: a group's live
// member, else id itself.
func (p *Plan) Resolve(id classifier.ExitID) classifier.ExitID {
	return classifier.ExitID(p.Live[id].Load())
}
