package kerneltest

func at(stages ...stage) func(*conn) bool {
	return func(c *conn) bool {
		for _, s := range stages {
			if c.stage == s {
				return true
			}
		}
		return false
	}
}

func both(m move) []move {
	m.from = near
	other := m
	other.from = far
	return []move{m, other}
}

// moves is all that may happen to a connection: first what its ends do, then
// what goes wrong.
var moves = func() (all []move) {
	all = append(all, opening...)
	for _, m := range open {
		all = append(all, both(m)...)
	}
	all = append(all, odd...)
	for _, m := range oddBoth {
		all = append(all, both(m)...)
	}
	return all
}()

var over = at(finished, aborted, refused)

var opening = []move{
	{kind: "SYN", weight: 10, may: at(idle), make: func(p *player, c conn, d int) (segment, conn) {
		c = conn{stage: called}
		s := c.call(p, d)
		return s, c
	}},
	{kind: "segment of an older connection", weight: 2, may: at(idle), make: func(p *player, c conn, d int) (segment, conn) {
		c = conn{stage: up, picked: true}
		for d := range c.next {
			c.next[d] = p.rng.Uint32()
			c.acked[d], c.window[d] = c.next[d], 3000+uint16(p.rng.IntN(60000))
		}
		s := c.say(d, 0, p.data(100))
		return s, c
	}},
	{kind: "SYN again", weight: 2, may: at(called), make: func(p *player, c conn, d int) (segment, conn) {
		return c.last[d], c
	}},
	{kind: "SYN-ACK", from: far, weight: 20, may: at(called), make: func(p *player, c conn, d int) (segment, conn) {
		s := c.call(p, d)
		s.flags, s.ack = syn|ack, c.next[near]
		c.last[d] = s
		c.acked[near] = c.next[near]
		c.stage = answered
		return s, c
	}},
	{kind: "SYN-ACK again", from: far, weight: 2, may: at(answered), make: func(p *player, c conn, d int) (segment, conn) {
		return c.last[d], c
	}},
	{kind: "refusal", from: far, weight: 2, may: at(called), make: func(p *player, c conn, d int) (segment, conn) {
		s := segment{ack: c.next[near], flags: rst | ack}
		c.stage = refused
		return s, c
	}},
	{kind: "crossing SYN", from: far, weight: 1, may: calling, make: func(p *player, c conn, d int) (segment, conn) {
		s := c.call(p, d)
		c.stage = crossed
		return s, c
	}},
	{kind: "SYN-ACK to a crossing SYN", weight: 10, may: at(crossed), make: func(p *player, c conn, d int) (segment, conn) {
		s := c.last[d]
		s.flags, s.ack = syn|ack, c.next[far]
		c.acked[far] = c.next[far]
		c.last[d], c.stage = s, agreed
		return s, c
	}},
	{kind: "SYN-ACK to a crossing SYN", from: far, weight: 10, may: at(agreed), make: func(p *player, c conn, d int) (segment, conn) {
		s := c.last[d]
		s.flags, s.ack = syn|ack, c.next[near]
		c.acked[near] = c.next[near]
		c.last[d], c.stage = s, answered
		return s, c
	}},
	{kind: "ACK of the SYN-ACK", weight: 20, may: at(answered), make: func(p *player, c conn, d int) (segment, conn) {
		s := c.say(d, 0, nil)
		c.stage = up
		return s, c
	}},
	{kind: "SYN after the end", weight: 6, fresh: true, may: over, make: func(p *player, c conn, d int) (segment, conn) {
		c = conn{stage: called, again: true}
		s := c.call(p, d)
		return s, c
	}},
}

var open = []move{
	{kind: "data", weight: 20, may: at(up), make: func(p *player, c conn, d int) (segment, conn) {
		if c.fins[d] || c.next[d]-c.acked[d] > 1000 {
			return c.say(d, 0, nil), c
		}
		s := c.say(d, psh, p.data(400))
		return s, c
	}},
	{kind: "ACK", weight: 10, may: at(up, finished), make: func(p *player, c conn, d int) (segment, conn) {
		s := c.say(d, 0, nil)
		return s, c
	}},
	{kind: "segment again", weight: 4, may: at(up, finished), make: func(p *player, c conn, d int) (segment, conn) {
		s := c.last[d]
		if s.flags == 0 { // it has sent none that we know of
			return c.say(d, 0, nil), c
		}
		s.ack = c.next[1-d]
		c.acked[1-d] = c.next[1-d]
		return s, c
	}},
	{kind: "FIN", weight: 2, may: at(up), make: func(p *player, c conn, d int) (segment, conn) {
		if c.fins[d] {
			return c.last[d], c
		}
		c.fins[d] = true
		s := c.say(d, fin, nil)
		return s, c
	}},
	{kind: "RST", weight: 1, may: at(up), make: func(p *player, c conn, d int) (segment, conn) {
		s := c.say(d, rst, nil)
		if c.stage = aborted; !c.heard {
			c.stage = refused
		}
		return s, c
	}},
	{kind: "segment after a RST", weight: 1, may: at(aborted), make: func(p *player, c conn, d int) (segment, conn) {
		return c.say(d, 0, nil), c
	}},
}

// solid is the middle of a connection that was seen from its start, joined one
// that was not, closing the time from the first FIN on.
func solid(c *conn) bool  { return pristine(c) && c.stage == up && !c.ending() }
func joined(c *conn) bool { return c.picked && c.stage == up && c.heard && !c.ending() }
func closing(c *conn) bool {
	return pristine(c) && (c.stage == finished || c.stage == up && c.ending())
}

// pristine is a connection that was seen from its start, the first one of its ports.
func pristine(c *conn) bool { return !c.picked && !c.again }

func (c *conn) ending() bool { return c.fins[near] || c.fins[far] }

// calling is before any answer, where no older connection had these ports.
func calling(c *conn) bool { return c.stage == called && !c.again }

// wrong makes a segment that nobody sends who knows where the connection is.
func wrong(flags uint8, seq, acked uint32) func(*player, conn, int) (segment, conn) {
	return func(p *player, c conn, d int) (segment, conn) {
		s := segment{seq: c.next[d] + seq, flags: flags, window: c.window[d]}
		if flags&ack != 0 {
			s.ack = c.next[1-d] + acked
		}
		if flags == ack && seq != 0 { // data that the far end will never have
			s.data = p.data(100)
		}
		return s, c
	}
}

const longAgo = ^uint32(farAway) + 1

// odd is what is wrong from one end only, or at one stage only.
var odd = []move{
	{kind: "SYN-ACK with a wrong ACK", from: far, weight: 1, may: calling, done: true, make: wrong(syn|ack, 0, farAway)},
	{kind: "ACK before the SYN-ACK", from: far, weight: 1, may: calling, done: true, make: wrong(ack, 0, 0)},
	{kind: "FIN before the SYN-ACK", from: far, weight: 1, may: calling, done: true, make: wrong(fin|ack, 0, 0)},
	{kind: "RST with a wrong ACK", from: far, weight: 1, may: calling, done: true, make: wrong(rst|ack, 0, farAway)},
	{kind: "RST without an ACK", from: far, weight: 1, may: calling, done: true, make: wrong(rst, 0, 0)},
	{kind: "ACK before the SYN-ACK", from: near, weight: 1, may: calling, done: true, make: wrong(ack, 0, 0)},
	{kind: "FIN before the SYN-ACK", from: near, weight: 1, may: calling, done: true, make: wrong(fin|ack, 0, 0)},
	{kind: "SYN after the end", from: far, weight: 1, may: at(finished, aborted), make: wrong(syn, 1000, 0), done: true},
	{kind: "what begins no connection", weight: 2, done: true, may: at(idle), make: func(p *player, c conn, d int) (segment, conn) {
		flags := pick(p.rng, []uint8{syn | ack, rst, rst | ack, fin | ack})
		return segment{seq: p.rng.Uint32(), ack: p.rng.Uint32(), flags: flags, window: 5000}, c
	}},
}

var oddBoth = []move{
	{kind: "data beyond the window", weight: 1, odd: true, may: solid, make: wrong(ack, farAway, 0)},
	{kind: "data of long ago", weight: 1, odd: true, may: solid, make: wrong(ack, longAgo, 0)},
	{kind: "ACK of what was never sent", weight: 1, odd: true, may: solid, make: wrong(ack, 0, farAway)},
	{kind: "FIN beyond the window", weight: 1, odd: true, may: solid, make: wrong(fin|ack, farAway, 0)},
	{kind: "RST beyond the window", weight: 1, odd: true, may: solid, make: wrong(rst, farAway, 0)},
	{kind: "RST of long ago", weight: 1, odd: true, may: solid, make: wrong(rst, longAgo, 0)},
	{kind: "RST nearly right", weight: 1, odd: true, may: solid, make: wrong(rst, 7, 0)},
	{kind: "RST of a moment ago", weight: 1, odd: true, may: solid, make: wrong(rst, ^uint32(0), 0)},
	{kind: "SYN into a connection", weight: 1, odd: true, may: solid, make: wrong(syn, 1000, 0)},
	{kind: "SYN-ACK into a connection", weight: 1, done: true, may: solid, make: wrong(syn|ack, 1000, 0)},
	{kind: "data far off, joined", weight: 1, odd: true, may: joined, make: wrong(ack, farAway, 0)},
	{kind: "RST far off, joined", weight: 1, odd: true, may: joined, make: wrong(rst, farAway, 0)},
	{kind: "data far off, closing", weight: 1, odd: true, may: closing, make: wrong(ack, farAway, 0)},
	{kind: "RST far off, closing", weight: 1, odd: true, may: closing, make: wrong(rst, farAway, 0)},
	{kind: "impossible flags", weight: 1, odd: true, may: solid, make: func(p *player, c conn, d int) (segment, conn) {
		s := segment{seq: c.next[d], ack: c.next[1-d], window: c.window[d]}
		s.flags = pick(p.rng, []uint8{0, psh, fin, syn | fin, syn | rst, fin | rst | ack, syn | fin | ack, 0x3f})
		return s, c
	}},
	{kind: "RST with urgent data", weight: 1, odd: true, may: solid, make: wrong(rst|urg, 7, 0)},
	{kind: "options that are none", weight: 1, odd: true, may: solid, make: func(p *player, c conn, d int) (segment, conn) {
		s := segment{seq: c.next[d], ack: c.next[1-d], window: c.window[d], flags: ack}
		s.options = []byte{8, 1, 0, 0}
		return s, c
	}},
	{kind: damagedSegment, weight: 1, odd: true, may: at(up), make: wrong(ack, 0, 0)},
}

const damagedSegment = "damaged segment"
