package fragment

import (
	"encoding/binary"

	"turnout/classifier/packet"
)

// assemblies is how many datagrams a Reassembler puts together at once, 64 KiB
// each.
const assemblies = 16

// A Reassembler puts datagrams together (RFC 791, 3.2), as a host does and a
// router does not: it is for what ends in this process. Memory is taken at its
// first use. It belongs to one goroutine at a time.
type Reassembler struct {
	list []assembly
}

type assembly struct {
	key
	extent
	since  uint32
	used   bool
	bad    bool
	header [60]byte
	size   int // of header; 0: the first fragment is missing
	buf    [60 + 65535]byte
}

// Add takes an IPv4 fragment and returns the whole packet when nothing is
// missing any more, header and header checksum as if it had never been in
// pieces. The packet is lent until the next Add. Of too many datagrams at once
// the oldest is given up.
func (r *Reassembler) Add(b []byte, v *packet.View, now uint32) (whole []byte, ok bool) {
	if v.Version != 4 {
		return nil, false
	}
	a := r.find(keyOf(0, v), now)
	p, body := pieceOf(b, v)
	if a.bad || !a.add(p) {
		a.bad = true
		return nil, false
	}
	if p.from == 0 {
		a.size = copy(a.header[:], b[:body])
	}
	copy(a.buf[len(a.header)+p.from:], b[body:v.Len])
	if !a.whole() || a.size+int(a.end) > 65535 {
		return nil, false
	}
	a.used = false
	whole = a.buf[len(a.header)-a.size : len(a.header)+int(a.end)]
	copy(whole, a.header[:a.size])
	binary.BigEndian.PutUint16(whole[2:], uint16(len(whole)))
	clear(whole[6:8])
	clear(whole[10:12])
	binary.BigEndian.PutUint16(whole[10:], ^packet.Checksum(whole[:a.size], 0))
	return whole, true
}

// find returns the assembly of a datagram, a new one in place of the oldest if
// need be.
func (r *Reassembler) find(k key, now uint32) *assembly {
	if r.list == nil {
		r.list = make([]assembly, assemblies)
	}
	old := &r.list[0]
	for i := range r.list {
		a := &r.list[i]
		if a.used && a.key == k && now-a.since < life {
			return a
		}
		if old.used && (!a.used || now-a.since > now-old.since) {
			old = a
		}
	}
	old.key, old.since, old.used, old.bad, old.size = k, now, true, false, 0
	old.n, old.pieces, old.end = 0, 0, 0
	return old
}
