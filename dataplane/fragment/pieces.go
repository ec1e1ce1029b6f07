package fragment

import "turnout/classifier/packet"

// A span is a run of bytes of a datagram's data that has been seen.
type span struct{ from, to uint16 }

// pieces says which parts of a datagram have been seen. The spans themselves,
// in order and never touching, are in an array that the caller keeps.
type pieces struct {
	n    uint16 // spans in use
	end  uint16 // where the datagram ends; 0 until its last fragment was seen
	lead uint16 // bytes of its header; 0 until its first fragment was seen
}

// add notes one more part. It answers FragmentOverlap if the part contradicts
// another, and FragmentLimit if spans is full; then nothing has changed.
func (p *pieces) add(spans []span, f *part) packet.Reason {
	lead := p.lead
	if f.from == 0 {
		lead = f.lead
	}
	reach := f.to // how far the datagram goes, by all that was seen
	if p.n > 0 {
		reach = max(reach, spans[p.n-1].to)
	}
	switch {
	case p.end != 0 && f.to > p.end, // beyond the end
		f.last && reach > f.to,           // an end before others
		int(lead)+int(reach) > maxPacket: // the first one's header may be the largest
		return packet.FragmentOverlap
	}
	i := int(p.n) // of the span that is to follow; fragments mostly come in order
	for i > 0 && spans[i-1].from >= f.to {
		i--
	}
	if i > 0 && spans[i-1].to > f.from {
		return packet.FragmentOverlap
	}
	if !p.insert(spans, i, span{f.from, f.to}) {
		return packet.FragmentLimit
	}
	p.lead = lead
	if f.last {
		p.end = f.to
	}
	return packet.OK
}

// insert puts s before span i, and makes one of those that touch.
func (p *pieces) insert(spans []span, i int, s span) bool {
	n := int(p.n)
	before := i > 0 && spans[i-1].to == s.from
	after := i < n && spans[i].from == s.to
	switch {
	case before && after:
		spans[i-1].to = spans[i].to
		copy(spans[i:], spans[i+1:n])
		p.n--
	case before:
		spans[i-1].to = s.to
	case after:
		spans[i].from = s.from
	case n == len(spans):
		return false
	default:
		copy(spans[i+1:n+1], spans[i:n])
		spans[i] = s
		p.n++
	}
	return true
}

// whole reports whether nothing is missing.
func (p *pieces) whole(spans []span) bool {
	return p.end != 0 && p.n == 1 && spans[0].from == 0 && spans[0].to == p.end
}
