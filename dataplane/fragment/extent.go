package fragment

import (
	"encoding/binary"

	"turnout/classifier/packet"
)

// maxPieces is how many fragments a datagram may have: 64 KiB in packets of an
// Ethernet are 45.
const maxPieces = 64

// A piece is what one fragment has of its datagram's payload, in bytes.
type piece struct {
	from, to int
	last     bool
}

// pieceOf reads where fragment v belongs; body is where its share of the
// payload starts in b.
func pieceOf(b []byte, v *packet.View) (p piece, body int) {
	var word uint16
	if v.Version == 4 {
		word, body = binary.BigEndian.Uint16(b[6:]), int(b[0]&15)*4
		p.from, p.last = int(word&0x1fff)*8, word&0x2000 == 0
	} else {
		body = fragmentHeader(b) + 8
		word = binary.BigEndian.Uint16(b[body-6:])
		p.from, p.last = int(word&^7), word&1 == 0
	}
	p.to = p.from + int(v.Len) - body
	return p, body
}

// fragmentHeader finds the fragment header of an IPv6 packet that was decoded
// and has one.
func fragmentHeader(b []byte) int {
	at := 40
	for next := b[6]; next != 44; {
		next, at = b[at], at+8+int(b[at+1])*8
	}
	return at
}

// An extent is what was seen of a datagram: disjoint spans in order.
type extent struct {
	spans  [maxPieces]span
	n      uint8 // spans
	pieces uint8
	end    uint16 // bytes of the whole; 0: not known
}

type span struct{ from, to uint16 }

// add notes a piece. It reports false when the piece contradicts another, be it
// the same once more, or when there are too many.
func (e *extent) add(p piece) bool {
	from, to := uint16(p.from), uint16(p.to)
	if p.to > 65535 || e.pieces == maxPieces {
		return false
	}
	if last := e.n; last > 0 && p.last && e.spans[last-1].to > to {
		return false
	}
	if e.end != 0 && (p.last && e.end != to || to > e.end || !p.last && to == e.end) {
		return false
	}
	at := 0
	for at < int(e.n) && e.spans[at].to <= from {
		at++
	}
	if at < int(e.n) && e.spans[at].from < to {
		return false
	}
	if p.last {
		e.end = to
	}
	e.pieces++
	e.insert(at, span{from, to})
	return true
}

// insert puts s before span number at and joins what touches.
func (e *extent) insert(at int, s span) {
	left := at > 0 && e.spans[at-1].to == s.from
	right := at < int(e.n) && e.spans[at].from == s.to
	switch {
	case left && right:
		e.spans[at-1].to = e.spans[at].to
		copy(e.spans[at:], e.spans[at+1:e.n])
		e.n--
	case left:
		e.spans[at-1].to = s.to
	case right:
		e.spans[at].from = s.from
	default:
		copy(e.spans[at+1:e.n+1], e.spans[at:e.n])
		e.spans[at] = s
		e.n++
	}
}

// whole reports whether nothing is missing.
func (e *extent) whole() bool {
	return e.end != 0 && e.n == 1 && e.spans[0] == span{0, e.end}
}

// A key names a datagram. Its side keeps what a tunnel says apart from what the
// LAN and other tunnels say.
type key struct {
	src, dst packet.Addr
	side     uint32
	id       uint16
	proto    uint8
}

func keyOf(side uint32, v *packet.View) key {
	return key{v.Src, v.Dst, side, v.ID, v.Proto}
}

// life is how many seconds a datagram has from its first fragment that was
// seen, whatever comes after (RFC 791, 3.2 recommends 15; Linux has 30).
const life = 30
