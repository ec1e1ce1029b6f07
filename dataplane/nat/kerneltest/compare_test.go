package kerneltest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"turnout/classifier/packet"
)

// A player plays events to a fresh kernel and to a fresh table.
type player struct {
	*testing.T
	name   string // of the round, and how to repeat it
	n      int    // of the event
	rng    *rand.Rand
	gw     *gateway
	ours   *ours
	serial uint16 // of IP datagrams

	flows []*flow
	used  map[tuple]bool
	taken [2]map[outside]*flow
	count map[string]int // events by kind and by who let them pass
	met   map[string]int // differences by row
}

// outside is a flow as its far end sees it.
type outside struct {
	remote endpoint
	port   uint16
	proto  uint8
}

// play gives both the event's packets and compares what they make of them. It
// reports whether both have let them pass.
func (p *player) play(e *event) bool {
	p.Helper()
	var r result
	var err error
	for of := range r.in {
		r.in[of] = e.build(of)
	}
	if r.out[kernel], err = p.gw.pass(e.from, r.in[kernel]); err != nil {
		p.Fatal(err)
	}
	r.out[turn], r.why = p.ours.pass(e.from, r.in[turn])
	passed := r.passed()
	if e.flow != nil {
		e.flow.remember(fmt.Sprintf("%d: %s %v", p.n, e.kind, passed))
	}
	p.count[fmt.Sprintf("%s %v", e.kind, passed)]++
	e.done = e.done || e.odd && passed[kernel]

	switch {
	case passed[kernel] != passed[turn]:
		d := allowed(e, passed)
		if d == nil {
			p.complain(e, &r, "not both have let it pass")
		}
		p.met[d.row]++
		e.done = e.done || e.sound // only one of the two has taken part in it
		if passed[turn] && e.kind != fragmentLost {
			p.whole(e, &r, turn)
		}
		return false
	case !passed[kernel]:
		if e.sound {
			p.complain(e, &r, "both have dropped it")
		}
		return false
	}
	both := [2][]byte{p.whole(e, &r, kernel), p.whole(e, &r, turn)}
	p.same(e, &r, both)
	if e.flow != nil {
		p.learn(e, both)
	}
	return true
}

// A result is what went into both and came out, as packets or fragments.
type result struct {
	in, out [2][][]byte
	why     packet.Reason // ours dropped it
}

func (r *result) passed() [2]bool { return [2]bool{len(r.out[kernel]) > 0, len(r.out[turn]) > 0} }

// whole returns the packet that one has let pass, which must be a good one.
func (p *player) whole(e *event, r *result, of int) []byte {
	p.Helper()
	b, err := join(r.out[of])
	if err == nil {
		err = p.judge(e, of, b)
	}
	if err != nil {
		p.complain(e, r, names[of]+": "+err.Error())
	}
	return b
}

// same wants two packets to be equal but for the external port.
func (p *player) same(e *event, r *result, both [2][]byte) {
	p.Helper()
	at := 0
	if e.from == near {
		at = external(both[kernel])
	}
	left := [2][]byte{plain(both[kernel], at), plain(both[turn], at)}
	if c := cutChecksum(both[kernel]); c > 0 && !bytes.Equal(left[kernel], left[turn]) {
		if quoted(both[turn]) != quoted(r.in[turn][0]) {
			p.complain(e, r, "turnout: the quoted TCP checksum is no longer true")
		}
		p.met["quoted-checksum"]++
		copy(left[kernel][c:c+2], left[turn][c:])
	}
	if !bytes.Equal(left[kernel], left[turn]) {
		p.complain(e, r, "the two packets differ")
	}
}

// judge looks at a packet that one of the two has let pass.
func (p *player) judge(e *event, of int, b []byte) error {
	if e.damaged {
		if s := l4sum(b); s != l4sum(e.build(of)[0]) {
			return fmt.Errorf("a wrong checksum has become another: %#x", s)
		}
	} else if err := check(b); err != nil {
		return err
	}
	f := e.flow
	switch {
	case f == nil:
		return nil
	case b[8] != ttl-1:
		return fmt.Errorf("TTL %d", b[8])
	case e.from == far:
		if be32(b[16:]) != f.lan.addr {
			return fmt.Errorf("delivered to %s", dotted(be32(b[16:])))
		}
		return nil
	case be32(b[12:]) != wanAddr:
		return fmt.Errorf("left with source %s", dotted(be32(b[12:])))
	case external(b) == 0:
		return nil
	}
	port := be16(b[external(b):])
	if f.opened && !f.fresh && f.ext[of] != port {
		return fmt.Errorf("port %d has become %d", f.ext[of], port)
	}
	if g := p.taken[of][f.outside(port)]; g != nil && g != f {
		return fmt.Errorf("port %d is that of %v, too", port, g.tuple)
	}
	return nil
}

func (f *flow) outside(port uint16) outside { return outside{f.remote, port, f.proto} }

// learn keeps what a flow's next events need of a packet that both let pass.
func (p *player) learn(e *event, both [2][]byte) {
	p.Helper()
	f := e.flow
	switch {
	case e.from == far:
		f.came = both[kernel]
	case !isError(both[kernel]):
		f.left = both
		if external(both[kernel]) > 0 && (!f.opened || f.fresh) {
			p.settle(f)
		}
	}
	if e.then != nil {
		e.then()
	}
	if f.tcp.stage == refused { // a NAT may have forgotten it, with its port
		p.release(f)
		f.left, f.came = [2][]byte{}, nil
	}
}

// settle notes the external ports of a flow.
func (p *player) settle(f *flow) {
	p.Helper()
	p.release(f)
	for of, b := range f.left {
		f.ext[of] = be16(b[external(b):])
		p.taken[of][f.outside(f.ext[of])] = f
	}
	p.ports(f)
}

// release forgets that the flow's ports are taken.
func (p *player) release(f *flow) {
	for of := range p.taken {
		if k := f.outside(f.ext[of]); p.taken[of][k] == f {
			delete(p.taken[of], k)
		}
	}
}

// ports looks at the ports that a flow got. They may differ in the ways that
// RFC 4787 asks of ours and nobody of the kernel's.
func (p *player) ports(f *flow) {
	p.Helper()
	if f.ext[kernel] != f.ext[turn] {
		p.met["port-choice"]++
	}
	want := f.lan.port
	if f.proto != icmp {
		if f.ext[turn]%2 != want%2 || (f.ext[turn] < 1024) != (want < 1024) {
			p.Fatalf("event %d: port %d for %v", p.n, f.ext[turn], f.tuple)
		}
		if f.ext[kernel]%2 != want%2 {
			p.met["port-parity"]++
		}
	}
	if f.proto != udp && f.proto != icmp {
		return
	}
	for _, g := range p.flows {
		if g == f || g.lan != f.lan || g.proto != f.proto || !g.opened {
			continue
		}
		if g.ext[turn] != f.ext[turn] {
			p.Fatalf("event %d: ports %d and %d for one endpoint: %v, %v", p.n, g.ext[turn], f.ext[turn], g.tuple, f.tuple)
		}
		if g.ext[kernel] != f.ext[kernel] {
			p.met["endpoint-independent"]++
		}
	}
}

// complain ends the test with all that is needed to understand why.
func (p *player) complain(e *event, r *result, what string) {
	p.Helper()
	text := fmt.Sprintf("%s event %d: %v: %s (kernel passes: %v, turnout: %v, %v)",
		p.name, p.n, e, what, r.passed()[kernel], r.passed()[turn], r.why)
	for of, name := range names {
		for _, b := range r.in[of] {
			text += fmt.Sprintf("\n%-8s in  %s", name, describe(b))
		}
		for _, b := range r.out[of] {
			text += fmt.Sprintf("\n%-8s out %s", name, describe(b))
		}
	}
	if f := e.flow; f != nil {
		text += fmt.Sprintf("\nthe flow: ports %v, stage %d, next %d, acknowledged %d", f.ext, f.tcp.stage, f.tcp.next, f.tcp.acked)
		for _, s := range f.past {
			text += "\n\t" + s
		}
	}
	p.Fatal(text)
}

// describe tells a packet in words and bytes.
func describe(b []byte) string {
	n := headerLen(b)
	s := fmt.Sprintf("proto %d %s > %s", protoOf(b), dotted(be32(b[12:])), dotted(be32(b[16:])))
	switch {
	case protoOf(b) == tcp && len(b) >= n+20:
		t := b[n:]
		s += fmt.Sprintf(" ports %d > %d flags %#x seq %d ack %d window %d", be16(t), be16(t[2:]), t[13], be32(t[4:]), be32(t[8:]), be16(t[14:]))
	case protoOf(b) == udp && len(b) >= n+8:
		s += fmt.Sprintf(" ports %d > %d", be16(b[n:]), be16(b[n+2:]))
	case protoOf(b) == icmp && len(b) >= n+8:
		s += fmt.Sprintf(" type %d code %d id %d", b[n], b[n+1], be16(b[n+4:]))
	}
	return s + fmt.Sprintf(", %d bytes: % x", len(b), b)
}
