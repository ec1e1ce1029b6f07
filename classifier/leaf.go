package classifier

import "slices"

// A leafIndex finds a leaf that was made before: many intervals end in the
// same one.
type leafIndex struct {
	slots []uint32 // index into plane.entries plus one; 0: free
	used  int
}

// leaf returns the leaf of list.
func (b *builder) leaf(list []int32) subtree {
	t := subtree{way: way{min: uint32(b.boxes[list[0]].entry)}, compared: int32(len(list))}
	start := len(b.out.entries)
	for _, n := range list {
		b.out.entries = append(b.out.entries, b.boxes[n].pack())
		if b.hasExtras {
			b.out.extraOf = append(b.out.extraOf, b.boxes[n].extra)
		}
	}
	b.out.entries[len(b.out.entries)-1].id |= lastInLeaf
	t.ref = b.share(uint32(start))
	if t.ref != uint32(start) {
		b.out.entries = b.out.entries[:start]
		if b.hasExtras {
			b.out.extraOf = b.out.extraOf[:start]
		}
	}
	return t
}

// share returns the leaf that is equal to the one just written at start.
func (b *builder) share(start uint32) uint32 {
	x := &b.leaves
	if 2*(x.used+1) > len(x.slots) {
		x.grow(b.out.entries)
	}
	mask := uint64(len(x.slots) - 1)
	for i := hashLeaf(b.out.entries, start); ; i++ {
		slot := &x.slots[i&mask]
		if *slot == 0 {
			*slot = start + 1
			x.used++
			return start
		}
		if b.same(*slot-1, start) {
			return *slot - 1
		}
	}
}

// same reports whether the leaf at a is equal to the one at c, the last.
func (b *builder) same(a, c uint32) bool {
	n := uint32(len(b.out.entries)) - c
	return a+n <= c && slices.Equal(b.out.entries[a:a+n], b.out.entries[c:]) &&
		(!b.hasExtras || slices.Equal(b.out.extraOf[a:a+n], b.out.extraOf[c:]))
}

func (x *leafIndex) grow(entries []packed) {
	old := x.slots
	x.slots = make([]uint32, max(64, 2*len(old)))
	mask := uint64(len(x.slots) - 1)
	for _, s := range old {
		if s == 0 {
			continue
		}
		i := hashLeaf(entries, s-1)
		for x.slots[i&mask] != 0 {
			i++
		}
		x.slots[i&mask] = s
	}
}

// hashLeaf hashes the leaf that begins at start.
func hashLeaf(entries []packed, start uint32) uint64 {
	h := uint64(0)
	for i := start; ; i++ {
		e := &entries[i]
		h = (h ^ uint64(e.id)) * 0x9e3779b97f4a7c15
		h = (h ^ h>>29 ^ uint64(e.portLo) ^ uint64(e.dstLo)<<16) * 0xbf58476d1ce4e5b9
		if e.id&lastInLeaf != 0 {
			return h ^ h>>32
		}
	}
}
