package classifier

import "turnout/classifier/packet"

// A box is one combination of an entry's lists, without its destination: the
// list that it stands in says that. It holds no pointers.
type box struct {
	srcLo, srcHi uint32 // interval of numbers of the source axis
	ports, from  PortRange
	portSet      uint16 // number of a port set plus one; 0: the range is all
	fromSet      uint16
	entry        int32
	proto, dscp  uint8
	flags        flags
}

type flags uint8

const (
	namesProto flags = 1 << iota
	namesPorts
	namesDSCP
)

// A portSet has a bit for each port. It stands for a list too long to become
// a box for each range.
type portSet [65536 / 64]uint64

func (s *portSet) has(port uint16) bool { return s[port>>6]>>(port&63)&1 != 0 }

func (s *portSet) add(r PortRange) {
	for p := int(r.Lo); p <= int(r.Hi); p++ {
		s[p>>6] |= 1 << (p & 63)
	}
}

// has reports whether the range holds port.
func (r PortRange) has(port uint16) bool { return port-r.Lo <= r.Hi-r.Lo }

func (b *box) matchesProto(v *packet.View) bool {
	return b.flags&namesProto == 0 || b.proto == v.Proto
}

func (b *box) matchesDSCP(v *packet.View) bool {
	return b.flags&namesDSCP == 0 || b.dscp == v.TOS>>2
}

func (b *box) matchesSource(src uint32) bool { return src-b.srcLo <= b.srcHi-b.srcLo }

func (b *box) matchesPorts(v *packet.View, sets []portSet) bool {
	if b.flags&namesPorts == 0 {
		return true
	}
	// A packet without ports has none to match; its fields would read as port 0.
	if !v.HasPorts || !b.ports.has(v.DstPort) || !b.from.has(v.SrcPort) {
		return false
	}
	return (b.portSet == 0 || sets[b.portSet-1].has(v.DstPort)) &&
		(b.fromSet == 0 || sets[b.fromSet-1].has(v.SrcPort))
}
