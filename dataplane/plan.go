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

	// Forwards and Accepts stand beside policy: what they match never asks it.
	// Accepts are indexed by ExitID, and so is FullCone, which lets everybody
	// send to a UDP port that a tunnel has mapped.
	Forwards []Forward
	Accepts  [][]Accept
	FullCone []bool
	// Inside stands for the gateway itself in conversations that the kernel
	// translates between it and the LAN.
	Inside packet.Addr

	// Generation numbers the plans of an engine, modulo 256; flows are pinned
	// under it. Flows of more than age generations ago have to ask again.
	Generation uint8
	age        uint8
	same       uint8    // how many plans before this one had its Table
	since      nat.Tick // when the first that had it came
}

// Decided reports whether the plan's policy gave f its exit, so that f.Entry is
// an index in it, or in Forwards or the tunnel's Accepts where f.By says so.
func (p *Plan) Decided(f *nat.Flow) bool {
	if f.Entry < 0 || p.Generation-f.Generation > p.same {
		return false
	}
	// Once nothing has to ask again, the numbers go round: a flow from before
	// the policy is not its own, whatever its generation says.
	return p.age < maxAge || f.StartedAt >= p.since
}

const maxAge = 255

// carries reports whether id is an exit that takes packets.
func (p *Plan) carries(id classifier.ExitID) bool {
	return id == classifier.Direct || p.tunnel(id) != nil
}

// tunnel returns the tunnel of an exit, nil for what is none.
func (p *Plan) tunnel(id classifier.ExitID) *Tunnel {
	if int(id) >= len(p.Tunnels) {
		return nil
	}
	return p.Tunnels[id]
}

// keeps reports whether a flow goes on as it is pinned. What policy has not
// decided does not ask it again.
func (p *Plan) keeps(f *nat.Flow) bool {
	if f.Exit == nat.Hairpin {
		return true
	}
	return (p.Generation-f.Generation <= p.age || besidePolicy(f)) && p.carries(classifier.ExitID(f.Exit))
}

// besidePolicy reports whether something other than policy gave f its exit.
func besidePolicy(f *nat.Flow) bool {
	return f.Inbound || classifier.By(f.By) >= classifier.ByForward
}

// A Network is one prefix of the LAN, the gateway's own address on it, which is
// the source of what the gateway answers to its hosts, and the largest packet
// that it takes, in bytes.
type Network struct {
	Prefix  netip.Prefix
	Gateway packet.Addr
	MTU     int

	addresses Range
}

// NewNetwork returns the network of a prefix.
func NewNetwork(prefix netip.Prefix, gateway netip.Addr, mtu int) Network {
	prefix = prefix.Masked()
	return Network{Prefix: prefix, Gateway: packet.AddrFrom(gateway), MTU: mtu, addresses: NewRange(prefix)}
}

// holds reports whether a host of the network has address a. The network's own
// address and its broadcast address are no host of an IPv4 network larger than
// a /31 (RFC 3021).
func (n *Network) holds(a packet.Addr) bool {
	r := &n.addresses
	if !r.Holds(a) {
		return false
	}
	if !a.Is4() || r.last.Lo-r.first.Lo < 2 {
		return true
	}
	return a != r.first && a != r.last
}

// NewPlan makes a plan for a compiled policy, every group carried by its first
// member.
func NewPlan(table *classifier.Table) *Plan {
	exits := table.Policy().Exits
	p := &Plan{
		Table:   table,
		Tunnels: make([]*Tunnel, len(exits)),
		Live:    make([]atomic.Uint32, len(exits)),
		Accepts: make([][]Accept, len(exits)), FullCone: make([]bool, len(exits)),
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

// within reports whether a is in a prefix of the LAN, be it a host or not.
func (p *Plan) within(a packet.Addr) bool {
	for i := range p.LAN {
		if p.LAN[i].addresses.Holds(a) {
			return true
		}
	}
	return false
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
