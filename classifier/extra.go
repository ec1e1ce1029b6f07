package classifier

import (
	"slices"

	"turnout/classifier/packet"
)

// extra reports whether the packet is what the extra of entries[i] asks for.
func (p *plane) extra(i uint32, k *key, v *packet.View) bool {
	x := &p.extras[p.extraOf[i]-1]
	if x.tag != 0 && x.tag != k.at[dimTag] {
		return false
	}
	if x.portSet != 0 && !p.portSets[x.portSet-1].has(v.DstPort) ||
		x.fromSet != 0 && !p.portSets[x.fromSet-1].has(v.SrcPort) {
		return false
	}
	return (x.dstSet == 0 || p.inSet(x.dstSet, v.Dst, &k.dstIn)) &&
		(x.srcSet == 0 || p.inSet(x.srcSet, v.Src, &k.srcIn))
}

// inSet reports whether a is in the address set of a number from 1. It keeps
// in at where a is, for the next entry that asks.
func (p *plane) inSet(number uint32, a packet.Addr, at *uint32) bool {
	if *at == 0 {
		*at = p.sets.find(a) + 1
	}
	n := *at - 1
	return p.bits[number-1][n>>6]>>(n&63)&1 != 0
}

// rankTag returns the rank of a tag among those that entries name, from 1; 0
// for one that none names and for no tag.
func (p *plane) rankTag(tag uint32, ok bool) uint32 {
	if !ok {
		return 0
	}
	n, found := slices.BinarySearch(p.tags, tag)
	if !found {
		return 0
	}
	return uint32(n) + 1
}
