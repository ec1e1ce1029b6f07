package classifier

import "math"

// A dim is one number of a packet by which boxes are told apart.
type dim uint8

const (
	dimDst dim = iota
	dimSrc
	dimPort     // destination port; noPorts for a packet without
	dimFromPort // source port
	dimProto
	dimTag // 0: the destination has no tag that the policy names
	dims
)

// noPorts stands for the port of a packet without ports: higher than any, so
// that a range of ports never holds it.
const noPorts = 1 << 16

// A box is one combination of an entry's lists: an interval in each dimension,
// and what no interval says. Boxes are what the table is built from; they are
// gone when it is done.
type box struct {
	lo, hi [dims]uint32
	entry  int32
	extra  uint32 // number of an extra plus one; 0: none
	dscp   uint8  // anyDSCP: any
}

const anyDSCP = 64

// anyBox matches every packet.
func anyBox(entry int32) box {
	b := box{entry: entry, dscp: anyDSCP}
	for d := range b.hi {
		b.hi[d] = math.MaxUint32
	}
	return b
}

// namesPorts reports whether a packet without ports is outside b by its ports.
func (b *box) namesPorts() bool { return min(b.hi[dimPort], b.hi[dimFromPort]) < noPorts }

// A region is the part of the space that one node of the tree decides.
type region struct{ lo, hi [dims]uint32 }

// covers reports whether b matches every packet in r.
func (b *box) covers(r *region) bool {
	if b.extra != 0 || b.dscp != anyDSCP {
		return false
	}
	for d := range b.lo {
		if b.lo[d] > r.lo[d] || b.hi[d] < r.hi[d] {
			return false
		}
	}
	return true
}

// hides reports whether in r every packet that matches o matches b too.
func (b *box) hides(o *box, r *region) bool {
	if b.extra != 0 && b.extra != o.extra || b.dscp != anyDSCP && b.dscp != o.dscp {
		return false
	}
	for d := range b.lo {
		if b.lo[d] > max(o.lo[d], r.lo[d]) || b.hi[d] < min(o.hi[d], r.hi[d]) {
			return false
		}
	}
	return true
}

// An extra is what a packed entry has no room for. What it says comes on top of
// the box's intervals.
type extra struct {
	portSet        uint32 // number of a portSet plus one; 0: the range is all
	fromSet        uint32
	dstSet, srcSet uint32 // number of an address set plus one; 0: the interval is all
	tag            uint32 // rank of a tag; 0: any
}

// A portSet has a bit for each port. It stands for a list too long to become
// a box for each range.
type portSet [65536 / 64]uint64

func (s *portSet) has(port uint16) bool { return s[port>>6]>>(port&63)&1 != 0 }

// add adds a range.
func (s *portSet) add(r PortRange) {
	for p := int(r.Lo); p <= int(r.Hi); p++ {
		s[p>>6] |= 1 << (p & 63)
	}
}
