package kerneltest

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// Events of everything but TCP.

// packet draws the header fields that no NAT should care about and completes
// the packet.
func (p *player) packet(w ip) []byte {
	p.dress(&w)
	return w.bytes()
}

func (p *player) dress(w *ip) {
	p.serial++
	w.id = p.serial
	w.tos = uint8(p.rng.IntN(256))
	w.df = p.rng.IntN(2) == 0
	if p.rng.IntN(20) == 0 {
		w.options = []byte{1, 1, 1, 0}
	}
}

func (p *player) data(most int) []byte {
	b := make([]byte, p.rng.IntN(most+1))
	for i := range b {
		b[i] = uint8(p.rng.Uint32())
	}
	return b
}

func udpBody(src, dst uint16, data []byte) []byte {
	b := make([]byte, 8, 8+len(data))
	binary.BigEndian.PutUint16(b, src)
	binary.BigEndian.PutUint16(b[2:], dst)
	binary.BigEndian.PutUint16(b[4:], uint16(8+len(data)))
	return append(b, data...)
}

// ICMP types (RFC 792).
const (
	echoReply    = 0
	unreachable  = 3
	sourceQuench = 4
	redirect     = 5
	echoRequest  = 8
	timeExceeded = 11
	badParameter = 12
	timestamp    = 13
)

func icmpBody(typ, code uint8, id uint16, data []byte) []byte {
	b := make([]byte, 8, 8+len(data))
	b[0], b[1] = typ, code
	binary.BigEndian.PutUint16(b[4:], id)
	return append(b, data...)
}

// datagram makes a packet of a flow that is not TCP's, drawn once for both.
func (p *player) datagram(f *flow, from, most int) func(of int) ip {
	var w ip
	p.dress(&w)
	w.noSum = f.proto == udp && p.rng.IntN(6) == 0
	data := p.data(most)
	if !f.port() {
		data = append(make([]byte, 8), data...) // of GRE: version 0 (RFC 2784), key and sequence number
	}
	return func(of int) ip {
		src, dst := f.ports(from, of)
		body := data
		switch {
		case f.proto == udp:
			body = udpBody(src, dst, data)
		case f.proto == icmp && from == near:
			body = icmpBody(echoRequest, 0, src, data)
		case f.proto == icmp:
			body = icmpBody(echoReply, 0, dst, data)
		}
		whole := f.out(body)
		if from == far {
			whole = f.in(body)
		}
		whole.id, whole.tos, whole.df, whole.options, whole.noSum = w.id, w.tos, w.df, w.options, w.noSum
		return whole
	}
}

func (p *player) plainEvent(f *flow) event {
	e := event{flow: f, from: near, kind: "datagram"}
	// Of a protocol without ports a remote end has one LAN host only, and a
	// second one is refused.
	e.sound = f.opened || f.port()
	if f.opened && p.rng.IntN(2) == 0 {
		e.from = far
	}
	if p.rng.IntN(8) == 0 {
		return p.pieces(e)
	}
	draw := p.datagram(f, e.from, 600)
	if f.proto == gre && f.opened && p.rng.IntN(10) == 0 {
		return p.enhancedGRE(e)
	}
	bad := f.opened && p.rng.IntN(40) == 0 && sumAt(f.proto) > 0
	if bad {
		e.kind, e.damaged, e.sound = "damaged datagram", true, false
	}
	e.build = func(of int) [][]byte {
		w := draw(of)
		w.noSum = w.noSum && !bad
		b := w.bytes()
		if bad {
			c := b[headerLen(b)+sumAt(f.proto):]
			putSum(c, add(^be16(c), 0x1234))
			if be16(c) == 0 {
				c[0] = 1
			}
		}
		return [][]byte{b}
	}
	return e
}

// enhancedGRE is of version 1 (RFC 2637), which PPTP uses.
func (p *player) enhancedGRE(e event) event {
	e.kind, e.sound, e.done = "GRE of PPTP", false, true
	b := []byte{0x20, 1, 0x88, 0x0b, 0, 4, 0x12, 0x34, 1, 2, 3, 4}
	e.build = func(of int) [][]byte {
		w := e.flow.out(b)
		if e.from == far {
			w = e.flow.in(b)
		}
		return [][]byte{w.bytes()}
	}
	return e
}

const fragmentLost = "datagram short of a fragment"

// pieces makes e a datagram in fragments, in any order, perhaps short of one.
func (p *player) pieces(e event) event {
	draw := p.datagram(e.flow, e.from, 3000)
	size := 8 * (5 + p.rng.IntN(120))
	shuffle := p.rng.Uint64()
	lost := -1
	e.kind = "datagram in fragments"
	if e.flow.opened && p.rng.IntN(4) == 0 {
		e.kind, lost, e.sound = fragmentLost, p.rng.IntN(8), false
	}
	e.build = func(of int) [][]byte {
		w := draw(of)
		w.df, w.options = false, nil
		all := cut(w.bytes(), size)
		if lost >= 0 {
			n := lost % len(all)
			all = slices.Delete(all, n, n+1)
		}
		for i := len(all) - 1; i > 0; i-- {
			j := int(shuffle>>i) % (i + 1)
			all[i], all[j] = all[j], all[i]
		}
		return all
	}
	return e
}

// cut fragments a packet without options (RFC 791, 3.2).
func cut(b []byte, size int) (pieces [][]byte) {
	for at := 20; at < len(b); at += size {
		end := min(at+size, len(b))
		f := append(slices.Clone(b[:20]), b[at:end]...)
		word := uint16(at-20) / 8
		if end < len(b) {
			word |= 0x2000
		}
		binary.BigEndian.PutUint16(f[2:], uint16(len(f)))
		binary.BigEndian.PutUint16(f[6:], word)
		f[10], f[11] = 0, 0
		putSum(f[10:], sum(f[:20]))
		pieces = append(pieces, f)
	}
	return pieces
}

// misfit draws a packet of a LAN host that differs from a good one in a way
// that only some think wrong.
func (p *player) misfit() event {
	t := drawTuple(p.rng)
	e := event{from: near}
	w := ip{src: t.lan.addr, dst: stranger, proto: udp, body: udpBody(5000, 5001, p.data(50))}
	switch p.rng.IntN(4) {
	case 0:
		e.kind = "UDP from port 0"
		w.body[0], w.body[1] = 0, 0
	case 1:
		e.kind = "UDP to port 0"
		w.body[2], w.body[3] = 0, 0
	case 2:
		e.kind = "TCP to port 0"
		w.proto, w.body = tcp, segment{src: 5000, flags: syn, window: 5000}.bytes()
	case 3:
		e.kind = "UDP with something behind it"
		w.body, w.noSum = append(w.body, 1, 2, 3), true
	}
	b := p.packet(w)
	e.build = func(int) [][]byte { return [][]byte{b} }
	return e
}

// unsolicited draws a packet from the far side that nobody asked for.
func (p *player) unsolicited() event {
	src := farFirst + p.rng.Uint32N(uint32(farHosts))
	dst := wanAddr
	kind := "unsolicited packet"
	port := pick(p.rng, lanPorts)
	if p.rng.IntN(2) == 0 {
		src = stranger
		if len(p.flows) > 0 {
			f := pick(p.rng, p.flows)
			port, kind = f.ext[p.rng.IntN(2)], "stranger's packet"
		}
	} else if p.rng.IntN(3) == 0 {
		dst, kind = lanFirst, "packet for a LAN address"
	}
	proto := pick(p.rng, []uint8{tcp, tcp, tcp, udp, icmp, 47, 50})
	from := pick(p.rng, farPorts) + 7 // where no flow goes
	body := p.data(100)
	switch proto {
	case tcp:
		flags := pick(p.rng, []uint8{syn, syn | ack, ack, rst, rst | ack, fin | ack})
		body = segment{src: from, dst: port, flags: flags, seq: p.rng.Uint32(), ack: p.rng.Uint32(), window: 5000, data: body}.bytes()
	case udp:
		body = udpBody(from, port, body)
	case icmp:
		src = stranger
		body = icmpBody(pick(p.rng, []uint8{echoReply, echoRequest, timestamp, timestamp + 1, 42}), 0, port, body)
	default:
		src = stranger
	}
	b := p.packet(ip{src: src, dst: dst, proto: proto, body: body})
	return event{kind: kind, from: far, build: func(int) [][]byte { return [][]byte{b} }}
}

// join puts the packet together that pieces are of.
func join(pieces [][]byte) ([]byte, error) {
	if len(pieces) == 1 && be16(pieces[0][6:])&0x3fff == 0 {
		return pieces[0], nil
	}
	offset := func(b []byte) int { return int(be16(b[6:])&0x1fff) * 8 }
	slices.SortFunc(pieces, func(a, b []byte) int { return offset(a) - offset(b) })
	var whole []byte
	for i, b := range pieces {
		switch more := be16(b[6:])&0x2000 != 0; {
		case sum(b[:headerLen(b)]) != 0xffff:
			return nil, fmt.Errorf("wrong IP checksum of a fragment")
		case i == 0 && offset(b) != 0, i > 0 && offset(b) != len(whole)-20, more != (i < len(pieces)-1):
			return nil, fmt.Errorf("%d packets do not make one", len(pieces))
		case i == 0:
			whole = slices.Clone(b)
		default:
			whole = append(whole, b[headerLen(b):]...)
		}
	}
	binary.BigEndian.PutUint16(whole[2:], uint16(len(whole)))
	whole[6], whole[7], whole[10], whole[11] = 0, 0, 0, 0
	putSum(whole[10:], sum(whole[:headerLen(whole)]))
	return whole, nil
}
