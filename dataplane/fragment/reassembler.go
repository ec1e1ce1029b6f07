package fragment

import (
	"encoding/binary"

	"turnout/classifier/packet"
)

// A Reassembler puts datagrams together: of the few that end in this process.
// It holds 64 of them and 1 MiB at most; when it is full the oldest go.
type Reassembler struct {
	table table
	whole [maxPacket]byte
}

// NewReassembler returns one that holds nothing yet.
func NewReassembler() *Reassembler {
	const datagrams, blocks = 64, 1 << 20 / blockSize
	return &Reassembler{table: table{limits: limits{
		datagrams: [levels]uint32{datagrams, datagrams, datagrams},
		blocks:    [levels]uint32{blocks, blocks, blocks},
		fragments: 64,
		life:      30,
	}}}
}

// Add takes fragment b. With the last one that was missing the verdict is Pass
// and whole is the datagram as one packet, its header as that of the first
// fragment, with true length and IPv4 checksum. Else the fragment is held, or
// dropped for the reasons that Take has. now is in seconds.
//
// borrowed: whole is the caller's to change, until the next call.
func (r *Reassembler) Add(b []byte, v *packet.View, now uint32) (whole []byte, verdict Verdict) {
	b = b[:v.Len]
	f := read(b)
	i, lost := r.table.visit(0, v, &f, now)
	verdict = r.keep(i, &f, b)
	verdict.displaced(lost)
	if verdict.Action == Held && r.table.whole(i) {
		whole = r.join(i)
		r.table.remove(i)
		verdict.Action = Pass
	}
	return whole, verdict
}

// keep holds b, or refuses datagram i.
func (r *Reassembler) keep(i uint32, f *part, b []byte) (verdict Verdict) {
	t := &r.table
	if why := t.datagrams[i].refused; why != packet.OK {
		return Verdict{Action: Drop, Reason: why}
	}
	if why := t.note(i, f); why != packet.OK {
		return Verdict{Action: Drop, Reason: why, Lost: t.refuse(i, why)}
	}
	lost := 0
	for !t.room(i, len(b)) && t.oldest() != i {
		lost += t.remove(t.oldest())
	}
	if t.hold(i, f, b) {
		verdict.Action = Held
	} else {
		verdict = Verdict{Action: Drop, Reason: packet.FragmentLimit, Lost: t.refuse(i, packet.FragmentLimit)}
	}
	verdict.displaced(lost)
	return verdict
}

// join makes one packet of datagram i, of which everything is held.
func (r *Reassembler) join(i uint32) []byte {
	d, a := &r.table.datagrams[i], &r.table.arena
	n := a.load(r.whole[:], d.held, 0)
	f := read(r.whole[:n])
	protocol := r.whole[f.lead] // IPv6: the fragment header's first byte
	n = int(f.lead) + copy(r.whole[f.lead:], r.whole[f.header:n])
	for held := a.blocks[d.held].after; held != 0; held = a.blocks[held].after {
		part := a.blocks[held]
		to := d.pieces.end
		if part.after != 0 {
			to = a.blocks[part.after].from
		}
		n += a.load(r.whole[n:], held, int(part.size-(to-part.from)))
	}
	b := r.whole[:n]
	if b[0]>>4 == 4 {
		binary.BigEndian.PutUint16(b[2:], uint16(n))
		clear(b[6:8]) // no more fragments, offset 0; of fragments DF was clear
		clear(b[10:12])
		binary.BigEndian.PutUint16(b[10:], ^packet.Checksum(b[:f.lead], 0))
		return b
	}
	binary.BigEndian.PutUint16(b[4:], uint16(n-40))
	b[f.link] = protocol // the fragment header is gone
	return b
}

// Expire forgets the datagrams whose time is over at now, in seconds, and
// returns how many held fragments were lost with them since the last call, to
// be counted as FragmentUnknown.
func (r *Reassembler) Expire(now uint32) (lost int) {
	lost, _ = r.table.expire(now, len(r.table.datagrams))
	return lost
}
