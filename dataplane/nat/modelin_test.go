package nat

import (
	"fmt"

	"turnout/classifier/packet"
)

// eventIn brings a packet out of a tunnel: of a flow, to a flow from somebody
// else, or to a forwarded port.
func (s *player) eventIn() {
	p, exit := s.inbound()
	kind := "-"
	far, farPort, port := p.src, p.sport, p.dport
	switch p.proto {
	case packet.ICMP:
		port, farPort = p.sport, askedByNear
		if p.typ == v4.request {
			farPort = askedByFar
		}
	case 47:
		port, farPort = 0, 0
	}
	f := s.m.byExit(exit, p.dst, far, port, farPort, p.proto)
	reopened := false
	if p.proto == packet.TCP {
		if f != nil && f.state == TCPDirect {
			return // replies of direct flows do not come out of tunnels
		}
		kind = s.kind(f, in)
		old := [2]uint32{}
		if f != nil {
			old = f.next
		}
		s.segment(&p, f, in, kind)
		if f != nil && kind == "syn" {
			now := f.next
			f.next = old
			reopened = f.reopens(in, p.seq)
			f.next = now
		}
	}
	b := p.bytes()
	v := decode(s, b)
	got, reason := s.In(b, v, exit, s.now)
	if reopened {
		s.count["reopened from outside"]++
		s.m.dropOne(f)
		f = nil
	} else if f == nil {
		if g := s.m.cone(p, exit); g != nil {
			s.stranger(g, p, got, reason)
			return
		}
	}
	want := packet.NoFlow
	if f != nil {
		want = s.known(f, kind)
	}
	s.same(fmt.Sprintf("in %v from %d by %s", p, exit, kind), reason, want)
	s.count["in "+reason.String()]++
	switch {
	case reason == packet.OK:
		s.sameFlow(got, f)
		got.RewriteIn(b, v, false)
		mustBeTrue(s.T, b)
		s.arrived(b, f)
	case f == nil && s.rng.IntN(2) == 0:
		s.openIn(p, exit, kind, farPort)
	}
}

// inbound draws a packet from the far side.
func (s *player) inbound() (p pkt, exit uint16) {
	if s.rng.IntN(8) == 0 { // to a forward, or a guess
		t := s.tuple()
		p, exit = t.came(), uint16(1+s.rng.IntN(4))
		p.src, p.dst, p.dport = s.remote(), v4.ext1, [...]uint16{6000, 6001, 5000, 700}[s.rng.IntN(4)]
		if exit == 1 {
			p.dst = s.lan()
		}
		if s.rng.IntN(2) == 0 {
			p.typ = v4.request
		}
		if p.proto == packet.TCP || p.proto == packet.UDP {
			p.sport = [...]uint16{80, 443, 7777}[s.rng.IntN(3)]
		}
		return p, exit
	}
	t := s.tuple()
	f := s.m.byLAN(t)
	if f == nil { // as if it were one
		pin := s.pin()
		f = &modelFlow{modelTuple: t, pin: pin, far: t.remote, farPort: t.remotePort, port: t.lanPort}
	}
	p, exit = f.beyond().came(), f.pin.Exit
	switch s.rng.IntN(20) {
	case 0:
		exit = uint16(s.rng.IntN(5))
	case 1:
		p.src = s.remote()
	}
	return p, exit
}

// known is what a packet from the far side does to flow f.
func (s *player) known(f *modelFlow, kind string) packet.Reason {
	switch {
	case f.proto == packet.TCP:
		r := s.m.tcpIn(f, kind)
		if r == packet.OK {
			f.spoke = s.now
		}
		return r
	case f.cone:
	case f.in:
		f.touched = s.now
	case f.state == UDPOneWay:
		f.become(UDPTwoWay, s.now)
	}
	return packet.OK
}

// stranger is a packet that the mapping of flow g is open to.
func (s *player) stranger(g *modelFlow, p pkt, got Flow, reason packet.Reason) {
	s.Helper()
	f := &modelFlow{
		modelTuple: modelTuple{g.lan, p.src, g.lanPort, p.sport, packet.UDP, g.near},
		pin:        g.pin, far: p.src, farPort: p.sport, port: g.port, in: true, cone: true, touched: s.now,
	}
	want, full := packet.NoFlow, false
	if s.m.byLAN(f.modelTuple) == nil {
		want, full = s.lacks(f.near, f.lan)
	}
	s.same("a stranger", reason, want)
	s.count["stranger "+reason.String()]++
	if reason != packet.OK {
		return
	}
	if full {
		s.sacrificed(f.pin, f.modelTuple)
	}
	f.pin.Entry, f.pin.By, f.pin.Generation = got.Entry, got.By, got.Generation // of any flow of the mapping
	s.m.add(f)
	s.sameFlow(got, f)
}

// openIn lets in a packet that no flow knows.
func (s *player) openIn(p pkt, exit uint16, kind string, farPort uint16) {
	pin := s.pinOf(exit)
	pin.Pool = 0
	d := Door{Near: s.near(), LAN: s.lan(), LANPort: modelPorts[s.rng.IntN(len(modelPorts))]}
	if s.rng.IntN(4) == 0 {
		d.Inside = addr("192.168.77.1")
	}
	if exit == Direct || exit > 4 {
		return
	}
	if pin.Masquerade {
		pin.Addr = p.dst
	} else {
		d.LAN, d.LANPort = p.dst, p.dport
	}
	f := &modelFlow{
		modelTuple: modelTuple{d.LAN, p.src, p.dport, farPort, p.proto, d.Near},
		pin:        pin, far: p.src, farPort: farPort, port: p.dport, in: true, touched: s.now, spoke: s.now,
	}
	switch p.proto {
	case packet.TCP, packet.UDP:
		f.lanPort = d.LANPort
	case packet.ICMP:
		f.lanPort, f.port = p.sport, p.sport
	default:
		f.lanPort, f.port = 0, 0
	}
	if d.Inside != (packet.Addr{}) {
		f.remote = d.Inside
	}
	var want packet.Reason
	f.state, want = start(kind, f.modelTuple, exit, true)
	unlike, full := s.m.byLAN(f.modelTuple) == nil, false
	renumbers := d.Inside != packet.Addr{} && p.proto != 47
	if want == packet.OK && !unlike && !renumbers {
		want = packet.NoFreePort
	}
	if want == packet.OK {
		want, full = s.lacks(f.near, f.lan)
	}
	b := p.bytes()
	v := decode(s, b)
	got, reason := s.OpenIn(b, v, pin, d, s.now)
	s.same(fmt.Sprintf("opening from outside %+v by %s to %+v", p, kind, d), reason, want)
	s.count["open in "+reason.String()]++
	if reason != packet.OK {
		return
	}
	if full {
		s.sacrificed(modelEndpointless, f.modelTuple)
	}
	if !unlike {
		s.count["renumbered"]++
		number, is := &f.remotePort, got.RemotePort
		if p.proto == packet.ICMP {
			number, is = &f.lanPort, got.LANPort
		}
		*number = is
		if is < 1024 || s.m.byLAN(f.modelTuple) != nil {
			s.Fatalf("event %d: renumbered to %d", s.n, is)
		}
	}
	f.next[in] = p.seq + 1
	s.m.add(f)
	s.sameFlow(got, f)
	got.RewriteIn(b, v, false)
	mustBeTrue(s.T, b)
	s.arrived(b, f)
}

// modelEndpointless is a pin whose flows have no mapping.
var modelEndpointless = Pin{}

// eventError sends an ICMP error about a packet of some flow.
func (s *player) eventError() {
	t := s.tuple()
	f := s.m.byLAN(t)
	if s.rng.IntN(2) == 0 {
		g := f
		if g == nil {
			g = &modelFlow{modelTuple: t, pin: Pin{Exit: 3}, far: t.remote, farPort: t.remotePort, port: t.lanPort}
			f = s.m.byExit(3, t.lan, t.remote, t.lanPort, t.remotePort, t.proto)
		}
		p := g.beyond().packet()
		got, b, reason := s.in(v4.about(v4.router, p.src, p.bytes()), g.pin.Exit)
		s.count["error in "+reason.String()]++
		if f == nil {
			s.same("error in", reason, packet.NoFlow)
			return
		}
		s.same("error in", reason, packet.OK)
		s.sameFlow(got, f)
		s.same("destination", decode(s, b).Dst, f.lan)
		return
	}
	b := v4.about(t.lan, t.remote, t.came().bytes()).bytes()
	v := decode(s, b)
	got, ok := s.Out(b, v, t.near, s.now)
	s.same("error out", ok, f != nil)
	s.count[fmt.Sprintf("error out %v", ok)]++
	if f == nil {
		_, reason := s.Open(b, v, t.near, s.pin(), s.now)
		s.same("error out", reason, packet.InvalidState)
		return
	}
	s.sameFlow(got, f)
	got.RewriteOut(b, v, false)
	mustBeTrue(s.T, b)
	s.same("source", v.Src, f.external())
	s.same("destination", v.Dst, f.far)
}
