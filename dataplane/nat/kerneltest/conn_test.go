package kerneltest

import "encoding/binary"

const (
	fin = 1 << iota
	syn
	rst
	psh
	ack
	urg
)

// A segment is a TCP header and data to be.
type segment struct {
	src, dst uint16
	seq, ack uint32
	flags    uint8
	window   uint16
	options  []byte
	data     []byte
}

func (s segment) bytes() []byte {
	n := 20 + len(s.options)
	b := make([]byte, n+len(s.data))
	binary.BigEndian.PutUint16(b, s.src)
	binary.BigEndian.PutUint16(b[2:], s.dst)
	binary.BigEndian.PutUint32(b[4:], s.seq)
	binary.BigEndian.PutUint32(b[8:], s.ack)
	b[12], b[13] = uint8(n/4)<<4, s.flags
	binary.BigEndian.PutUint16(b[14:], s.window)
	copy(b[20:], s.options)
	copy(b[n:], s.data)
	return b
}

// A stage is how far a connection has come, as both its ends know it.
type stage int

const (
	idle     stage = iota // no connection yet
	called                // the LAN host has sent its SYN
	crossed               // and the far end its own, without an ACK
	agreed                // the SYN-ACK of such a simultaneous open is under way
	answered              // the far end has sent a SYN-ACK
	up
	finished // both FINs are acknowledged
	aborted  // by a RST
	refused  // by a RST in place of a SYN-ACK: a NAT may have forgotten it
)

// A conn is what two well behaved ends know of their connection. Both have
// received all that was sent.
type conn struct {
	stage   stage
	next    [2]uint32 // the next sequence number of each side
	acked   [2]uint32 // what the other has acknowledged of them
	window  [2]uint16
	options [2][]byte // of the SYN
	last    [2]segment
	fins    [2]bool
	picked  bool // joined in the middle
	again   bool // not the first one with these ports
	heard   bool // the far end has spoken
}

// farAway is more than the largest window drawn, 64 KiB << 10.
const farAway = 1 << 28

// A move is something that an end may do, or somebody who pretends to be it.
type move struct {
	kind   string
	from   int
	weight int
	may    func(c *conn) bool
	// make returns the segment, but for its ports, and what c becomes when both
	// NATs have let it pass.
	make func(p *player, c conn, from int) (segment, conn)
	// done says that the two NATs need not agree about the flow hereafter; odd,
	// that they need not if the kernel lets the segment pass, and may believe it.
	done, odd bool
	// fresh says that it begins a new connection, which may get another port.
	fresh bool
}

// sound reports whether an end does so that means well.
func (m *move) sound() bool { return !m.odd && !m.done }

// say returns the next segment of side d with n bytes, acknowledging all.
func (c *conn) say(d int, flags uint8, data []byte) segment {
	s := segment{seq: c.next[d], ack: c.next[1-d], flags: flags | ack, window: c.window[d], data: data}
	c.next[d] += uint32(len(data))
	if flags&(syn|fin) != 0 {
		c.next[d]++
	}
	c.acked[1-d] = c.next[1-d]
	c.last[d] = s
	return s
}

// call returns a SYN of side d, and begins a conversation of side d with it.
func (c *conn) call(p *player, d int) segment {
	c.next[d] = p.rng.Uint32()
	c.acked[d] = c.next[d]
	c.window[d] = 3000 + uint16(p.rng.IntN(60000))
	o := []byte{2, 4, 5, 0xb4}
	if p.rng.IntN(4) > 0 {
		o = append(o, 1, 3, 3, uint8(p.rng.IntN(11)))
	}
	if p.rng.IntN(2) == 0 {
		o = append(o, 4, 2, 1, 1) // selective acknowledgments
	}
	c.options[d] = o
	s := segment{seq: c.next[d], flags: syn, window: c.window[d], options: o}
	c.next[d]++
	c.last[d] = s
	return s
}

// quiet reports whether all of side d has been acknowledged.
func (c *conn) quiet(d int) bool { return c.acked[d] == c.next[d] }

func (c *conn) settle() {
	if c.stage == up && c.fins[near] && c.fins[far] && c.quiet(near) && c.quiet(far) {
		c.stage = finished
	}
}

func (p *player) tcpEvent(f *flow) event {
	var can []*move
	total := 0
	for i := range moves {
		if m := &moves[i]; m.may(&f.tcp) {
			can = append(can, m)
			total += m.weight
		}
	}
	n := p.rng.IntN(total)
	var m *move
	for _, m = range can {
		if n -= m.weight; n < 0 {
			break
		}
	}
	f.fresh = m.fresh
	s, after := m.make(p, f.tcp, m.from)
	var w ip
	p.dress(&w)
	e := event{kind: m.kind, from: m.from, flow: f, done: m.done, odd: m.odd, sound: m.sound(), damaged: m.kind == damagedSegment}
	e.build = func(of int) [][]byte {
		s := s
		s.src, s.dst = f.ports(m.from, of)
		whole := f.out(s.bytes())
		if m.from == far {
			whole = f.in(s.bytes())
		}
		whole.id, whole.tos, whole.df, whole.options = w.id, w.tos, w.df, w.options
		b := whole.bytes()
		if e.damaged {
			b[headerLen(b)+sumAt(tcp)] ^= 0x10
		}
		return [][]byte{b}
	}
	e.then = func() {
		f.tcp = after
		f.tcp.settle()
		f.tcp.heard = f.tcp.heard || m.from == far
	}
	return e
}
