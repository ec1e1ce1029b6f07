package nat

import "turnout/classifier/packet"

// start says what becomes of the first packet of a flow.
func start(kind string, t modelTuple, exit uint16, inbound bool) (State, packet.Reason) {
	switch t.proto {
	case packet.TCP:
		pickup := t.near == LAN && !inbound && (kind == "ack" || kind == "data")
		switch {
		case kind != "syn" && !pickup:
			return 0, packet.InvalidState
		case exit == Direct && !inbound:
			return TCPDirect, packet.OK
		case kind == "syn":
			return TCPOpening, packet.OK
		}
		return TCPPicked, packet.OK
	case packet.UDP:
		switch {
		case inbound:
			return UDPOneWay, packet.OK
		case t.remotePort == 53:
			return DNSQuery, packet.OK
		case exit == Direct:
			return UDPTwoWay, packet.OK
		}
		return UDPOneWay, packet.OK
	case packet.ICMP:
		if (t.remotePort == askedByFar) != inbound {
			return 0, packet.InvalidState
		}
		return ICMPQuery, packet.OK
	}
	return Other, packet.OK
}

// reopens reports whether a SYN of side dir begins a connection in place of f.
func (f *modelFlow) reopens(dir int, seq uint32) bool {
	switch f.state {
	case TCPClosing, TCPReset:
		return dir == out || f.in && (f.lost || int32(seq-f.next[in]) > 0)
	case TCPPicked, TCPDirect:
		return dir == out
	case TCPAnswered, TCPUp: // the model's later SYNs are all far off
		return dir == out
	}
	return false
}

func (m *model) up(f *modelFlow) {
	f.become(TCPUp, m.now)
	if f.fins[out] || f.fins[in] {
		f.state = TCPClosing
	}
}

func (m *model) fin(f *modelFlow, dir int) {
	if !f.fins[dir] {
		f.fins[dir] = true
		if f.state != TCPReset {
			f.become(TCPClosing, m.now)
		}
	}
}

func (m *model) reset(f *modelFlow) {
	if f.state != TCPReset {
		f.become(TCPReset, m.now)
	}
}

// tcpOut is what a segment of the near side does to a flow.
func (m *model) tcpOut(f *modelFlow, kind string) {
	switch {
	case f.state == TCPDirect:
		f.touched = m.now
		return
	case f.lost:
		if kind != "ack" && kind != "data" && kind != "fin" {
			return
		}
		f.lost = false
	case !f.heard && f.in:
		switch kind {
		case "syn", "synack":
			f.heard = true
			f.become(TCPAnswered, m.now)
		case "rst":
			m.reset(f)
		}
		return
	case kind == "rst":
		if f.state != TCPOpening {
			m.reset(f)
		}
		return
	case kind == "rst-far":
		return
	}
	f.touched = m.now
	switch {
	case f.state == TCPOpening || kind == "syn" || !f.heard:
	case kind == "fin":
		m.fin(f, out)
	case f.state == TCPAnswered && !f.in || f.state == TCPReset:
		m.up(f)
	}
}

// tcpIn is what a segment of the far side does, and whether it passes.
func (m *model) tcpIn(f *modelFlow, kind string) packet.Reason {
	switch {
	case f.state == TCPDirect:
	case !f.heard:
		return m.tcpInFirst(f, kind)
	case kind == "syn":
		if f.state != TCPAnswered && !f.in {
			return packet.InvalidState
		}
	case f.lost:
	case kind == "rst":
		m.reset(f)
	case kind == "rst-far":
		return packet.InvalidState
	case kind == "fin":
		m.fin(f, in)
	case kind == "ack", kind == "data":
		if f.state == TCPPicked || f.state == TCPAnswered && f.in {
			m.up(f)
		}
	}
	return packet.OK
}

// tcpInFirst is the same while only the opener's SYN is known.
func (m *model) tcpInFirst(f *modelFlow, kind string) packet.Reason {
	switch kind {
	case "rst":
		m.reset(f)
	case "rst-near", "rst-far":
		return packet.InvalidState
	case "syn", "synack":
		switch {
		case !f.in:
			f.heard = true
			f.become(TCPAnswered, m.now)
		case kind == "syn" && f.state == TCPOpening:
			f.touched = m.now
		}
	}
	return packet.OK
}

const veryFar = 1 << 28

var flagsOfKind = map[string]uint8{
	"syn": syn, "synack": syn | ack, "ack": ack, "data": ack, "fin": fin | ack,
	"rst": rst | ack, "rst-near": rst, "rst-far": rst,
}

// kind draws what sort of segment side dir of f sends; f may be nil.
func (s *player) kind(f *modelFlow, dir int) string {
	kinds := [...]string{"syn", "syn", "ack", "data", "data", "fin", "rst", "rst-far"}
	if dir == in {
		kinds = [...]string{"ack", "data", "data", "fin", "rst", "rst-near", "rst-far", "syn"}
	}
	kind := kinds[s.rng.IntN(len(kinds))]
	switch {
	case f == nil || s.rng.IntN(2) == 0:
	case !f.heard && f.in == (dir == out):
		return "synack"
	case f.state == TCPAnswered && f.in == (dir == in):
		return "ack"
	case f.state == TCPUp:
		return "data"
	}
	return kind
}

// segment makes p a TCP segment of a kind of side dir of f (nil: none), and
// moves f's sequence numbers on as its ends would.
func (s *player) segment(p *pkt, f *modelFlow, dir int, kind string) {
	p.flags, p.window = flagsOfKind[kind], 1000
	p.seq, p.ack = s.rng.Uint32(), s.rng.Uint32()
	p.payload = nil
	if kind == "data" {
		p.payload = make([]byte, s.rng.IntN(500))
	}
	switch {
	case f == nil:
	case f.heard:
		s.segmentHeard(p, f, dir, kind)
	case f.in == (dir == in): // the opener, before an answer
		switch kind {
		case "syn":
			if f.state == TCPOpening {
				f.next[dir] = p.seq + 1
			}
			return
		case "rst":
			p.seq = f.next[dir]
		case "rst-near":
			p.seq = f.next[dir] + 5
		default:
			p.seq = f.next[dir] + veryFar
		}
	default: // the answer
		if kind == "syn" || kind == "synack" {
			f.next[dir] = p.seq + 1
		}
		if kind == "synack" || kind == "rst" {
			p.ack = f.next[1-dir]
		}
	}
}

func (s *player) segmentHeard(p *pkt, f *modelFlow, dir int, kind string) {
	p.seq, p.ack = f.next[dir], f.next[1-dir]
	switch kind {
	case "syn", "rst-far":
		p.seq += veryFar
	case "rst-near":
		p.seq += 5
	case "fin":
		f.next[dir]++
	default:
		f.next[dir] += uint32(len(p.payload))
	}
}
