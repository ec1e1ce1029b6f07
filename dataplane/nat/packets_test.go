package nat

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"turnout/classifier/packet"
)

func addr(s string) packet.Addr { return packet.AddrFrom(netip.MustParseAddr(s)) }

// pkt describes a packet; bytes builds it with true checksums, by the slow and
// obvious way.
type pkt struct {
	src, dst     packet.Addr
	proto        uint8
	sport, dport uint16 // ICMP: sport is the identifier
	typ, code    uint8
	flags        uint8
	seq, ack     uint32
	window       uint16
	options      []byte
	id           uint16
	frag         packet.Fragment
	payload      []byte
}

func (p pkt) bytes() []byte {
	l4 := p.payload
	if p.frag != packet.Later {
		l4 = p.transport()
	}
	var b []byte
	if p.src.Is4() {
		b = p.header4(len(l4))
	} else {
		b = p.header6(len(l4))
	}
	b = append(b, l4...)
	if p.frag == packet.Whole {
		p.fixL4(b)
	}
	return b
}

func (p pkt) transport() []byte {
	var t []byte
	switch p.proto {
	case packet.TCP:
		t = make([]byte, 20+len(p.options))
		binary.BigEndian.PutUint16(t, p.sport)
		binary.BigEndian.PutUint16(t[2:], p.dport)
		binary.BigEndian.PutUint32(t[4:], p.seq)
		binary.BigEndian.PutUint32(t[8:], p.ack)
		t[12], t[13] = uint8(len(t)/4)<<4, p.flags
		binary.BigEndian.PutUint16(t[14:], p.window)
		copy(t[20:], p.options)
	case packet.UDP:
		t = make([]byte, 8)
		binary.BigEndian.PutUint16(t, p.sport)
		binary.BigEndian.PutUint16(t[2:], p.dport)
		n := 8 + len(p.payload)
		if p.frag == packet.First {
			n += 800                                  // the rest is in later fragments,
			binary.BigEndian.PutUint16(t[6:], 0x1234) // and so is what the checksum is about
		}
		binary.BigEndian.PutUint16(t[4:], uint16(n))
	case packet.ICMP, packet.ICMPv6:
		t = make([]byte, 8)
		t[0], t[1] = p.typ, p.code
		binary.BigEndian.PutUint16(t[4:], p.sport)
	}
	return append(t, p.payload...)
}

func (p pkt) header4(n int) []byte {
	b := make([]byte, 20)
	b[0], b[8], b[9] = 0x45, 64, p.proto
	binary.BigEndian.PutUint16(b[2:], uint16(20+n))
	binary.BigEndian.PutUint16(b[4:], p.id)
	switch p.frag {
	case packet.First:
		b[6] = 0x20
	case packet.Later:
		b[7] = 100 // at byte 800, the last one
	}
	binary.BigEndian.PutUint32(b[12:], p.src.V4())
	binary.BigEndian.PutUint32(b[16:], p.dst.V4())
	binary.BigEndian.PutUint16(b[10:], ^sum(b))
	return b
}

func (p pkt) header6(n int) []byte {
	b := make([]byte, 40)
	b[0], b[6], b[7] = 0x60, p.proto, 64
	src, dst := p.src.Netip().As16(), p.dst.Netip().As16()
	copy(b[8:], src[:])
	copy(b[24:], dst[:])
	if p.frag != packet.Whole {
		n += 8
		b[6] = 44
		f := make([]byte, 8)
		f[0] = p.proto
		f[3] = 1 // more to come
		if p.frag == packet.Later {
			binary.BigEndian.PutUint16(f[2:], 800)
		}
		binary.BigEndian.PutUint16(f[6:], p.id)
		b = append(b, f...)
	}
	binary.BigEndian.PutUint16(b[4:], uint16(n))
	return b
}

// l4sum returns the ones-complement sum over transport header, data and, where
// the protocol has one, pseudo-header: 0xffff when the checksum is true.
func l4sum(b []byte) uint16 {
	var v packet.View
	v.Decode(b)
	l4 := append([]byte(nil), b[v.L4:v.Len]...)
	if v.Proto != packet.ICMP {
		pseudo := make([]byte, 36)
		s, d := v.Src.Netip().As16(), v.Dst.Netip().As16()
		copy(pseudo, s[:])
		copy(pseudo[16:], d[:])
		if v.Version == 4 { // the mapped prefix is not part of it
			clear(pseudo[:12])
			clear(pseudo[16:28])
		}
		binary.BigEndian.PutUint16(pseudo[32:], uint16(len(l4)))
		pseudo[35] = v.Proto
		l4 = append(pseudo, l4...)
	}
	return sum(l4)
}

func (p pkt) fixL4(b []byte) {
	at, ok := map[uint8]int{packet.TCP: 16, packet.UDP: 6, packet.ICMP: 2, packet.ICMPv6: 2}[p.proto]
	if !ok {
		return
	}
	at += len(b) - len(p.transport())
	c := ^l4sum(b)
	if c == 0 {
		c = 0xffff
	}
	binary.BigEndian.PutUint16(b[at:], c)
}

func sum(b []byte) uint16 {
	s := uint32(0)
	for i, c := range b {
		s += uint32(c) << (8 * (1 - i&1))
		s = s&0xffff + s>>16
	}
	return uint16(s)
}

// mustBeTrue checks every checksum of a whole packet, and of the packet that it
// quotes when it is an ICMP error that quotes a whole one.
func mustBeTrue(t *testing.T, b []byte) {
	t.Helper()
	var v packet.View
	if r := v.Decode(b); r != packet.OK {
		t.Fatalf("decode: %v", r)
	}
	if v.Version == 4 && sum(b[:v.L4]) != 0xffff {
		t.Fatalf("wrong IP checksum: % x", b)
	}
	if v.Frag == packet.Whole && knowsPorts(v.Proto) && l4sum(b) != 0xffff {
		t.Fatalf("wrong transport checksum: % x", b)
	}
	if v.IsError {
		if q := b[v.Payload:v.Len]; len(q) > 48 {
			mustBeTrue(t, q)
		}
	}
}

// rig is a table with a clock, told what to expect in few words.
type rig struct {
	*testing.T
	*Table
	now Tick
}

func newRig(t *testing.T, maxFlows int) *rig {
	return &rig{t, New(Options{MaxFlows: maxFlows}), 1000}
}

func decode(t testing.TB, b []byte) *packet.View {
	t.Helper()
	v := new(packet.View)
	if r := v.Decode(b); r != packet.OK {
		t.Fatalf("decode: %v: % x", r, b)
	}
	return v
}

// out sends p from the LAN: an existing flow, or a new one pinned to pin. It
// returns the flow and the packet as it leaves.
func (r *rig) out(p pkt, pin Pin) (Flow, []byte, packet.Reason) {
	r.Helper()
	b := p.bytes()
	v := decode(r, b)
	f, ok := r.Out(b, v, LAN, r.now)
	if !ok {
		var reason packet.Reason
		if f, reason = r.Open(b, v, LAN, pin, r.now); reason != packet.OK {
			return f, nil, reason
		}
	}
	f.RewriteOut(b, v, false)
	mustBeTrue(r.T, b)
	return f, b, packet.OK
}

func (r *rig) mustOut(p pkt, pin Pin) (Flow, []byte) {
	r.Helper()
	f, b, reason := r.out(p, pin)
	if reason != packet.OK {
		r.Fatalf("out %v: %v", p, reason)
	}
	return f, b
}

// in brings p out of tunnel exit and returns the packet for the LAN.
func (r *rig) in(p pkt, exit uint16) (Flow, []byte, packet.Reason) {
	r.Helper()
	b := p.bytes()
	v := decode(r, b)
	f, reason := r.In(b, v, exit, r.now)
	if reason != packet.OK {
		return f, nil, reason
	}
	f.RewriteIn(b, v, false)
	mustBeTrue(r.T, b)
	return f, b, reason
}

func (r *rig) mustIn(p pkt, exit uint16, want packet.Reason) (Flow, []byte) {
	r.Helper()
	f, b, reason := r.in(p, exit)
	if reason != want {
		r.Fatalf("in %v: %v, want %v", p, reason, want)
	}
	return f, b
}

// family is one address family's cast: two LAN hosts, two remotes, a router,
// and the addresses of two tunnels.
type family struct {
	name                   string
	lan1, lan2             packet.Addr
	remote1, remote2       packet.Addr
	router                 packet.Addr
	ext1, ext2             packet.Addr
	icmp                   uint8
	request, reply         uint8
	unreachable, timeOver  uint8
	redirect, routerAdvert uint8
}

var (
	v4 = family{"v4", addr("192.168.77.20"), addr("192.168.77.21"), addr("203.0.113.9"), addr("203.0.113.10"),
		addr("198.51.100.1"), addr("10.8.0.2"), addr("10.9.0.2"), packet.ICMP, 8, 0, 3, 11, 5, 9}
	v6 = family{"v6", addr("fd00::20"), addr("fd00::21"), addr("2001:db8::9"), addr("2001:db8::10"),
		addr("2001:db8:1::1"), addr("fd08::2"), addr("fd09::2"), packet.ICMPv6, 128, 129, 1, 3, 137, 134}
	families = []family{v4, v6}
)

func bothFamilies(t *testing.T, f func(t *testing.T, fam family)) {
	for _, fam := range families {
		t.Run(fam.name, func(t *testing.T) { f(t, fam) })
	}
}

func (f family) pin1() Pin { return Pin{Exit: 3, Entry: 7, By: 1, Masquerade: true, Addr: f.ext1} }
func (f family) pin2() Pin { return Pin{Exit: 4, Entry: 8, By: 2, Masquerade: true, Addr: f.ext2} }

func udp(src packet.Addr, sport uint16, dst packet.Addr, dport uint16) pkt {
	return pkt{src: src, dst: dst, proto: packet.UDP, sport: sport, dport: dport, payload: []byte("hello")}
}

func (f family) echo(src, dst packet.Addr, id uint16, typ uint8) pkt {
	return pkt{src: src, dst: dst, proto: f.icmp, sport: id, typ: typ, payload: []byte("abcdefgh")}
}

// about makes an ICMP error about the packet quoted.
func (f family) about(src, dst packet.Addr, quoted []byte) pkt {
	return pkt{src: src, dst: dst, proto: f.icmp, typ: f.timeOver, payload: quoted}
}
