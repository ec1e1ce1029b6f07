package kerneltest

import "encoding/binary"

// Events that are ICMP errors, and other ICMP that is no echo of a flow.

// errorIn is an error about what f has sent, as its sender's NAT had changed it.
func (p *player) errorIn(f *flow) event {
	e := event{kind: "ICMP error", from: far, flow: f}
	typ, code, rest := p.errorType()
	switch p.rng.IntN(12) {
	case 0:
		e.kind, typ, code = "source quench", sourceQuench, 0
	case 1:
		e.kind, typ, code = "redirect", redirect, 1
	}
	source := router
	if p.rng.IntN(2) == 0 {
		source = f.remote.addr
	}
	p.quoting(&e, ip{src: source, dst: wanAddr, proto: icmp}, typ, code, rest, func(of int) []byte { return f.left[of] })
	return e
}

// errorOut is an error of the LAN about what has come in for f.
func (p *player) errorOut(f *flow) event {
	e := event{kind: "ICMP error", from: near, flow: f}
	if isError(f.came) {
		e.kind = "ICMP error about an ICMP error"
	}
	typ, code, rest := p.errorType()
	source := f.lan.addr
	if p.rng.IntN(4) == 0 {
		source = ip4("192.168.77.200") // a router in the LAN
	}
	p.quoting(&e, ip{src: source, dst: f.remote.addr, proto: icmp}, typ, code, rest, func(int) []byte { return f.came })
	return e
}

func (p *player) errorType() (typ, code uint8, rest uint16) {
	switch p.rng.IntN(5) {
	case 0:
		return timeExceeded, uint8(p.rng.IntN(2)), 0
	case 1:
		return badParameter, 0, 0
	case 2:
		return unreachable, 4, 68
	}
	return unreachable, pick(p.rng, []uint8{0, 1, 3, 13}), 0
}

// quoting completes e with a quote that is as long, or short, as routers make
// them, and sometimes not true.
func (p *player) quoting(e *event, w ip, typ, code uint8, rest uint16, about func(of int) []byte) {
	p.dress(&w)
	if code == 4 && len(about(near)) <= int(rest) {
		code, rest = 1, 0 // a packet that fits needs no fragments, see docs/malformed.md
	}
	size := pick(p.rng, []int{8, 16, 18, 20, 28, 528, 528})
	lie := p.rng.IntN(12)
	if e.sound = e.kind == "ICMP error" && lie > 3; e.kind == "ICMP error" {
		switch lie {
		case 0:
			e.kind = "ICMP error with a wrong quoted IP checksum"
		case 1:
			e.kind = "ICMP error with a wrong checksum"
			e.damaged = true
		case 2:
			e.kind = "ICMP error to another than the quote's sender"
		case 3:
			e.kind = "ICMP error about a packet never sent"
		}
	}
	e.build = func(of int) [][]byte {
		q := append([]byte(nil), about(of)...)
		if n := headerLen(q) + size; n < len(q) {
			q = q[:n]
		}
		w := w
		switch e.kind {
		case "ICMP error with a wrong quoted IP checksum":
			q[10] ^= 0x40
		case "ICMP error to another than the quote's sender":
			if e.from == far {
				w.dst = lanFirst
			} else {
				w.dst = stranger
			}
		case "ICMP error about a packet never sent":
			other := q[12:] // its source
			if e.from == near {
				other = q[16:]
			}
			binary.BigEndian.PutUint32(other, be32(other)^0x00400000)
			q[10], q[11] = 0, 0
			putSum(q[10:], sum(q[:headerLen(q)]))
			w.dst = be32(q[12:])
		}
		w.body = icmpBody(typ, code, 0, q)
		binary.BigEndian.PutUint16(w.body[6:], rest)
		b := w.bytes()
		if e.damaged {
			b[headerLen(b)+2] ^= 0x10
		}
		return [][]byte{b}
	}
}

// oddICMP is what a LAN host may send that starts no flow of ours.
func (p *player) oddICMP() event {
	e := event{from: near}
	typ := echoReply
	switch p.rng.IntN(4) {
	case 0:
		e.kind = "echo reply to no request"
	case 1:
		e.kind, typ = "timestamp request", timestamp
	case 2:
		e.kind, typ = "ICMP of an unknown type", 42
	case 3:
		e.kind, typ = "timestamp reply to no request", timestamp+1
	}
	t := drawTuple(p.rng)
	b := p.packet(ip{src: t.lan.addr, dst: stranger, proto: icmp, body: icmpBody(uint8(typ), 0, uint16(p.rng.Uint32()), p.data(20))})
	e.build = func(int) [][]byte { return [][]byte{b} }
	return e
}
