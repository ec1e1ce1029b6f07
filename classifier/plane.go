package classifier

import (
	"math"

	"turnout/classifier/packet"
)

// A plane is the compiled policy of one family: a tree over boxes.
//
// A node splits the packets by one dimension at a list of cuts, and each cut
// leads to a leaf or to another node. Boxes too wide for that split stand
// apart, in the node's rest, which is a tree of its own: both are asked. A
// leaf is a list of entries in order of priority. Every way to go is marked
// with the first entry that it could find, so that what cannot win any more is
// not looked at.
type plane struct {
	root    way
	nodes   []node
	roots   []uint32 // of all nodes: indices into cuts
	cuts    []cut    // of all nodes
	entries []packed // of all leaves
	extraOf []uint32 // by index of entries, when any has an extra
	extras  []extra

	portSets []portSet

	// Of IPv6, whose addresses do not fit into a number, the boxes know the
	// interval between the edges of prefixes. IPv4 addresses are numbers.
	dst, src axis

	sets axis       // the edges of the address sets of both sides
	bits [][]uint64 // by number of the set: a bit for each interval of sets

	tags []uint32 // the tags that entries name, in order

	boxes, compared, depth int // for Report
}

// A way leads to a leaf (an index into entries) or to a node (isNode and an
// index into nodes).
type way struct {
	ref uint32
	min uint32 // the first entry that it could find; nothing: it leads nowhere
}

const isNode = 1 << 31

// A cut begins where at is and ends where the next cut is.
type cut struct {
	at uint32
	way
}

// A node is one decision, half a cache line.
//
// The values from base on are in buckets of 1<<shift, the last of which has no
// end. roots[root+i] is the cut in which bucket i begins, so that the cut of a
// value is found between that and the one in which the next bucket begins.
type node struct {
	base  uint32
	last  uint32 // the last bucket
	root  uint32
	dim   dim
	shift uint8
	rest  way
}

// A key is a packet as the tree sees it.
type key struct {
	at   [8]uint32 // by dim; 8 and not dims, so that a masked index is in bounds
	bits uint32    // what packed.mask is about

	// The intervals of the addresses among the edges of the sets, plus one; 0
	// until an entry asks.
	dstIn, srcIn uint32
}

// nothing is larger than any entry's index.
const nothing = math.MaxInt32

// maxPending bounds the rests that wait while a tree is descended. Each cut
// fixes one dimension for good, so there is one for each at most.
const maxPending = 8

// key returns v as the tree sees it.
func (p *plane) key(v *packet.View, tags *Tags) (k key) {
	if v.Version == 6 {
		k.at[dimDst], k.at[dimSrc] = p.dst.find(v.Dst), p.src.find(v.Src)
	} else {
		k.at[dimDst], k.at[dimSrc] = v.Dst.V4(), v.Src.V4()
	}
	k.bits = uint32(v.Proto) | uint32(v.TOS>>2)<<dscpShift
	if v.HasPorts {
		k.at[dimPort], k.at[dimFromPort] = uint32(v.DstPort), uint32(v.SrcPort)
		k.bits |= bitsPorts
	} else {
		k.at[dimPort], k.at[dimFromPort] = noPorts, noPorts
	}
	k.at[dimProto] = uint32(v.Proto)
	if len(p.tags) > 0 {
		k.at[dimTag] = p.rankTag(tags.Get(v.Dst))
	}
	return k
}

// first returns the first entry that matches v, or nothing.
func (p *plane) first(v *packet.View, tags *Tags) int32 {
	k := p.key(v, tags)
	var pending [maxPending]way
	waiting := 0
	won := uint32(nothing)
	w := p.root
	for {
		for w.min < won && w.ref&isNode != 0 {
			n := &p.nodes[w.ref&^isNode]
			pending[waiting&(maxPending-1)] = n.rest
			waiting++
			w = p.cutOf(n, k.at[n.dim&7])
		}
		if w.min < won {
			won = p.scan(w.ref, won, &k, v)
		}
		for {
			if waiting == 0 {
				return int32(won)
			}
			waiting--
			if w = pending[waiting&(maxPending-1)]; w.min < won {
				break
			}
		}
	}
}

// cutOf returns the way that node n shows to value x.
func (p *plane) cutOf(n *node, x uint32) way {
	b := n.root + min((max(x, n.base)-n.base)>>n.shift, n.last)
	at, size := p.roots[b], p.roots[b+1]-p.roots[b]+1
	for size > 1 {
		half := size >> 1
		if p.cuts[at+half].at <= x {
			at += half
		}
		size -= half
	}
	return p.cuts[at].way
}

// scan returns the first entry of the leaf at ref that matches the packet, or
// won, if that is smaller or none matches.
//
// One test for all dimensions: each difference that goes below zero sets the
// top bit, and a branch that nobody can predict is taken once and not six times.
func (p *plane) scan(ref, won uint32, k *key, v *packet.View) uint32 {
	dst, src := uint64(k.at[dimDst]), uint64(k.at[dimSrc])
	port, from := uint64(uint16(k.at[dimPort])), uint64(uint16(k.at[dimFromPort]))
	for i := ref; ; i++ {
		e := &p.entries[i]
		id := e.id & entryMask
		if id >= won {
			return won
		}
		out := (dst - uint64(e.dstLo)) | (uint64(e.dstHi) - dst) |
			(src - uint64(e.srcLo)) | (uint64(e.srcHi) - src) |
			(port - uint64(e.portLo)) | (uint64(e.portHi) - port) |
			(from - uint64(e.fromLo)) | (uint64(e.fromHi) - from) |
			-uint64((k.bits^uint32(e.want))&uint32(e.mask))
		if int64(out) >= 0 && (e.id&hasExtra == 0 || p.extra(i, k, v)) {
			return id
		}
		if e.id&lastInLeaf != 0 {
			return won
		}
	}
}
