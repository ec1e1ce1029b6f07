package fragment

import (
	"sync"

	"turnout/classifier/packet"
)

// Options bound what a Tracker keeps. A zero field takes its default.
type Options struct {
	Datagrams int    // followed at once; 16,384. When full, the oldest is forgotten
	Bytes     int    // of held fragments, in blocks of 512; 4 MiB. When full, what would be held is dropped
	Fragments int    // held of one datagram, and pieces of it that do not touch; 64
	Seconds   uint32 // from a datagram's first fragment to its end; 30
	HostShare int    // one source host has at most this part of Datagrams and Bytes: one in 8
	SideShare int    // and all hosts of a side this part: one in 2
}

// A Tracker follows datagrams of all sides. Whole packets never come here, so
// its one mutex is for fragments only; it is not held while a callback runs.
type Tracker struct {
	mu    sync.Mutex
	table table
}

// New returns a Tracker. It takes up no memory before the first fragment.
func New(o Options) *Tracker {
	datagrams, bytes := or(o.Datagrams, 16384), or(o.Bytes, 4<<20)
	parts := [levels]int{everybody: 1, bySide: or(o.SideShare, 2), byHost: or(o.HostShare, 8)}
	t := &Tracker{table: table{limits: limits{fragments: or(o.Fragments, 64), life: or(o.Seconds, 30)}}}
	for level, part := range parts {
		t.table.limits.datagrams[level] = uint32(max(1, datagrams/part))
		t.table.limits.blocks[level] = uint32(max(1, bytes/blockSize/part))
	}
	return t
}

func or[T int | uint32](n, otherwise T) T {
	if n == 0 {
		return otherwise
	}
	return n
}

// An Action is what becomes of a fragment.
type Action uint8

const (
	Pass Action = iota // it goes on
	Held               // it was copied and waits; the caller forgets it
	Drop
)

// A Verdict is the answer to one fragment.
type Verdict struct {
	Action Action
	Reason packet.Reason // of Drop, and of each of Lost
	ID     uint16        // a later fragment that passes: the datagram's new identification; 0: it keeps its own
	Lost   int           // held fragments that were dropped along with this one, or to make room for it

	// Datagram is what a first fragment that passes is part of: the caller
	// decides about it and tells by Decide.
	Datagram Datagram
}

// displaced adds held fragments of another datagram that made room for this
// one's. Only a new datagram, or one that is held, needs any; nothing else is
// lost then for another reason.
func (v *Verdict) displaced(lost int) {
	if lost > 0 {
		v.Reason = packet.FragmentLimit
		v.Lost += lost
	}
}

// A Datagram stands for a datagram whose first fragment is being decided. It
// stays valid when the fragment's addresses are changed, and means nothing any
// more when the datagram is forgotten.
type Datagram struct{ record, turn uint32 }

// Take judges fragment b (v.Frag is First or Later) that came from side: 0 is
// the LAN, others the exit numbers of tunnels. now is in seconds.
//
// A First that passes is the caller's to decide: Decide must follow. A Later
// that passes has a first that was accepted: v's ports, ICMP type and code and
// protocol are now that one's, while v.HasPorts and v.IsError stay false. Of what is dropped,
// FragmentUnknown means that the first was refused, FragmentOverlap that the
// datagram contradicts itself, FragmentLimit that it is more than may be kept.
// A datagram of which one fragment was dropped is refused as a whole.
func (t *Tracker) Take(side uint32, b []byte, v *packet.View, now uint32) Verdict {
	b = b[:v.Len]
	f := read(b)
	t.mu.Lock()
	defer t.mu.Unlock()
	i, lost := t.table.visit(side, v, &f, now)
	verdict := t.judge(i, &f, b, v)
	verdict.displaced(lost)
	return verdict
}

func (t *Tracker) judge(i uint32, f *part, b []byte, v *packet.View) Verdict {
	d := &t.table.datagrams[i]
	if d.refused != packet.OK {
		return Verdict{Action: Drop, Reason: d.refused}
	}
	if why := t.table.note(i, f); why != packet.OK {
		return t.refuse(i, why)
	}
	switch {
	case f.from == 0:
		d.first = first{v.SrcPort, v.DstPort, v.Type, v.Code, v.Proto}
		return Verdict{Datagram: Datagram{i, d.turn}}
	case d.accepted:
		d.first.fill(v)
		return Verdict{ID: d.id}
	case t.table.hold(i, f, b):
		return Verdict{Action: Held}
	}
	return t.refuse(i, packet.FragmentLimit)
}

func (t *Tracker) refuse(i uint32, why packet.Reason) Verdict {
	return Verdict{Action: Drop, Reason: why, Lost: t.table.refuse(i, why)}
}

// Decide tells what became of the first fragment of d. If it was accepted, the
// others may follow, with identification id (0: their own), and Release must
// be called once the first is on its way. If not, what was held is dropped:
// lost fragments, to be counted as FragmentUnknown.
func (t *Tracker) Decide(d Datagram, id uint16, accepted bool) (lost int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	record := t.current(d)
	if record == nil || record.accepted {
		return 0
	}
	if !accepted {
		return t.table.refuse(d.record, packet.FragmentUnknown)
	}
	record.accepted, record.id = true, id
	return 0
}

// current returns the record of d, nil if d was forgotten or refused.
func (t *Tracker) current(d Datagram) *datagram {
	if d == (Datagram{}) {
		return nil
	}
	record := &t.table.datagrams[d.record]
	if record.turn != d.turn || record.refused != packet.OK {
		return nil
	}
	return record
}

// A copied is a held fragment on its way out.
type copied struct {
	data [maxPacket]byte
	view packet.View
}

var copies = sync.Pool{New: func() any { return new(copied) }}

// Release passes the held fragments of d, which was accepted, to each, in the
// order of their offsets. They are as they came but for v, which says what Take
// says of a later fragment that passes.
//
// borrowed: b and v are each's to change, until it returns.
func (t *Tracker) Release(d Datagram, each func(b []byte, v *packet.View)) {
	c := copies.Get().(*copied)
	defer copies.Put(c)
	for {
		n, first := t.next(d, c.data[:])
		if n == 0 {
			return
		}
		if c.view.Decode(c.data[:n]) == packet.OK { // as it was when it was taken
			first.fill(&c.view)
			each(c.data[:n], &c.view)
		}
	}
}

// next moves the next held fragment of d to b; its length is 0 if there is none.
func (t *Tracker) next(d Datagram, b []byte) (n int, first first) {
	t.mu.Lock()
	defer t.mu.Unlock()
	record := t.current(d)
	if record == nil || !record.accepted || record.held == 0 {
		return 0, first
	}
	n = t.table.arena.load(b, record.held, 0)
	t.table.pop(d.record)
	return n, record.first
}

// Expire forgets the datagrams whose time is over at now, in seconds, and
// returns how many held fragments were lost with them, since the last call, to
// be counted as FragmentUnknown.
func (t *Tracker) Expire(now uint32) (lost int) {
	for more := true; more; {
		var n int
		n, more = t.expire(now)
		lost += n
	}
	return lost
}

// expire does a part, so that no packet waits for all of it.
func (t *Tracker) expire(now uint32) (lost int, more bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.table.expire(now, 128)
}
