package dataplane

import (
	"net/netip"
	"slices"

	"turnout/classifier"
	"turnout/classifier/packet"
)

// A Range is the addresses of a prefix.
type Range struct{ first, last packet.Addr }

// NewRange returns the range of a prefix.
func NewRange(prefix netip.Prefix) Range {
	first, last := packet.Ends(prefix)
	return Range{first, last}
}

// Holds reports whether a is in the range; nothing is in the zero Range.
func (r *Range) Holds(a packet.Addr) bool { return !less(a, r.first) && !less(r.last, a) }

func less(a, b packet.Addr) bool { return a.Hi < b.Hi || a.Hi == b.Hi && a.Lo < b.Lo }

// A Forward sends conversations with an address and ports of the gateway on to
// another end. Ports are in host byte order.
type Forward struct {
	Exit classifier.ExitID // the tunnel
	// FromLAN says that hosts of the LAN call the gateway's own LAN address,
	// to get through the tunnel. Else far hosts call the tunnel's own address,
	// to get to the LAN.
	FromLAN     bool
	Protos      []uint8 // packet.TCP, packet.UDP
	First, Last uint16
	To          packet.Addr
	ToPort      uint16 // in place of First; those after it likewise
}

// takes reports whether the forward listens where v goes to.
func (f *Forward) takes(v *packet.View) bool {
	return v.HasPorts && slices.Contains(f.Protos, v.Proto) && f.First <= v.DstPort && v.DstPort <= f.Last
}

// port is the one in place of port p.
func (f *Forward) port(p uint16) uint16 { return f.ToPort + p - f.First }

// An Accept says which conversations far hosts of a tunnel may start.
type Accept struct {
	From Range
	// To is where they may go: to the LAN, or through another tunnel. The zero
	// Range stands for the whole LAN.
	To     Range
	Protos []uint8 // none: any
	Ports  []classifier.PortRange
	// Masquerade gives them the gateway's own address at the other end.
	Masquerade bool
}

// takes reports whether the accept allows the conversation that v begins. lan
// says that v goes to a host of the LAN.
func (a *Accept) takes(v *packet.View, lan bool) bool {
	if !a.From.Holds(v.Src) || !(a.To == Range{} && lan) && !a.To.Holds(v.Dst) {
		return false
	}
	if len(a.Protos) > 0 && !slices.Contains(a.Protos, v.Proto) {
		return false
	}
	return len(a.Ports) == 0 || v.HasPorts && slices.ContainsFunc(a.Ports, func(r classifier.PortRange) bool {
		return r.Lo <= v.DstPort && v.DstPort <= r.Hi
	})
}

// forward returns the first forward of a kind that takes v, and its place in
// the list. at is the address that v goes to; one of several tunnels with that
// address may have it.
func (p *Plan) forward(v *packet.View, fromLAN bool, at func(*Tunnel) bool) (*Forward, int32) {
	for i := range p.Forwards {
		f := &p.Forwards[i]
		if f.FromLAN == fromLAN && f.takes(v) && p.carries(f.Exit) && at(p.Tunnels[f.Exit]) {
			return f, int32(i)
		}
	}
	return nil, -1
}

// accept returns the first accept of a tunnel that takes v, and its place in
// the tunnel's list.
func (p *Plan) accept(v *packet.View, exit classifier.ExitID, lan bool) (*Accept, int32) {
	if int(exit) >= len(p.Accepts) {
		return nil, -1
	}
	for i := range p.Accepts[exit] {
		if a := &p.Accepts[exit][i]; a.takes(v, lan) {
			return a, int32(i)
		}
	}
	return nil, -1
}

// ours reports whether a is an address that no packet from outside may come
// from: a tunnel's own, the gateway's, or the one that stands for it.
func (p *Plan) ours(a packet.Addr) bool {
	if a == p.Inside {
		return true
	}
	for _, t := range p.Tunnels {
		if t != nil && (a == t.opt.Address4 || a == t.opt.Address6) {
			return true
		}
	}
	return p.gateway(a)
}

// gateway reports whether a is the gateway's own address on the LAN.
func (p *Plan) gateway(a packet.Addr) bool {
	for i := range p.LAN {
		if p.LAN[i].Gateway == a {
			return true
		}
	}
	return false
}
