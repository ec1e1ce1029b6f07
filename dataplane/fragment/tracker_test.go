package fragment

import (
	"bytes"
	"testing"

	"turnout/classifier/packet"
)

const lan = 0

// A rig is a tracker with shorthand for what tests do to it.
type rig struct {
	testing.TB
	*Tracker
	now uint32
}

func newRig(t testing.TB, o Options) *rig {
	r := &rig{TB: t, Tracker: New(o), now: 1000}
	t.Cleanup(func() { r.table.verify(t) })
	return r
}

func (r *rig) take(side uint32, b []byte) (Verdict, *packet.View) {
	r.Helper()
	v := decode(r, b)
	return r.Take(side, b, v, r.now), v
}

// want takes a fragment of the LAN.
func (r *rig) want(what string, b []byte, a Action, why packet.Reason, lost int) Verdict {
	r.Helper()
	got, _ := r.take(lan, b)
	if got.Action != a || got.Reason != why || got.Lost != lost {
		r.Fatalf("%s: %+v, want action %d for %v, %d lost", what, got, a, why, lost)
	}
	return got
}

func (r *rig) pass(what string, b []byte) Verdict {
	r.Helper()
	return r.want(what, b, Pass, packet.OK, 0)
}

func (r *rig) held(what string, b []byte) {
	r.Helper()
	r.want(what, b, Held, packet.OK, 0)
}

func (r *rig) drop(what string, b []byte, why packet.Reason) {
	r.Helper()
	r.want(what, b, Drop, why, 0)
}

// release returns copies of what was held.
func (r *rig) release(d Datagram) (out [][]byte) {
	r.Release(d, func(b []byte, v *packet.View) { out = append(out, bytes.Clone(b)) })
	return out
}

// checkLater wants v to say what only the first fragment of m says.
func checkLater(t testing.TB, m message, b []byte, v *packet.View) {
	t.Helper()
	first := decode(t, m.part(0, 48, true))
	want := *decode(t, b)
	want.SrcPort, want.DstPort, want.Type, want.Code, want.Proto = first.SrcPort, first.DstPort, first.Type, first.Code, m.proto
	if *v != want {
		t.Errorf("%+v,\nwant %+v", *v, want)
	}
	if v.HasPorts || v.IsEcho() || v.Frag != packet.Later {
		t.Errorf("a later fragment claims to have a transport header: %+v", *v)
	}
}

func TestInOrder(t *testing.T) {
	forAll(t, 200, func(t *testing.T, m message) {
		r := newRig(t, Options{})
		parts := m.cut(48)
		got := r.pass("first", parts[0])
		if n := r.Decide(got.Datagram, 0xbeef, true); n != 0 {
			t.Fatalf("%d lost", n)
		}
		if out := r.release(got.Datagram); out != nil {
			t.Fatalf("released %x", out)
		}
		for _, b := range parts[1:] {
			was := bytes.Clone(b)
			got, v := r.take(lan, b)
			if got != (Verdict{ID: 0xbeef}) || !bytes.Equal(b, was) {
				t.Fatalf("%+v", got)
			}
			checkLater(t, m, b, v)
		}
	})
}

// What is asked for a first fragment is known of all, whatever is behind the
// packet in its buffer.
func TestBufferLongerThanPacket(t *testing.T) {
	forAll(t, 96, func(t *testing.T, m message) {
		r := newRig(t, Options{})
		parts := m.cut(48)
		last := append(bytes.Clone(parts[1]), make([]byte, 1000)...)
		r.held("last", last)
		got := r.pass("first", append(bytes.Clone(parts[0]), make([]byte, 1000)...))
		r.Decide(got.Datagram, 0, true)
		if out := r.release(got.Datagram); len(out) != 1 || !bytes.Equal(out[0], parts[1]) {
			t.Fatalf("released % x", out)
		}
	})
}

// Every order of arrival, the first decided at once or after all have come.
func TestAllOrders(t *testing.T) {
	forAll(t, 5*48-5, func(t *testing.T, m message) {
		parts := m.cut(48)
		for n := 2; n <= 5; n++ {
			for _, order := range permutations(n) {
				tryOrder(t, m, parts[:n], order, false)
				tryOrder(t, m, parts[:n], order, true)
			}
		}
	})
}

func tryOrder(t *testing.T, m message, parts [][]byte, order []int, late bool) {
	t.Helper()
	r := &rig{TB: t, Tracker: New(Options{Datagrams: 8, Bytes: 1 << 16}), now: 5}
	var passed []int
	var first Datagram
	decide := func() {
		r.Decide(first, 7, true)
		r.Release(first, func(b []byte, v *packet.View) {
			checkLater(t, m, b, v)
			for i := range parts {
				if bytes.Equal(b, parts[i]) {
					passed = append(passed, i)
				}
			}
		})
	}
	early := 0 // how many must be held
	decided := false
	for _, i := range order {
		switch {
		case i == 0:
			first = r.pass("first", parts[0]).Datagram
			passed = append(passed, 0)
			if !late {
				decide()
				decided = true
			}
		case decided:
			r.pass("later", parts[i])
			passed = append(passed, i)
		default:
			r.held("early", parts[i])
			early++
		}
	}
	if late {
		decide()
	}
	if len(passed) != len(parts) {
		t.Fatalf("order %v: passed %v", order, passed)
	}
	for i := 1; i < early; i++ { // those that were held went in order, after the first
		if passed[i] > passed[i+1] || passed[0] != 0 {
			t.Fatalf("order %v, %d early: passed %v", order, early, passed)
		}
	}
	r.table.verify(t)
	if r.table.datagrams[1].held != 0 {
		t.Fatalf("order %v: something is still held", order)
	}
}

func permutations(n int) (all [][]int) {
	if n == 0 {
		return [][]int{nil}
	}
	for _, p := range permutations(n - 1) {
		for at := range n {
			q := append(append(append([]int{}, p[:at]...), n-1), p[at:]...)
			all = append(all, q)
		}
	}
	return all
}

// The datagram is another where any part of the key is, and of IPv4 the
// protocol belongs to it.
func TestKey(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		r := newRig(t, Options{})
		m := newMessage(v6, packet.UDP, 96)
		r.Decide(r.pass("first", m.part(0, 48, true)).Datagram, 0, true)
		src, dst, id, high := m, m, m, m
		src.src++
		dst.dst++
		id.id++
		high.id |= 1 << 31
		for _, other := range []message{src, dst, id} {
			r.held("another datagram", other.part(48, 96, false))
		}
		if v6 {
			r.held("another high half of the identification", high.part(48, 96, false))
		} else {
			proto := m
			proto.proto = packet.TCP
			r.held("another protocol", proto.part(48, 96, false))
		}
		if got, _ := r.take(1, m.part(48, 96, false)); got.Action != Held {
			t.Fatalf("another side: %+v", got)
		}
		r.pass("its own", m.part(48, 96, false))
	}
}

// Fragments of one IPv6 datagram may say different protocols; the first one's
// is meant (RFC 8200, 4.5).
func TestProtocolIsTheFirstOnes(t *testing.T) {
	r := newRig(t, Options{})
	m := newMessage(true, packet.UDP, 96)
	r.Decide(r.pass("first", m.part(0, 48, true)).Datagram, 0, true)
	lie := m
	lie.proto = 50
	if got, v := r.take(lan, lie.part(48, 96, false)); got.Action != Pass || v.Proto != packet.UDP || v.SrcPort != srcPort {
		t.Fatalf("%+v %+v", got, v)
	}
}

func TestRefusedFirst(t *testing.T) {
	forAll(t, 240, func(t *testing.T, m message) {
		r := newRig(t, Options{})
		parts := m.cut(48)
		r.held("early", parts[2])
		r.held("early", parts[1])
		d := r.pass("first", parts[0]).Datagram
		if n := r.Decide(d, 0, false); n != 2 {
			t.Fatalf("%d lost", n)
		}
		if out := r.release(d); out != nil {
			t.Fatalf("released % x", out)
		}
		for range 2 { // a contradiction does not change the reason
			r.drop("later", parts[3], packet.FragmentUnknown)
			r.drop("first again", parts[0], packet.FragmentUnknown)
		}
		if n := r.Decide(d, 0, true); n != 0 {
			t.Fatalf("%d lost by deciding again", n)
		}
		r.drop("last", parts[4], packet.FragmentUnknown)
		r.now += 30
		if n := r.Expire(r.now); n != 0 {
			t.Fatalf("%d lost again", n)
		}
	})
}

// A decision stands, even if the caller forgets that it made one.
func TestDecideTwice(t *testing.T) {
	r := newRig(t, Options{})
	m := newMessage(false, packet.UDP, 192)
	r.held("early", m.part(144, 192, false))
	d := r.pass("first", m.part(0, 48, true)).Datagram
	if out := r.release(d); out != nil {
		t.Fatalf("released before the decision: % x", out)
	}
	r.Decide(d, 3, true)
	r.Decide(d, 4, true)
	r.Decide(d, 5, false)
	if got := r.pass("later", m.part(48, 96, true)); got.ID != 3 {
		t.Fatalf("%+v", got)
	}
	if r.Decide(Datagram{}, 1, true) != 0 || r.release(Datagram{}) != nil {
		t.Fatal("the zero Datagram is one")
	}
}

// Addresses are changed before the decision is told, and while the held
// fragments go out.
func TestRewritingDoesNotLoseTheDatagram(t *testing.T) {
	r := newRig(t, Options{})
	m := newMessage(false, packet.UDP, 144)
	r.held("early", m.part(96, 144, false))
	b := m.part(0, 48, true)
	v := decode(t, b)
	got := r.Take(lan, b, v, r.now)
	packet.SetSource(b, v, packet.Addr4(0x01020304), 9, false)
	packet.SetID(b, v, 77)
	r.Decide(got.Datagram, 77, true)
	n := 0
	r.Release(got.Datagram, func(b []byte, v *packet.View) {
		packet.SetSource(b, v, packet.Addr4(0x01020304), 9, false)
		packet.SetID(b, v, 77)
		if packet.VerifyHeader(b, v) != packet.OK || decode(t, b).ID != 77 {
			t.Errorf("% x", b)
		}
		n++
	})
	if n != 1 || r.pass("later", m.part(48, 96, true)).ID != 77 {
		t.Fatalf("%d released", n)
	}
}

// While a callback runs, others come and go, of the same datagram too.
func TestReleaseDoesNotHoldTheLock(t *testing.T) {
	r := newRig(t, Options{})
	m := newMessage(false, packet.UDP, 48*6)
	r.held("early", m.part(48, 96, true))
	r.held("early", m.part(144, 192, true))
	d := r.pass("first", m.part(0, 48, true)).Datagram
	r.Decide(d, 0, true)
	n := 0
	r.Release(d, func(b []byte, v *packet.View) {
		if n++; n == 1 {
			r.pass("later", m.part(96, 144, true))
			r.want("overlap", m.part(96, 144, true), Drop, packet.FragmentOverlap, 1)
		}
	})
	if n != 1 {
		t.Fatalf("%d released of a datagram that turned bad", n)
	}
}

// Packets larger than a block, and held ones of all sizes, come out as they
// went in.
func TestHeldBytes(t *testing.T) {
	rng := newRandom(t)
	r := newRig(t, Options{Bytes: 8 << 20})
	for _, size := range []int{8, 472, 480, 488, 496, 504, 512, 984, 992, 1000, 1024, 1472, 9000, 65480} {
		m := newMessage(false, packet.UDP, 65508)
		m.id = uint32(size)
		for i := range m.data[8:] {
			m.data[8+i] = byte(rng.Uint32())
		}
		early := m.part(16, 16+size, true)
		r.held("early", early)
		d := r.pass("first", m.part(0, 16, true)).Datagram
		r.Decide(d, 0, true)
		if out := r.release(d); len(out) != 1 || !bytes.Equal(out[0], early) {
			t.Fatalf("%d bytes came back different", size)
		}
	}
}
