package classifier

import (
	"fmt"
	"math"
	"slices"

	"turnout/classifier/packet"
)

// An interval is what a box says about one dimension.
type interval struct{ lo, hi uint32 }

var every = interval{0, math.MaxUint32}

// A portDrawer turns lists of port ranges into intervals, and the long ones
// into sets, each kept once.
type portDrawer struct {
	limits limits
	sets   []portSet
	known  map[portSet]uint32 // numbers from 1
}

// maxPortSets bounds the different long port lists, 8 KiB each.
const maxPortSets = 4096

// draw returns the intervals to make boxes of, and the number of the set that
// says the rest when they are many.
func (d *portDrawer) draw(list []PortRange) ([]interval, uint32, error) {
	switch len(list) {
	case 0:
		return []interval{every}, 0, nil
	case 1:
		return []interval{{uint32(list[0].Lo), uint32(list[0].Hi)}}, 0, nil
	}
	list = merge(list)
	if len(list) <= d.limits.ranges {
		out := make([]interval, len(list))
		for i, r := range list {
			out[i] = interval{uint32(r.Lo), uint32(r.Hi)}
		}
		return out, 0, nil
	}
	var s portSet
	for _, r := range list {
		s.add(r)
	}
	number, ok := d.known[s]
	if !ok {
		if len(d.sets) == maxPortSets {
			return nil, 0, fmt.Errorf("more than %d different port lists of more than %d ranges; use fewer or shorter ones", maxPortSets, d.limits.ranges)
		}
		d.sets = append(d.sets, s)
		number = uint32(len(d.sets))
		d.known[s] = number
	}
	return []interval{{uint32(list[0].Lo), uint32(list[len(list)-1].Hi)}}, number, nil
}

// protocols returns the intervals of protocol numbers that e can match. Only
// TCP and UDP have ports, so for an entry that names ports both together are
// any protocol, and the others none.
func (e *Entry) protocols() []interval {
	named := len(e.Ports)+len(e.FromPorts) > 0
	var has [256]bool
	n := 0
	for _, p := range e.Protos {
		if !has[p] && (!named || p == packet.TCP || p == packet.UDP) {
			has[p] = true
			n++
		}
	}
	if len(e.Protos) == 0 || n == 256 || named && n == 2 {
		return []interval{every}
	}
	out := make([]interval, 0, n)
	for p, ok := range has {
		if ok {
			out = append(out, interval{uint32(p), uint32(p)})
		}
	}
	return out
}

// codepoints returns the DSCP values that e can match, each once.
func (e *Entry) codepoints() []uint8 {
	if len(e.DSCP) == 0 {
		return []uint8{anyDSCP}
	}
	out := slices.Clone(e.DSCP)
	slices.Sort(out)
	if out = slices.Compact(out); len(out) == 64 {
		return []uint8{anyDSCP}
	}
	return out
}
