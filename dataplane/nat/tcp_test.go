package nat

import (
	"testing"

	"turnout/classifier/packet"
)

const (
	fin, syn, rst, ack = packet.FIN, packet.SYN, packet.RST, packet.ACK
)

func tcp(src packet.Addr, sport uint16, dst packet.Addr, dport uint16, flags uint8, seq, ackn uint32) pkt {
	return pkt{src: src, dst: dst, proto: packet.TCP, sport: sport, dport: dport,
		flags: flags, seq: seq, ack: ackn, window: 1000, payload: nil}
}

// A step of a conversation between LAN host 1 (sequence numbers from 1000) and
// remote 1 (from 9000): who sends what, and what becomes of it.
type step struct {
	dir      int
	flags    uint8
	seq, ack uint32
	data     int
	want     packet.Reason
	state    State // afterwards
}

// handshake is how every ordinary conversation starts.
var handshake = []step{
	{out, syn, 1000, 0, 0, packet.OK, TCPOpening},
	{in, syn | ack, 9000, 1001, 0, packet.OK, TCPAnswered},
	{out, ack, 1001, 9001, 0, packet.OK, TCPUp},
}

func after(steps ...step) []step { return append(append([]step(nil), handshake...), steps...) }

// far is a distance that no window of 64 KiB reaches.
var far uint32 = 1 << 20

func TestRow16TCPStates(t *testing.T) {
	for _, c := range []struct {
		name  string
		steps []step
	}{
		{"data both ways", after(
			step{out, ack, 1001, 9001, 1000, packet.OK, TCPUp},
			step{in, ack, 9001, 2001, 1000, packet.OK, TCPUp},
			step{in, ack, 9001 + far, 2001, 10, packet.OK, TCPUp}, // liberal with data
		)},
		{"SYN sent again", []step{
			{out, syn, 1000, 0, 0, packet.OK, TCPOpening},
			{out, syn, 1000, 0, 0, packet.OK, TCPOpening},
			{in, syn | ack, 9000, 1001, 0, packet.OK, TCPAnswered},
		}},
		{"data in the SYN not taken", []step{
			{out, syn, 1000, 0, 500, packet.OK, TCPOpening},
			{in, syn | ack, 9000, 1001, 0, packet.OK, TCPAnswered},
			{out, ack, 1001, 9001, 500, packet.OK, TCPUp},
		}},
		{"simultaneous open", []step{
			{out, syn, 1000, 0, 0, packet.OK, TCPOpening},
			{in, syn, 9000, 0, 0, packet.OK, TCPAnswered},
			{out, syn | ack, 1000, 9001, 0, packet.OK, TCPUp},
			{in, syn | ack, 9000, 1001, 0, packet.OK, TCPUp},
			{out, ack, 1001, 9001, 0, packet.OK, TCPUp},
		}},
		{"SYN-ACK of another connection", []step{
			{out, syn, 1000, 0, 0, packet.OK, TCPOpening},
			{in, syn | ack, 9000, 5, 0, packet.OK, TCPOpening},
			{in, ack, 9000, 5, 0, packet.OK, TCPOpening}, // challenge ACK
			{out, rst, 5, 0, 0, packet.OK, TCPOpening},
		}},
		{"refused", []step{
			{out, syn, 1000, 0, 0, packet.OK, TCPOpening},
			{in, rst | ack, 0, 5, 0, packet.InvalidState, TCPOpening},
			{in, rst, 0, 0, 0, packet.InvalidState, TCPOpening},
			{in, rst | ack, 0, 1001, 0, packet.OK, TCPReset},
		}},
		{"refused, but not silent", []step{
			{out, syn, 1000, 0, 0, packet.OK, TCPOpening},
			{in, rst | ack, 0, 1001, 0, packet.OK, TCPReset},
			{out, ack, 1001, 77, 0, packet.OK, TCPReset}, // the remote end's numbers are unknown
			{in, rst | ack, 0, 1001, 0, packet.OK, TCPReset},
			{in, rst | ack, 0, 5, 0, packet.InvalidState, TCPReset},
			{in, syn | ack, 9000, 1001, 0, packet.OK, TCPAnswered},
		}},
		{"orderly close by the LAN", after(
			step{out, fin | ack, 1001, 9001, 10, packet.OK, TCPClosing},
			step{in, ack, 9001, 1012, 700, packet.OK, TCPClosing},
			step{in, fin | ack, 9701, 1012, 0, packet.OK, TCPClosing},
			step{out, ack, 1012, 9702, 0, packet.OK, TCPClosing},
		)},
		{"orderly close by the remote end", after(
			step{in, fin | ack, 9001, 1001, 0, packet.OK, TCPClosing},
			step{out, fin | ack, 1001, 9002, 0, packet.OK, TCPClosing},
			step{in, ack, 9002, 1002, 0, packet.OK, TCPClosing},
		)},
		{"a far FIN ends nothing", after(
			step{in, fin | ack, 9001 + far, 1001, 0, packet.OK, TCPUp},
			step{in, fin | ack, 9001 - far, 1001, 0, packet.OK, TCPUp},
		)},
		{"nor does one that is merely near", after(
			step{in, fin | ack, 9002, 1001, 0, packet.OK, TCPUp},
			step{in, fin | ack, 9000, 1001, 0, packet.OK, TCPUp},
		)},
		{"FIN with data, before they are acknowledged", after(
			step{in, ack, 9001, 1001, 500, packet.OK, TCPUp},
			step{in, fin | ack, 9301, 1001, 200, packet.OK, TCPClosing},
		)},
		{"FIN after a RST that ended nothing", after(
			step{in, rst, 9001, 0, 0, packet.OK, TCPReset},
			step{out, fin | ack, 1001, 9001, 0, packet.OK, TCPReset},
			step{out, ack, 1002, 9001, 0, packet.OK, TCPClosing},
		)},
		{"RST of the remote end", after(
			step{in, ack, 9001, 1001, 500, packet.OK, TCPUp},
			step{in, rst, 9501, 0, 0, packet.OK, TCPReset},
		)},
		{"RST that answers what the LAN has acknowledged", after(
			step{in, ack, 9001, 1001, 500, packet.OK, TCPUp},
			step{in, rst, 9001, 0, 0, packet.OK, TCPReset},
		)},
		{"a near RST passes and ends nothing", after(
			step{in, rst, 9002, 0, 0, packet.OK, TCPUp},
			step{in, rst, 8990, 0, 0, packet.OK, TCPUp},
		)},
		{"a far RST is refused", after(
			step{in, rst, 9001 + far, 0, 0, packet.InvalidState, TCPUp},
			step{in, rst, 9001 - far, 0, 0, packet.InvalidState, TCPUp},
			step{in, rst | ack, 0, 1001, 0, packet.OK, TCPUp}, // 9001 away: near
		)},
		{"forged data does not prepare a RST", after(
			step{in, ack, 9001 + far, 1001, 100, packet.OK, TCPUp},
			step{in, rst, 9101 + far, 0, 0, packet.InvalidState, TCPUp},
		)},
		{"RST of the LAN", after(
			step{out, rst, 77, 0, 0, packet.OK, TCPUp}, // passes, is not believed
			step{out, rst | ack, 1001, 9001, 0, packet.OK, TCPReset},
		)},
		{"alive after a RST", after(
			step{in, rst, 9001, 0, 0, packet.OK, TCPReset},
			step{out, ack, 1001, 9001, 10, packet.OK, TCPUp},
		)},
		{"half closed, RST, alive: still closing", after(
			step{out, fin | ack, 1001, 9001, 0, packet.OK, TCPClosing},
			step{in, rst, 9001, 0, 0, packet.OK, TCPReset},
			step{out, ack, 1002, 9001, 0, packet.OK, TCPClosing},
		)},
		{"SYN of the remote end", after(
			step{in, syn, 9001, 0, 0, packet.InvalidState, TCPUp},
		)},
		{"SYN sent again in an established connection", after(
			step{out, syn, 1000, 0, 0, packet.OK, TCPUp},
			step{in, ack, 9001, 1001, 0, packet.OK, TCPUp},
		)},
		{"LAN host begun anew, the remote end not", after(
			step{out, syn, 5_000_000, 0, 0, packet.OK, TCPOpening},
			step{in, ack, 9001, 1001, 0, packet.OK, TCPOpening}, // challenge ACK
			step{out, rst, 1001, 0, 0, packet.OK, TCPOpening},
			step{out, syn, 5_000_000, 0, 0, packet.OK, TCPOpening},
			step{in, syn | ack, 70_000, 5_000_001, 0, packet.OK, TCPAnswered},
			step{out, ack, 5_000_001, 70_001, 0, packet.OK, TCPUp},
		)},
		{"LAN host begun anew, and refused", after(
			step{out, syn, 5_000_000, 0, 0, packet.OK, TCPOpening},
			step{in, rst | ack, 0, 1001, 0, packet.InvalidState, TCPOpening},
			step{in, rst | ack, 0, 5_000_001, 0, packet.OK, TCPReset},
		)},
		{"loose pickup", []step{
			{out, ack, 1001, 9001, 100, packet.OK, TCPPicked},
			{in, ack, 9001, 1101, 0, packet.OK, TCPUp},
		}},
		{"loose pickup refused by the remote end", []step{
			{out, ack, 1001, 9001, 100, packet.OK, TCPPicked},
			{in, rst, 9001, 0, 0, packet.OK, TCPReset},
		}},
		{"sequence numbers wrap", []step{
			{out, syn, 0xffffffff, 0, 0, packet.OK, TCPOpening},
			{in, syn | ack, 0xfffffff0, 0, 0, packet.OK, TCPAnswered},
			{out, ack, 0, 0xfffffff1, 0, packet.OK, TCPUp},
			{in, ack, 0xfffffff1, 0, 100, packet.OK, TCPUp},
			{in, rst, 0x55, 0, 0, packet.OK, TCPReset},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			bothFamilies(t, func(t *testing.T, fam family) { play(newRig(t, 0), fam, c.steps) })
		})
	}
}

func play(r *rig, fam family, steps []step) {
	r.Helper()
	for n, s := range steps {
		p := tcp(fam.lan1, 5000, fam.remote1, 443, s.flags, s.seq, s.ack)
		if s.dir == in {
			p = tcp(fam.remote1, 443, fam.ext1, 5000, s.flags, s.seq, s.ack)
		}
		p.payload = make([]byte, s.data)
		var got packet.Reason
		if s.dir == out {
			_, _, got = r.out(p, fam.pin1())
		} else {
			_, _, got = r.in(p, 3)
		}
		if got != s.want {
			r.Fatalf("step %d: %v, want %v", n, got, s.want)
		}
		if state := r.only().State; state != s.state {
			r.Fatalf("step %d: state %v, want %v", n, state, s.state)
		}
	}
	r.verify()
}

// only returns the one flow of the table.
func (r *rig) only() (f Flow) {
	r.Helper()
	n := 0
	r.Each(func(g Flow) bool { f = g; n++; return true })
	if n != 1 {
		r.Fatalf("%d flows, want 1", n)
	}
	return f
}

// What answers something that was never seen cannot start a flow.
func TestRow17TCPFiltering(t *testing.T) {
	bothFamilies(t, func(t *testing.T, fam family) {
		for _, flags := range []uint8{syn | ack, rst, rst | ack, fin | ack} {
			r := newRig(t, 0)
			if _, _, got := r.out(tcp(fam.lan1, 5000, fam.remote1, 443, flags, 1, 1), fam.pin1()); got != packet.InvalidState {
				t.Errorf("flags %#x: %v, want invalid-state", flags, got)
			}
			if r.Len() != 0 {
				t.Errorf("flags %#x made a flow", flags)
			}
		}
		// Flags that the decoder refuses already are refused here too.
		for _, flags := range []uint8{0, fin, syn | fin, syn | rst, fin | rst, fin | syn | rst | ack} {
			b := tcp(fam.lan1, 5000, fam.remote1, 443, syn, 1, 1).bytes()
			v := decode(t, b)
			v.Flags = flags
			if _, got := New(Options{}).Open(b, v, LAN, fam.pin1(), 1); got != packet.InvalidState {
				t.Errorf("flags %#x: %v, want invalid-state", flags, got)
			}
		}
		// And nothing out of a tunnel starts one.
		r := newRig(t, 0)
		for _, flags := range []uint8{syn, syn | ack, ack, rst, fin | ack} {
			r.mustIn(tcp(fam.remote1, 443, fam.ext1, 5000, flags, 1, 1), 3, packet.NoFlow)
		}
	})
}

// A SYN where the old connection is over starts a new one, by today's policy.
func TestRow35Reopens(t *testing.T) {
	for name, steps := range map[string][]step{
		"closing": after(
			step{out, fin | ack, 1001, 9001, 0, packet.OK, TCPClosing},
			step{in, fin | ack, 9001, 1002, 0, packet.OK, TCPClosing}),
		"reset":  after(step{in, rst, 9001, 0, 0, packet.OK, TCPReset}),
		"picked": {{out, ack, 1001, 9001, 0, packet.OK, TCPPicked}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 0)
			play(r, v4, steps)
			f, _ := r.mustOut(tcp(v4.lan1, 5000, v4.remote1, 443, syn, 70000, 0), v4.pin2())
			if f.Exit != 4 || f.State != TCPOpening || f.Port != 5000 || r.Len() != 1 {
				t.Fatalf("flow %+v, %d flows", f, r.Len())
			}
			r.mustIn(tcp(v4.remote1, 443, v4.ext1, 5000, ack, 9002, 1002), 3, packet.NoFlow)
		})
	}
}

// The port depends on the remote end, and is shared where that differs.
func TestRow15EndpointDependentMapping(t *testing.T) {
	bothFamilies(t, func(t *testing.T, fam family) {
		r := newRig(t, 0)
		r.mustOut(tcp(fam.lan1, 5001, fam.remote1, 443, syn, 1, 0), fam.pin1())
		if f, _ := r.mustOut(tcp(fam.lan2, 5001, fam.remote2, 443, syn, 1, 0), fam.pin1()); f.Port != 5001 {
			t.Fatalf("port %d, 5001 is free towards this remote", f.Port)
		}
		f, _ := r.mustOut(tcp(fam.lan2, 5001, fam.remote1, 443, syn, 1, 0), fam.pin1())
		if f.Port == 5001 || f.Port < 1024 || f.Port%2 != 1 {
			t.Fatalf("port %d in place of 5001", f.Port)
		}
		for port, lan := range map[uint16]packet.Addr{5001: fam.lan1, f.Port: fam.lan2} {
			g, b := r.mustIn(tcp(fam.remote1, 443, fam.ext1, port, syn|ack, 1, 2), 3, packet.OK)
			if v := decode(t, b); g.LAN != lan || v.Dst != lan || v.DstPort != 5001 {
				t.Fatalf("port %d: to %v:%d, want %v:5001", port, v.Dst, v.DstPort, lan)
			}
		}
		r.verify()
	})
}

// The window scale of both SYNs counts, and only when both have it.
func TestRow35WindowScale(t *testing.T) {
	option := func(shift uint8) []byte { return []byte{1, 3, 3, shift} }
	for _, c := range []struct {
		name     string
		out, in  []byte
		distance uint32
		want     packet.Reason
	}{
		{"no scale, beyond", nil, nil, minWindow + 1, packet.InvalidState},
		{"no scale, within", nil, nil, minWindow, packet.OK},
		{"both, within", option(7), option(2), 1000 << 7, packet.OK},
		{"both, beyond", option(7), option(2), 1000<<7 + 1, packet.InvalidState},
		{"one only", option(7), nil, 1000 << 7, packet.InvalidState},
		{"more than allowed is 14", option(200), option(0), 1000<<14 + 1, packet.InvalidState},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, 0)
			p := tcp(v4.lan1, 5000, v4.remote1, 443, syn, 1000, 0)
			p.options = c.out
			r.mustOut(p, v4.pin1())
			p = tcp(v4.remote1, 443, v4.ext1, 5000, syn|ack, 9000, 1001)
			p.options = c.in
			r.mustIn(p, 3, packet.OK)
			r.mustOut(tcp(v4.lan1, 5000, v4.remote1, 443, ack, 1001, 9001), v4.pin1())
			r.mustIn(tcp(v4.remote1, 443, v4.ext1, 5000, rst, 9001+c.distance, 0), 3, c.want)
			if s := r.only().State; s != TCPUp {
				t.Fatalf("state %v", s)
			}
		})
	}
}

func TestRow19TCPTimers(t *testing.T) {
	for _, c := range []struct {
		name  string
		steps []step
		life  Tick
	}{
		{"opening", handshake[:1], 240},
		{"answered", handshake[:2], 240},
		{"established", handshake, 7440},
		{"closing", after(step{out, fin | ack, 1001, 9001, 0, packet.OK, TCPClosing}), 240},
		{"reset", after(step{in, rst, 9001, 0, 0, packet.OK, TCPReset}), 240},
		{"picked", []step{{out, ack, 1, 1, 0, packet.OK, TCPPicked}}, 240},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, 0)
			play(r, v4, c.steps)
			if n := r.Expire(r.now + c.life - 1); n != 0 {
				t.Fatal("expired too early")
			}
			if n := r.Expire(r.now + c.life); n != 1 || r.Len() != 0 {
				t.Fatal("did not expire")
			}
			r.verify()
		})
	}
}

// Data from the remote end alone, and repeated RST or FIN, keep nothing alive.
func TestRow39InboundAndResetsDoNotRefresh(t *testing.T) {
	r := newRig(t, 0)
	play(r, v4, handshake)
	r.now += 7000
	play(r, v4, []step{{in, ack, 9001, 1001, 10, packet.OK, TCPUp}})
	if f := r.only(); f.TouchedAt != 1000 {
		t.Fatalf("touched at %d", f.TouchedAt)
	}
	play(r, v4, []step{{in, fin | ack, 9011, 1001, 0, packet.OK, TCPClosing}})
	r.now += 200
	play(r, v4, []step{
		{in, fin | ack, 9011, 1001, 0, packet.OK, TCPClosing},
		{in, rst, 9012, 1001, 0, packet.OK, TCPReset},
	})
	r.now += 200
	play(r, v4, []step{
		{in, rst, 9012, 1001, 0, packet.OK, TCPReset},
		{out, rst, 1001, 0, 0, packet.OK, TCPReset},
	})
	if n := r.Expire(r.now + 40); n != 1 {
		t.Fatal("kept alive from outside")
	}
}
