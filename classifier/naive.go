package classifier

import (
	"net/netip"
	"slices"

	"turnout/classifier/packet"
)

// A walk asks the entries of a policy one by one about one packet, as a person
// would who reads them. It is what Explain tells losers by and what Verify
// holds the compiled table against; nothing that forwards uses it.
type walk struct {
	*Policy
	v        *packet.View
	src, dst netip.Addr
	tag      uint32
	tagged   bool
	in       [2][]answer // by side and set: whether the address is in the set
}

// An answer is what is known of an address and a set.
type answer uint8

const (
	unknown answer = iota
	inside
	outside
)

func (p *Policy) walk(v *packet.View, tags *Tags) *walk {
	w := &walk{Policy: p, v: v, src: v.Src.Netip(), dst: v.Dst.Netip()}
	w.tag, w.tagged = tags.Get(v.Dst)
	w.in = [2][]answer{make([]answer, len(p.Sets)), make([]answer, len(p.Sets))}
	return w
}

// fails returns the first field that the packet fails e by, none if it matches.
func (w *walk) fails(e *Entry) field {
	switch {
	case len(e.To)+len(e.ToSets) > 0 && !w.any(0, w.dst, e.To, e.ToSets):
		return destination
	case w.any(0, w.dst, e.NotTo, e.NotToSets):
		return notDestination
	case len(e.From)+len(e.FromSets) > 0 && !w.any(1, w.src, e.From, e.FromSets):
		return source
	case w.any(1, w.src, e.NotFrom, e.NotFromSets):
		return notSource
	case len(e.Protos) > 0 && !slices.Contains(e.Protos, w.v.Proto):
		return protocol
	case len(e.Ports) > 0 && !w.port(e.Ports, w.v.DstPort):
		return ports
	case len(e.FromPorts) > 0 && !w.port(e.FromPorts, w.v.SrcPort):
		return sourcePorts
	case len(e.DSCP) > 0 && !slices.Contains(e.DSCP, w.v.TOS>>2):
		return dscp
	case len(e.Tags) > 0 && !(w.tagged && slices.Contains(e.Tags, w.tag)):
		return tag
	}
	return none
}

// port reports whether the packet has ports at all and this one is in list.
func (w *walk) port(list []PortRange, port uint16) bool {
	return w.v.HasPorts && slices.ContainsFunc(list, func(r PortRange) bool { return r.Lo <= port && port <= r.Hi })
}

// any reports whether a, the address on the given side, is in a prefix or a set.
func (w *walk) any(side int, a netip.Addr, list []netip.Prefix, sets []int) bool {
	return holds(list, a) || slices.ContainsFunc(sets, func(i int) bool {
		known := &w.in[side][i]
		if *known == unknown {
			*known = outside
			if holds(w.Sets[i].Prefixes, a) {
				*known = inside
			}
		}
		return *known == inside
	})
}

func holds(list []netip.Prefix, a netip.Addr) bool {
	for i := range list {
		if list[i].Contains(a) {
			return true
		}
	}
	return false
}
