package classifier

import (
	"cmp"
	"net/netip"
	"slices"

	"turnout/classifier/packet"
)

// An axis maps an address of one family to the longest of a set of prefixes
// that holds it. Prefixes are numbered in pre-order (by address, the shorter
// first), so that all prefixes inside a prefix are one interval of numbers.
// Number 0 is every address of the family.
//
// The addresses where the answer changes are kept sorted; a search between
// them costs one step for each doubling of the set.
type axis struct {
	v4    []uint32      // where intervals start, for an IPv4 axis
	v6    []packet.Addr // the same, for an IPv6 axis
	owner []uint32      // the number that each interval belongs to
}

// find returns the number of the longest prefix that holds a.
func (x *axis) find(a packet.Addr) uint32 {
	if x.v6 != nil {
		return x.find6(a)
	}
	return x.find4(a.V4())
}

func (x *axis) find4(a uint32) uint32 {
	base := 0
	for n := len(x.v4); n > 1; {
		half := n >> 1
		if x.v4[base+half] <= a {
			base += half
		}
		n -= half
	}
	return x.owner[base]
}

func (x *axis) find6(a packet.Addr) uint32 {
	base := 0
	for n := len(x.v6); n > 1; {
		half := n >> 1
		if b := &x.v6[base+half]; b.Hi < a.Hi || b.Hi == a.Hi && b.Lo <= a.Lo {
			base += half
		}
		n -= half
	}
	return x.owner[base]
}

// A numbering is what building an axis knows besides: the prefixes by number,
// the next shorter one around each, and the last number inside each.
type numbering struct {
	prefixes []netip.Prefix
	parent   []uint32
	last     []uint32
}

// number returns the number of p, which is one of the prefixes.
func (n *numbering) number(p netip.Prefix) uint32 {
	i, _ := slices.BinarySearchFunc(n.prefixes, p, preorder)
	return uint32(i)
}

func preorder(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}

// everything is number 0 of either family.
func everything(v4 bool) netip.Prefix {
	if v4 {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
}

// newAxis numbers the prefixes, which are masked and of one family.
func newAxis(v4 bool, prefixes []netip.Prefix) (axis, numbering) {
	list := append([]netip.Prefix{everything(v4)}, prefixes...)
	slices.SortFunc(list, preorder)
	list = slices.Compact(list)
	n := numbering{list, make([]uint32, len(list)), make([]uint32, len(list))}

	var x axis
	start := func(at netip.Addr, owner uint32) {
		if k := len(x.owner) - 1; k >= 0 && x.at(k) == packet.AddrFrom(at) {
			x.owner[k] = owner
			return
		}
		if v4 {
			x.v4 = append(x.v4, packet.AddrFrom(at).V4())
		} else {
			x.v6 = append(x.v6, packet.AddrFrom(at))
		}
		x.owner = append(x.owner, owner)
	}

	// Walk the prefixes in order; open is the chain that holds the current one.
	open := []uint32{0}
	start(list[0].Addr(), 0)
	closeTop := func(number uint32) {
		top := open[len(open)-1]
		open = open[:len(open)-1]
		n.last[top] = number - 1
		if after := lastAddr(list[top]).Next(); after.IsValid() && len(open) > 0 {
			start(after, open[len(open)-1])
		}
	}
	for i := uint32(1); int(i) < len(list); i++ {
		for !list[open[len(open)-1]].Contains(list[i].Addr()) {
			closeTop(i)
		}
		n.parent[i] = open[len(open)-1]
		open = append(open, i)
		start(list[i].Addr(), i)
	}
	for len(open) > 0 {
		closeTop(uint32(len(list)))
	}
	return x, n
}

// at returns where interval i starts.
func (x *axis) at(i int) packet.Addr {
	if x.v6 != nil {
		return x.v6[i]
	}
	return packet.Addr4(x.v4[i])
}

// lastAddr returns the highest address of p.
func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}
