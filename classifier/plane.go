package classifier

import (
	"math"

	"turnout/classifier/packet"
)

// A plane is the policy of one family. Boxes stand in lists, one list for each
// destination prefix that an entry names, in order of priority. A packet's
// candidates are the lists of the longest such prefix and of those around it.
type plane struct {
	dst, src axis
	nodes    []node // by number of the destination axis
	boxes    []box
}

// A node is one destination prefix.
type node struct {
	first, end uint32 // its boxes
	parent     uint32 // the next shorter prefix; 0 is everything and its own parent
	best       int32  // the first entry in its list and in those of all around it
}

// nothing is larger than any entry's index.
const nothing = math.MaxInt32

// first returns the first entry that matches v, or nothing.
func (p *plane) first(v *packet.View, sets []portSet) int32 {
	src := p.src.find(v.Src)
	won := int32(nothing)
	for n := p.dst.find(v.Dst); ; {
		d := &p.nodes[n]
		if d.best >= won { // nothing from here on outwards comes earlier
			return won
		}
		list := p.boxes[d.first:d.end]
		for i := range list {
			b := &list[i]
			if b.entry >= won {
				break
			}
			if b.matchesProto(v) && b.matchesSource(src) && b.matchesPorts(v, sets) && b.matchesDSCP(v) {
				won = b.entry
				break
			}
		}
		if n == 0 {
			return won
		}
		n = d.parent
	}
}
