package lint

import (
	"math"
	"net/netip"
	"slices"

	"turnout/classifier"
	"turnout/classifier/packet"
)

// A hull is what an entry's ports and protocols lie in. Most entries that
// share a destination are told apart by it.
type hull struct{ ports, from, protos, dscp span }

type span struct{ lo, hi int32 }

func (s span) holds(o span) bool { return s.lo <= o.lo && o.hi <= s.hi }
func (s span) meets(o span) bool { return s.lo <= o.hi && o.lo <= s.hi }

func (h *hull) holds(o *hull) bool {
	return h.ports.holds(o.ports) && h.from.holds(o.from) && h.protos.holds(o.protos) && h.dscp.holds(o.dscp)
}

func (h *hull) meets(o *hull) bool {
	return h.ports.meets(o.ports) && h.from.meets(o.from) && h.protos.meets(o.protos) && h.dscp.meets(o.dscp)
}

// portless stands for the ports of a packet that has none.
const portless = -1

func newHull(e *classifier.Entry) hull {
	h := hull{portHull(e.Ports), portHull(e.FromPorts), byteHull(e.Protos, 255), byteHull(e.DSCP, 63)}
	if len(e.FromPorts) > 0 {
		h.ports.lo = max(h.ports.lo, 0) // it needs a packet with ports
	}
	if len(e.Ports) > 0 {
		h.from.lo = max(h.from.lo, 0)
	}
	return h
}

func portHull(list []classifier.PortRange) span {
	if len(list) == 0 {
		return span{portless, math.MaxUint16}
	}
	s := span{math.MaxUint16, 0}
	for _, r := range list {
		s = span{min(s.lo, int32(r.Lo)), max(s.hi, int32(r.Hi))}
	}
	return s
}

func byteHull(list []uint8, all int32) span {
	if len(list) == 0 {
		return span{0, all}
	}
	return span{int32(slices.Min(list)), int32(slices.Max(list))}
}

// A region is a product of ranges: destination, source, ports, source ports,
// protocol, DSCP. Addresses of both families are numbers of one line.
type region [6]struct{ lo, hi packet.Addr }

// Limits of together: what a person writes stays far below them.
const (
	maxRegions   = 16  // of one entry
	maxFragments = 128 // that what is left may be in
)

// regions gives what e matches, but for what it excludes and for tags; nil
// when that is too much.
func regions(e *classifier.Entry) []region {
	if len(e.ToSets)+len(e.FromSets) > 0 {
		return nil
	}
	h := newHull(e)
	out := []region{{2: number(h.ports), 3: number(h.from)}}
	out = spread(out, 0, len(e.To), func(i int) packetRange { return prefixRange(e.To[i]) }, wholeLine)
	out = spread(out, 1, len(e.From), func(i int) packetRange { return prefixRange(e.From[i]) }, wholeLine)
	out = spread(out, 2, len(e.Ports), func(i int) packetRange { return portRange(e.Ports[i]) }, number(h.ports))
	out = spread(out, 3, len(e.FromPorts), func(i int) packetRange { return portRange(e.FromPorts[i]) }, number(h.from))
	out = spread(out, 4, len(e.Protos), func(i int) packetRange { return byteRange(e.Protos[i]) }, number(span{0, 255}))
	return spread(out, 5, len(e.DSCP), func(i int) packetRange { return byteRange(e.DSCP[i]) }, number(span{0, 63}))
}

type packetRange = struct{ lo, hi packet.Addr }

var wholeLine = packetRange{hi: packet.Addr{Hi: math.MaxUint64, Lo: math.MaxUint64}}

func number(s span) packetRange {
	return packetRange{packet.Addr{Lo: uint64(s.lo + 1)}, packet.Addr{Lo: uint64(s.hi + 1)}}
}

func portRange(r classifier.PortRange) packetRange { return number(span{int32(r.Lo), int32(r.Hi)}) }
func byteRange(v uint8) packetRange                { return number(span{int32(v), int32(v)}) }

func prefixRange(p netip.Prefix) packetRange {
	p = p.Masked()
	r := packetRange{packet.AddrFrom(p.Addr()), packet.AddrFrom(p.Addr())}
	free := p.Addr().BitLen() - p.Bits()
	if free > 64 {
		r.hi.Hi |= 1<<(free-64) - 1
		free = 64
	}
	if free == 64 {
		r.hi.Lo = math.MaxUint64
	} else {
		r.hi.Lo |= 1<<free - 1
	}
	return r
}

// spread gives each region each of n ranges in one dimension, or all of it.
func spread(in []region, dim, n int, get func(int) packetRange, all packetRange) []region {
	if len(in)*n > maxRegions || len(in) == 0 {
		return nil
	}
	out := make([]region, 0, len(in)*max(n, 1))
	for _, r := range in {
		if n == 0 {
			r[dim] = all
			out = append(out, r)
		}
		for i := range n {
			r[dim] = get(i)
			out = append(out, r)
		}
	}
	return out
}

// together returns the entries that take, together, all that entry i matches;
// none when something is left, or that would be hard to tell.
func (l *checker) together(i int32) (by []int32) {
	if len(l.overlaps) < 2 {
		return nil
	}
	left := regions(&l.Entries[i])
	for _, j := range l.overlaps {
		f := &l.Entries[j]
		if len(f.NotTo)+len(f.NotFrom)+len(f.NotToSets)+len(f.NotFromSets)+len(f.Tags) > 0 {
			continue
		}
		used := false
		for _, r := range regions(f) {
			var hit bool
			left, hit = subtract(left, &r)
			used = used || hit
			l.work -= len(left)
		}
		if used {
			by = append(by, j)
		}
		switch {
		case len(left) == 0 && used:
			return by
		case len(left) == 0 || len(left) > maxFragments:
			return nil
		}
	}
	return nil
}

// subtract takes f out of each region.
func subtract(in []region, f *region) (out []region, hit bool) {
	for _, r := range in {
		if !r.meets(f) {
			out = append(out, r)
			continue
		}
		hit = true
		for d := range r {
			if less(r[d].lo, f[d].lo) {
				part := r
				part[d].hi = prev(f[d].lo)
				out = append(out, part)
				r[d].lo = f[d].lo
			}
			if less(f[d].hi, r[d].hi) {
				part := r
				part[d].lo = next(f[d].hi)
				out = append(out, part)
				r[d].hi = f[d].hi
			}
		}
	}
	return out, hit
}

func (r *region) meets(f *region) bool {
	for d := range r {
		if less(r[d].hi, f[d].lo) || less(f[d].hi, r[d].lo) {
			return false
		}
	}
	return true
}

func less(a, b packet.Addr) bool { return a.Hi < b.Hi || a.Hi == b.Hi && a.Lo < b.Lo }

// next and prev are the neighbours of a number that has them.
func next(a packet.Addr) packet.Addr {
	if a.Lo++; a.Lo == 0 {
		a.Hi++
	}
	return a
}

func prev(a packet.Addr) packet.Addr {
	if a.Lo == 0 {
		a.Hi--
	}
	a.Lo--
	return a
}
