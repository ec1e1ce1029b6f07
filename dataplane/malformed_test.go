package dataplane

import (
	"bytes"
	"fmt"
	"testing"

	"turnout/classifier/packet"
	"turnout/dataplane/segment"
	"turnout/tests/hostile"
)

// Each malformed packet comes in on each side, in the middle of good ones. What
// becomes of it is what docs/malformed.md says, it is counted once and for that
// reason, nothing else comes out anywhere, and the flows around it live on.
func TestMalformed(t *testing.T) {
	bufs := buffers()
	for _, c := range append(hostile.Cases(), hostile.Datagrams()...) {
		for side, want := range c.Want {
			if want.Outcome == hostile.Nowhere {
				continue
			}
			side := hostile.Side(side)
			t.Run(fmt.Sprintf("M%d/%v/%s", c.Class, side, c.Name), func(t *testing.T) {
				newSeams(t, bufs).try(t, &c, side)
			})
		}
	}
}

// try puts the packets of a case in and judges what becomes of the last.
func (s *seams) try(t *testing.T, c *hostile.Case, side hostile.Side) {
	t.Helper()
	pkts := c.Packets(s.talk[side])
	last := pkts[len(pkts)-1]
	for _, pkt := range pkts[:len(pkts)-1] {
		s.put(side, c.Header, pkt)
	}
	if len(pkts) > 1 {
		s.settle()
	}
	before, tunnel := s.drops(), countsOf(&s.se.Dropped)
	s.put(side, c.Header, last)
	out := s.settle()

	want := c.Want[side]
	waits := want.Reason == packet.FragmentUnknown
	if waits { // for its first, until its time is over
		s.Dropped.lost(want.Reason, s.fragments.Expire(uint32(s.now())+60))
	}
	expected := before
	if want.Reason != packet.OK {
		expected[want.Reason]++
	}
	for r, n := range s.drops() {
		if n != expected[r] {
			t.Errorf("counted %d times as %v, want %d", n-before[r], packet.Reason(r), expected[r]-before[r])
		}
	}
	if r := want.Reason; side == hostile.Tunnel && r != packet.OK && !waits && s.se.Dropped[r].Load() != tunnel[r]+1 {
		t.Errorf("the tunnel does not count it as %v", r)
	}
	same, other := out[side], out[1-side]
	switch want.Outcome {
	case hostile.Drop:
		if len(same)+len(other) > 0 {
			t.Errorf("%d packets come back and %d go on, want none", len(same), len(other))
		}
	case hostile.Answer:
		if len(same) != 1 || len(other) > 0 {
			t.Fatalf("%d packets come back and %d go on, want one answer", len(same), len(other))
		}
		if err := answersTo(same[0].packet, last); err != nil {
			t.Error(err)
		}
	default:
		if len(same) > 0 || len(other) == 0 {
			t.Fatalf("%d packets come back and %d go on, want it to go on", len(same), len(other))
		}
		s.carried(t, side, c.Header, last, other)
	}
}

func countsOf(d *Drops) (n [packet.NumReasons]uint64) {
	d.Each(func(r packet.Reason, count uint64) { n[r] = count })
	return n
}

// answersTo says what is wrong with an ICMP error about a packet.
func answersTo(b, about []byte) error {
	var v, e, in packet.View
	if why := v.Decode(b); why != packet.OK {
		return fmt.Errorf("the answer is malformed: %v", why)
	}
	if why := packet.VerifyHeader(b, &v); why != packet.OK || !v.IsError {
		return fmt.Errorf("the answer is no sound ICMP error: %v, %+v", why, v)
	}
	in.Decode(about)
	if v.Embedded(b, &e); v.Dst != in.Src || e.Src != in.Src || e.Dst != in.Dst || e.SrcPort != in.SrcPort || e.DstPort != in.DstPort {
		return fmt.Errorf("the answer to a packet from %v to %v goes to %v and is about %v to %v", in.Src, in.Dst, v.Dst, e.Src, e.Dst)
	}
	return nil
}

// carried wants the outputs to be the packet that came in on one side, in one
// piece or several, with other addresses and nothing else new.
func (s *seams) carried(t *testing.T, side hostile.Side, h segment.Header, in []byte, outs []output) {
	t.Helper()
	v := new(packet.View)
	if why := v.Decode(in); why != packet.OK {
		t.Fatalf("a packet that does not decode went on: %v", why)
	}
	src, dst := own, far
	if side == hostile.Tunnel {
		src, dst = far, host
	}
	for _, o := range outs {
		p := new(packet.View)
		if why := p.Decode(o.packet); why != packet.OK {
			t.Fatalf("what goes on is malformed: %v: %x", why, o.packet[:min(len(o.packet), 80)])
		}
		if p.Src.String() != src || p.Dst.String() != dst || p.TTL != v.TTL {
			t.Errorf("it goes on from %v to %v with TTL %d", p.Src, p.Dst, p.TTL)
		}
		if side == hostile.LAN && len(o.packet) > s.se.opt.MTU {
			t.Errorf("it goes on in %d bytes", len(o.packet))
		}
		if true1, true0 := truthful(o.packet, p), h.Flags != 0 || truthful(in, v); true1 != true0 {
			t.Errorf("its checksums were true: %v, and now: %v", true0, true1)
		}
	}
	if got, want := together(t, outs), constant(in, v); !bytes.Equal(got, want) {
		t.Errorf("%d bytes of payload went on as %d others", len(want), len(got))
	}
}

// truthful reports whether the checksums of a whole packet are true; those of
// fragments count as true.
func truthful(b []byte, v *packet.View) bool {
	b = b[:v.Len]
	if packet.Checksum(b[:v.L4], 0) != 0xffff {
		return false
	}
	l4 := b[v.L4:]
	switch {
	case v.Frag != packet.Whole, v.Proto == packet.UDP && l4[6]|l4[7] == 0:
		return true
	case v.Proto == packet.TCP, v.Proto == packet.UDP:
		return packet.Checksum(l4, packet.PseudoSum(v, len(l4))) == 0xffff
	}
	return packet.VerifyHeader(b, v) == packet.OK
}

// constant is what of a packet no router has a reason to change: the payload,
// of an ICMP error what follows the quoted headers.
func constant(b []byte, v *packet.View) []byte {
	b = b[v.Payload:v.Len]
	if v.IsError {
		return b[28:]
	}
	return b
}

// together puts what is constant of a packet in pieces together again.
func together(t *testing.T, outs []output) (all []byte) {
	t.Helper()
	var fragments [][]byte
	for _, o := range outs {
		v := new(packet.View)
		v.Decode(o.packet)
		if v.Frag != packet.Whole {
			fragments = append(fragments, o.packet)
			continue
		}
		all = append(all, constant(o.packet, v)...)
	}
	if fragments != nil {
		all = append(all, reassemble(t, fragments)[8:]...) // of UDP
	}
	return all
}
