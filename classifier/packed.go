package classifier

// A packed is a box as the table keeps it, half a cache line. It says again
// what the way to it through the tree said, so that a wrong turn can miss an
// entry but never match a wrong one.
type packed struct {
	dstLo, dstHi, srcLo, srcHi     uint32
	portLo, portHi, fromLo, fromHi uint16
	mask, want                     uint16 // which bits of key.bits must be what
	id                             uint32 // the entry, and the two flags
}

const (
	lastInLeaf = 1 << 31
	hasExtra   = 1 << 30
	entryMask  = hasExtra - 1
)

// The bits of a packet that are compared under a mask.
const (
	bitsProto = 0xff
	bitsPorts = 1 << 8 // the packet has ports
	dscpShift = 9
	bitsDSCP  = 63 << dscpShift
)

// pack returns b as the table keeps it.
func (b *box) pack() packed {
	p := packed{
		dstLo: b.lo[dimDst], dstHi: b.hi[dimDst], srcLo: b.lo[dimSrc], srcHi: b.hi[dimSrc],
		portHi: 0xffff, fromHi: 0xffff, id: uint32(b.entry),
	}
	if b.lo[dimProto] == b.hi[dimProto] {
		p.mask, p.want = bitsProto, uint16(b.lo[dimProto])
	}
	if b.dscp != anyDSCP {
		p.mask, p.want = p.mask|bitsDSCP, p.want|uint16(b.dscp)<<dscpShift
	}
	if b.namesPorts() {
		p.mask, p.want = p.mask|bitsPorts, p.want|bitsPorts
		p.portLo, p.portHi = uint16(b.lo[dimPort]), uint16(min(b.hi[dimPort], 0xffff))
		p.fromLo, p.fromHi = uint16(b.lo[dimFromPort]), uint16(min(b.hi[dimFromPort], 0xffff))
	}
	if b.extra != 0 {
		p.id |= hasExtra
	}
	return p
}
