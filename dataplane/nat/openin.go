package nat

import "turnout/classifier/packet"

// A Door is where a conversation from the far side ends on the near one.
type Door struct {
	Near    uint16 // the near side
	LAN     packet.Addr
	LANPort uint16 // of TCP and UDP
	// Inside is the address that the LAN host sees in place of the far one's,
	// with a port that tells its conversations apart; the zero Addr: the far
	// host's own.
	Inside packet.Addr
}

// OpenIn creates the flow that packet b from p.Exit starts towards d, after In
// has found none. With p.Masquerade the packet is for p.Addr. Reasons are those
// of Open; only a SYN starts a TCP flow, only a request one of echoes.
//
// b and v are only read.
func (t *Table) OpenIn(b []byte, v *packet.View, p Pin, d Door, now Tick) (f Flow, r packet.Reason) {
	port, far, ok := inPorts(v)
	if !ok {
		return f, packet.InvalidState
	}
	e := entry{lanPort: port, remotePort: far, farPort: far, port: port, tag: tagIn}
	if v.HasPorts {
		e.lanPort = d.LANPort
	}
	if r := e.start(b, v, p, false); r != packet.OK {
		return f, r
	}
	remote := v.Src
	if d.Inside != (packet.Addr{}) {
		remote = d.Inside
	}
	if !oneFamily(d.LAN, v.Src, p) || remote.Is4() != v.Src.Is4() {
		return f, packet.NoFreePort
	}

	t.mu.Lock()
	defer t.mu.Unlock()
	t.advance(now)
	if !t.hold(&e, d.LAN, remote, v.Src) {
		return f, packet.FlowTableFull
	}
	if r = t.bindIn(&e, p, d); r == packet.OK {
		r = t.enter(&f, &e, v)
	}
	if r != packet.OK {
		t.letGo(&e, e.lan, e.remote, e.far)
	}
	return f, r
}

// bindIn gives e its binding, and sees to it that both sides can tell it from
// all other flows.
func (t *Table) bindIn(e *entry, p Pin, d Door) packet.Reason {
	n := t.bindingOf(d.Near, p)
	if n == 0 {
		return packet.FlowTableFull
	}
	e.tag |= uint32(n)
	if t.unique(e) != packet.OK || !t.inside(e, d.Inside != packet.Addr{}) {
		return packet.NoFreePort
	}
	return packet.OK
}

// inside sees to it that the near side can tell e from all other flows, with
// another remote port if need be and allowed.
func (t *Table) inside(e *entry, renumber bool) bool {
	if t.uniqueNear(e) {
		return true
	}
	if !renumber {
		return false
	}
	number := &e.remotePort
	switch e.proto {
	case packet.TCP, packet.UDP:
	case packet.ICMP, packet.ICMPv6:
		number = &e.lanPort
	default:
		return false
	}
	sp := spans(packet.ICMP, 0)[0]
	for range insideTries {
		if *number = max(sp.random(), 1024); t.uniqueNear(e) {
			return true
		}
	}
	return false
}

func (t *Table) uniqueNear(e *entry) bool {
	return t.seekNear(e.lan, e.remote, ports(e.lanPort, e.remotePort), t.nearTag(e)) == 0
}

// insideTries bounds the search for a port between one near endpoint and the
// gateway: with half of them taken it fails once in 2^128.
const insideTries = 128
