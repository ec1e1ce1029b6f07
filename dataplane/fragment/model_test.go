package fragment

import (
	"bytes"
	"slices"

	"turnout/classifier/packet"
)

// model is the slow and obvious tracker that the real one is compared with:
// one list of datagrams from the oldest on, in which each byte is ticked off.
type model struct {
	limits    limits
	now       uint32
	list      []*modelDatagram
	unclaimed int
}

type modelDatagram struct {
	side     uint32
	m        message // its data aside
	since    uint32
	seen     [1 << 10]bool
	end      int // -1: not known
	held     []modelHeld
	first    packet.View
	decided  bool // the first was accepted
	id       uint16
	refused  packet.Reason
	departed bool
}

type modelHeld struct {
	from int
	b    []byte
}

func same(a, b message) bool {
	return a.v6 == b.v6 && a.src == b.src && a.dst == b.dst && a.id == b.id && (a.v6 || a.proto == b.proto)
}

// take is Take for b, which is bytes from up to to of m.
func (o *model) take(side uint32, m message, from, to int, more bool, b []byte, now uint32) (v Verdict, d *modelDatagram) {
	o.now = max(o.now, now)
	for _, d := range slices.Clone(o.list) {
		if d.side == side && same(d.m, m) && o.now-d.since >= o.limits.life {
			o.unclaimed += o.remove(d)
		}
	}
	lost := 0
	i := slices.IndexFunc(o.list, func(d *modelDatagram) bool { return d.side == side && same(d.m, m) })
	if i < 0 {
		lost = o.makeRoom(side, m)
		i = len(o.list)
		o.list = append(o.list, &modelDatagram{side: side, m: m, since: o.now, end: -1})
	}
	d = o.list[i]
	v = o.judge(d, from, to, more, b)
	if lost > 0 {
		v.Lost, v.Reason = lost, packet.FragmentLimit
	}
	return v, d
}

// members returns the datagrams of an account, oldest first.
func (o *model) members(level int, side uint32, m message) (list []*modelDatagram) {
	for _, d := range o.list {
		if level == everybody || d.side == side && (level == bySide || d.m.src == m.src && d.m.v6 == m.v6) {
			list = append(list, d)
		}
	}
	return list
}

func (o *model) makeRoom(side uint32, m message) (lost int) {
	for level := byHost; level >= everybody; level-- {
		if l := o.members(level, side, m); len(l) == int(o.limits.datagrams[level]) {
			lost += o.remove(l[0])
		}
	}
	return lost
}

func (o *model) remove(d *modelDatagram) int {
	d.departed = true
	o.list = slices.DeleteFunc(o.list, func(e *modelDatagram) bool { return e == d })
	return len(d.held)
}

func (o *model) judge(d *modelDatagram, from, to int, more bool, b []byte) Verdict {
	if d.refused != packet.OK {
		return Verdict{Action: Drop, Reason: d.refused}
	}
	if d.contradicts(from, to, more) {
		return d.refuse(packet.FragmentOverlap)
	}
	for i := from; i < to; i++ {
		d.seen[i] = true
	}
	if d.runs() > o.limits.fragments {
		return d.refuse(packet.FragmentLimit)
	}
	if !more {
		d.end = to
	}
	if from == 0 {
		return Verdict{}
	}
	if d.decided {
		return Verdict{ID: d.id}
	}
	if len(d.held) == o.limits.fragments || !o.mayHold(d, len(b)) {
		return d.refuse(packet.FragmentLimit)
	}
	d.held = append(d.held, modelHeld{from, bytes.Clone(b)})
	slices.SortFunc(d.held, func(a, b modelHeld) int { return a.from - b.from })
	return Verdict{Action: Held}
}

func (d *modelDatagram) contradicts(from, to int, more bool) bool {
	if d.end >= 0 && (to > d.end || !more) {
		return true
	}
	return slices.Contains(d.seen[from:to], true) || !more && slices.Contains(d.seen[to:], true)
}

// runs counts the runs of bytes that have been seen.
func (d *modelDatagram) runs() (n int) {
	for i, seen := range d.seen {
		if seen && (i == 0 || !d.seen[i-1]) {
			n++
		}
	}
	return n
}

func (o *model) mayHold(d *modelDatagram, size int) bool {
	for level := range levels {
		n := (size + 511) / 512
		for _, e := range o.members(level, d.side, d.m) {
			for _, h := range e.held {
				n += (len(h.b) + 511) / 512
			}
		}
		if n > int(o.limits.blocks[level]) {
			return false
		}
	}
	return true
}

func (d *modelDatagram) refuse(why packet.Reason) Verdict {
	lost := len(d.held)
	d.held, d.refused = nil, why
	return Verdict{Action: Drop, Reason: why, Lost: lost}
}

func (d *modelDatagram) decide(id uint16, accepted bool) int {
	switch {
	case d.departed || d.decided || d.refused != packet.OK:
		return 0
	case !accepted:
		return d.refuse(packet.FragmentUnknown).Lost
	}
	d.decided, d.id = true, id
	return 0
}

func (d *modelDatagram) release() (out [][]byte) {
	if d.departed || !d.decided {
		return nil
	}
	for _, h := range d.held {
		out = append(out, h.b)
	}
	d.held = nil
	return out
}

func (o *model) expire(now uint32) int {
	o.now = max(o.now, now)
	lost := o.unclaimed
	o.unclaimed = 0
	for _, d := range slices.Clone(o.list) {
		if o.now-d.since >= o.limits.life {
			lost += o.remove(d)
		}
	}
	return lost
}
