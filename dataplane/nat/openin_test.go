package nat

import (
	"testing"

	"turnout/classifier/packet"
)

// forward opens p, which comes from exit 3, towards LAN host 1 port 8080.
func (r *rig) forward(p pkt, fam family) (Flow, []byte, packet.Reason) {
	r.Helper()
	b := p.bytes()
	v := decode(r, b)
	f, reason := r.In(b, v, 3, r.now)
	if reason == packet.NoFlow {
		f, reason = r.OpenIn(b, v, fam.pin1(), Door{LAN: fam.lan1, LANPort: 8080}, r.now)
	}
	if reason != packet.OK {
		return f, nil, reason
	}
	f.RewriteIn(b, v, false)
	mustBeTrue(r.T, b)
	return f, b, reason
}

// playForward is play for a connection that the remote end (sequence numbers
// from 9000) began to a forwarded port.
func playForward(r *rig, fam family, steps []step) {
	r.Helper()
	for n, s := range steps {
		var got packet.Reason
		if s.dir == out {
			p := tcp(fam.lan1, 8080, fam.remote1, 443, s.flags, s.seq, s.ack)
			p.payload = make([]byte, s.data)
			_, _, got = r.out(p, fam.pin2())
		} else {
			p := tcp(fam.remote1, 443, fam.ext1, 80, s.flags, s.seq, s.ack)
			p.payload = make([]byte, s.data)
			_, _, got = r.forward(p, fam)
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

var forwardedHandshake = []step{
	{in, syn, 9000, 0, 0, packet.OK, TCPOpening},
	{out, syn | ack, 1000, 9001, 0, packet.OK, TCPAnswered},
	{in, ack, 9001, 1001, 0, packet.OK, TCPUp},
}

func afterForwarded(steps ...step) []step {
	return append(append([]step(nil), forwardedHandshake...), steps...)
}

// RFC 5382 REQ-2 and RFC 7857 section 2 hold for connections of either opener.
func TestRow16ForwardedTCPStates(t *testing.T) {
	for name, steps := range map[string][]step{
		"SYN again, before and after the answer": {
			{in, syn, 9000, 0, 0, packet.OK, TCPOpening},
			{in, syn, 9000, 0, 0, packet.OK, TCPOpening},
			{out, syn | ack, 1000, 9001, 0, packet.OK, TCPAnswered},
			{in, syn, 9000, 0, 0, packet.OK, TCPAnswered},
			{out, syn | ack, 1000, 9001, 0, packet.OK, TCPAnswered},
			{in, ack, 9001, 1001, 0, packet.OK, TCPUp},
		},
		"simultaneous open": {
			{in, syn, 9000, 0, 0, packet.OK, TCPOpening},
			{out, syn, 1000, 0, 0, packet.OK, TCPAnswered},
			{in, syn | ack, 9000, 1001, 0, packet.OK, TCPUp},
		},
		"refused by the host": {
			{in, syn, 9000, 0, 0, packet.OK, TCPOpening},
			{out, rst | ack, 0, 9001, 0, packet.OK, TCPReset},
			{in, syn, 9000, 0, 0, packet.OK, TCPReset},
			{in, syn, 99_000, 0, 0, packet.OK, TCPOpening}, // anew
		},
		"given up by the remote end": {
			{in, syn, 9000, 0, 0, packet.OK, TCPOpening},
			{in, rst, 9005, 0, 0, packet.InvalidState, TCPOpening},
			{in, rst, 9001, 0, 0, packet.OK, TCPReset},
		},
		"closed by both": afterForwarded(
			step{in, fin | ack, 9001, 1001, 0, packet.OK, TCPClosing},
			step{out, fin | ack, 1001, 9002, 0, packet.OK, TCPClosing},
			step{in, syn, 9000, 0, 0, packet.OK, TCPClosing}, // an old one, for the host to judge
			step{in, syn, 99_000, 0, 0, packet.OK, TCPOpening},
		),
		"the remote end has forgotten it": afterForwarded(
			step{in, syn, 500, 0, 0, packet.OK, TCPUp},
			step{out, ack, 1001, 9001, 0, packet.OK, TCPUp}, // challenge ACK
			step{in, rst, 9001, 0, 0, packet.OK, TCPReset},
			step{in, syn, 99_000, 0, 0, packet.OK, TCPOpening},
		),
		"a forged RST": afterForwarded(
			step{in, rst, 9001 + far, 0, 0, packet.InvalidState, TCPUp},
			step{in, rst, 9002, 0, 0, packet.OK, TCPUp},
		),
	} {
		t.Run(name, func(t *testing.T) {
			bothFamilies(t, func(t *testing.T, fam family) { playForward(newRig(t, 0), fam, steps) })
		})
	}
}

// A datagram to a forward reaches the host, whose answer comes from there; the
// remote end, which began, keeps the flow alive.
func TestForwardedUDP(t *testing.T) {
	bothFamilies(t, func(t *testing.T, fam family) {
		r := newRig(t, 0)
		p := udp(fam.remote1, 443, fam.ext1, 80)
		f, b, reason := r.forward(p, fam)
		if v := decode(t, b); reason != packet.OK || v.Dst != fam.lan1 || v.DstPort != 8080 || !f.Inbound {
			t.Fatalf("%v: %v:%d, flow %+v", reason, v.Dst, v.DstPort, f)
		}
		for range 3 {
			r.now += 100
			r.forward(p, fam)
		}
		f, b = r.mustOut(udp(fam.lan1, 8080, fam.remote1, 443), fam.pin2())
		if v := decode(t, b); v.Src != fam.ext1 || v.SrcPort != 80 || f.State != UDPTwoWay || f.StartedAt != 1000 {
			t.Fatalf("answered from %v:%d, flow %+v", v.Src, v.SrcPort, f)
		}
		r.verify()
	})
}

// Only what starts a conversation opens one from outside, and only of one
// family.
func TestOpenInRefuses(t *testing.T) {
	r := newRig(t, 0)
	later := udp(v4.remote1, 443, v4.ext1, 80)
	later.frag = packet.Later
	for name, c := range map[string]struct {
		p    pkt
		d    Door
		want packet.Reason
	}{
		"SYN-ACK":          {tcp(v4.remote1, 1, v4.ext1, 80, syn|ack, 1, 1), Door{LAN: v4.lan1}, packet.InvalidState},
		"ACK":              {tcp(v4.remote1, 1, v4.ext1, 80, ack, 1, 1), Door{LAN: v4.lan1}, packet.InvalidState},
		"echo reply":       {v4.echo(v4.remote1, v4.ext1, 80, v4.reply), Door{LAN: v4.lan1}, packet.InvalidState},
		"later fragment":   {later, Door{LAN: v4.lan1}, packet.FragmentUnknown},
		"the other family": {udp(v4.remote1, 1, v4.ext1, 80), Door{LAN: v6.lan1}, packet.NoFreePort},
		"and inside":       {udp(v4.remote1, 1, v4.ext1, 80), Door{LAN: v4.lan1, Inside: v6.lan2}, packet.NoFreePort},
	} {
		b := c.p.bytes()
		if _, got := r.OpenIn(b, decode(t, b), v4.pin1(), c.d, r.now); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	r.verify()
	if r.Len() != 0 || r.addrs.used != 0 {
		t.Errorf("%d flows and %d addresses were left", r.Len(), r.addrs.used)
	}
}
