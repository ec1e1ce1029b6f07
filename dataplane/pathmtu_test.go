package dataplane

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"turnout/classifier/packet"
	"turnout/dataplane/segment"
)

// tooBig checks an ICMP "fragmentation needed": who says it, to whom, the MTU
// that it tells, and that it quotes the packet as its sender made it.
func tooBig(t *testing.T, b []byte, from, to string, mtu int, sent []byte) {
	t.Helper()
	if b == nil {
		t.Fatal("nobody is told that the packet is too big")
	}
	v := sound(t, b)
	if v.Src != addrOf(from) || v.Dst != addrOf(to) || v.Proto != packet.ICMP || v.Type != 3 || v.Code != 4 {
		t.Fatalf("protocol %d, %d/%d from %v to %v, want ICMP 3/4 from %s to %s", v.Proto, v.Type, v.Code, v.Src, v.Dst, from, to)
	}
	if told := binary.BigEndian.Uint16(b[v.L4+6:]); int(told) != mtu {
		t.Errorf("it tells an MTU of %d, want %d", told, mtu)
	}
	if quote := b[v.L4+8:]; len(quote) < 28 || !bytes.HasPrefix(sent, quote) {
		t.Errorf("it quotes % x, which is not how % x begins", quote[:28], sent[:28])
	}
}

// readAll returns a tunnel's packets up to the one that ends with mark, which
// is left out.
func readAll(t *testing.T, tun *Tunnel, mark []byte) (got [][]byte) {
	t.Helper()
	for {
		for _, b := range read(t, tun, batchSize) {
			if bytes.HasSuffix(b, mark) {
				return got
			}
			got = append(got, b)
		}
	}
}

// datagram is udp with a payload that ends with a mark of its own.
func datagram(src, dst string, sport, dport uint16, mark []byte) []byte {
	b := udp(src, dst, sport, dport, 40)
	copy(b[len(b)-len(mark):], mark)
	seal(b, 6)
	return b
}

// super makes a super-packet of TCP or UDP, n bytes of payload in segments of
// size, as the kernel gives it: the checksum holds the pseudo-header only.
func super(proto uint8, dst string, n, size int) (segment.Header, []byte) {
	h := segment.Header{Flags: segment.NeedsChecksum, GSOSize: uint16(size), CsumStart: 20}
	var b []byte
	if proto == packet.TCP {
		b = tcp(host, dst, 5000, 80, 100, packet.ACK, nil, bytes.Repeat([]byte("0123456789"), n/10))
		h.GSOType, h.HdrLen, h.CsumOffset = segment.GSOTCPv4, 40, 16
	} else {
		b = udp(host, dst, 5000, 80, n)
		h.GSOType, h.HdrLen, h.CsumOffset = segment.GSOUDP, 28, 6
	}
	var v packet.View
	v.Decode(b)
	binary.BigEndian.PutUint16(b[20+h.CsumOffset:], packet.Checksum(nil, packet.PseudoSum(&v, len(b)-20)))
	return h, b
}

// RFC 4787, REQ-13: what is too large for the way and has DF is answered, by the
// largest packet that it stands for; without DF it leaves in fragments, in order.
func TestRow13PathMTU(t *testing.T) {
	for dst, mtu := range map[string]int{far: 1420, site: 1280} { // masqueraded, and not
		for name, of := range map[string]func(over int) (segment.Header, []byte){
			"datagram": func(over int) (segment.Header, []byte) {
				return segment.Header{}, udp(host, dst, 5000, 80, mtu-28+over)
			},
			"super-packet of TCP": func(over int) (segment.Header, []byte) { return super(packet.TCP, dst, 9000, mtu-40+over) },
			"super-packet of UDP": func(over int) (segment.Header, []byte) { return super(packet.UDP, dst, 9000, mtu-28+over) },
			"one short segment":   func(over int) (segment.Header, []byte) { return super(packet.UDP, dst, mtu-28+over, 9000) },
		} {
			t.Run(fmt.Sprintf("%s to %s", name, dst), func(t *testing.T) { fitsTheTunnel(t, dst, mtu, of) })
		}
	}
	t.Run("fragments", fragmentsFit)
	t.Run("towards the LAN", fitsTheLAN)
	t.Run("from tunnel to tunnel", fitsTheOther)
	t.Run("answers", answersFit)
}

// fitsTheTunnel sends packets with DF from the LAN: one byte too large, which
// is answered, and one that fits, which goes on.
func fitsTheTunnel(t *testing.T, dst string, mtu int, of func(over int) (segment.Header, []byte)) {
	w := newWorld(t)
	tun, mark := w.se, []byte("the last one")
	if dst == site {
		tun = w.no
	}
	h, b := of(1)
	w.send(h, setDF(b))
	_, got := w.got()
	tooBig(t, got, router, host, mtu, b)
	w.dropped(packet.TooBig, 1)

	h, b = of(0)
	w.send(h, setDF(b))
	w.send(segment.Header{}, datagram(host, dst, 5000, 80, mark))
	whole := 0
	for _, out := range readAll(t, tun, mark) {
		v := sound(t, out)
		if len(out) > mtu || v.Frag != packet.Whole {
			t.Errorf("%d bytes, fragment %v", len(out), v.Frag)
		}
		whole += len(out) - int(v.Payload)
	}
	if sent := len(b) - payloadOf(b); whole != sent {
		t.Errorf("%d bytes of payload leave, %d were sent", whole, sent)
	}
}

func payloadOf(b []byte) int {
	var v packet.View
	v.Decode(b)
	return int(v.Payload)
}

// sameData reports whether fragments make the payload of a datagram again.
func sameData(t *testing.T, fragments [][]byte, sent []byte) bool {
	t.Helper()
	got := reassemble(t, fragments)
	return len(got) == len(sent)-20 && bytes.Equal(got[8:], sent[28:])
}

// Without DF: in fragments, in order, that fit; fragments as the LAN makes them
// are cut further, and so are the segments of a super-packet.
func fragmentsFit(t *testing.T) {
	w := newWorld(t)
	mark := []byte("the last one")
	whole := udp(host, far, 5000, 53, 4000)
	for _, sent := range [][][]byte{
		{bytes.Clone(whole)},
		pieces(bytes.Clone(whole), 77, 0, 1480, 2960, 4008),
		pieces(bytes.Clone(whole), 78, 0, 1400, 2960, 4008), // one fits as it is
	} {
		for _, b := range sent {
			w.send(segment.Header{}, b)
		}
		w.send(segment.Header{}, datagram(host, far, 5000, 53, mark))
		out := readAll(t, w.se, mark)
		if !sameData(t, out, whole) {
			t.Errorf("a datagram that came as %d packets left as %d, and not whole", len(sent), len(out))
		}
		for _, b := range out {
			if v := sound(t, b); len(b) > 1420 || v.Src != addrOf(own) || v.ID != sound(t, out[0]).ID {
				t.Errorf("a fragment of %d bytes from %v, number %d after %d", len(b), v.Src, v.ID, sound(t, out[0]).ID)
			}
		}
	}
	h, b := super(packet.TCP, far, 9000, 1460)
	w.send(h, b)
	w.send(segment.Header{}, datagram(host, far, 5000, 53, mark))
	var data []byte
	var datagrams [][][]byte
	for _, f := range readAll(t, w.se, mark) {
		if len(f) > 1420 {
			t.Errorf("a fragment of %d bytes", len(f))
		}
		if sound(t, f).Frag != packet.Later {
			datagrams = append(datagrams, nil)
		}
		datagrams[len(datagrams)-1] = append(datagrams[len(datagrams)-1], f)
	}
	for _, d := range datagrams {
		data = append(data, reassemble(t, d)[20:]...)
	}
	if len(datagrams) != 7 || !bytes.Equal(data, b[40:]) {
		t.Errorf("%d segments with %d bytes, want 7 with %d", len(datagrams), len(data), len(b)-40)
	}
}

// Out of a tunnel: the LAN's MTU counts, and the tunnel's host hears it by the
// tunnel. Without DF it is the kernel that fragments, who knows the LAN.
func fitsTheLAN(t *testing.T) {
	w := newWorld(t)
	w.send(segment.Header{}, udp(host, far, 5000, 53, 10))
	read(t, w.se, 1)
	sent := setDF(udp(far, own, 53, 5000, 1500-28+1))
	give(t, w.se, sent)
	tooBig(t, read(t, w.se, 1)[0], own, far, 1500, sent)
	w.dropped(packet.TooBig, 1)
	for _, b := range [][]byte{setDF(udp(far, own, 53, 5000, 1500-28)), udp(far, own, 53, 5000, 4000)} {
		give(t, w.se, b)
		if _, got := w.got(); got == nil || !bytes.Equal(got[28:], b[28:]) || sound(t, got).Dst != addrOf(host) {
			t.Errorf("of %d bytes, %d came", len(b), len(got))
		}
	}
	w.nothing(t)
}

// From tunnel to tunnel: the other one's MTU counts.
func fitsTheOther(t *testing.T) {
	w := newWorld(t)
	w.gated(func(p *Plan) {
		p.Accepts[exitSE] = []Accept{{From: rangeOf("0.0.0.0/0"), To: rangeOf("10.2.0.0/16")}}
	})
	sent := setDF(udp(far, "10.2.0.1", 5000, 53, 1280-28+1))
	give(t, w.se, sent)
	tooBig(t, read(t, w.se, 1)[0], own, far, 1280, sent)
	sent = udp(far, "10.2.0.1", 5000, 53, 4000)
	give(t, w.se, bytes.Clone(sent))
	out := read(t, w.no, batchSize)
	for _, b := range out {
		if len(b) > 1280 {
			t.Errorf("a fragment of %d bytes", len(b))
		}
	}
	if len(out) != 4 || !sameData(t, out, sent) {
		t.Errorf("%d fragments leave", len(out))
	}
}

// What LAN hosts answer to those who called them is held against the MTU too.
func answersFit(t *testing.T) {
	w := newWorld(t)
	w.gated(func(p *Plan) {
		p.Forwards = []Forward{toBob}
		p.Accepts[exitNO] = []Accept{{From: rangeOf("10.0.0.0/8")}}
	})
	give(t, w.se, udp(far, own, 5000, 8443, 10))
	w.gotEnds(t, far, 5000, bob, 443)
	give(t, w.no, udp(site, alice, 5000, 443, 10))
	w.gotEnds(t, site, 5000, alice, 443)
	for _, c := range []struct {
		tun            *Tunnel
		from, to, seen string
	}{{w.se, bob, far, own}, {w.no, alice, site, alice}} {
		sent := setDF(udp(c.from, c.to, 443, 5000, c.tun.opt.MTU-28+1))
		w.send(segment.Header{}, sent)
		_, got := w.got()
		tooBig(t, got, router, c.from, c.tun.opt.MTU, sent)
		w.send(segment.Header{}, setDF(udp(c.from, c.to, 443, 5000, c.tun.opt.MTU-28)))
		if out := read(t, c.tun, 1)[0]; len(out) != c.tun.opt.MTU || sound(t, out).Src != addrOf(c.seen) {
			t.Errorf("an answer of %d bytes from %v", len(out), sound(t, out).Src)
		}
		sent = udp(c.from, c.to, 443, 5000, 4000)
		w.send(segment.Header{}, sent)
		if out := read(t, c.tun, batchSize); !sameData(t, out, sent) {
			t.Errorf("%d fragments leave, and make no whole", len(out))
		}
	}
}
