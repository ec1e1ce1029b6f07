package nat

import (
	"bytes"
	"slices"
	"testing"

	"turnout/classifier/packet"
)

// The rows of docs/nat.md that no other test of this package is about.

// RFC 4787 REQ-2: whatever a LAN host sends by one tunnel comes from one
// address.
func TestRow02OneAddressPerHost(t *testing.T) {
	bothFamilies(t, func(t *testing.T, fam family) {
		r := newRig(t, 0)
		for i := range uint16(20) {
			for _, p := range fam.conversations() {
				if p.proto != 47 {
					p.sport += i
				}
				if _, b := r.mustOut(p, fam.pin1()); decode(t, b).Src != fam.ext1 {
					t.Fatalf("%v left from %v", p, decode(t, b).Src)
				}
			}
		}
	})
}

// RFC 4787 REQ-6: what the LAN sends refreshes the mapping.
func TestRow06OutboundRefreshes(t *testing.T) {
	r := newRig(t, 0)
	p := udp(v4.lan1, 5000, v4.remote1, 443)
	first, _ := r.mustOut(p, v4.pin1())
	for range 50 {
		r.now += 119
		r.Expire(r.now)
		if f, _ := r.mustOut(p, v4.pin2()); f.StartedAt != first.StartedAt || f.Port != first.Port {
			t.Fatalf("flow %+v", f)
		}
	}
	r.verify()
}

// RFC 4787 REQ-7: the same addresses on the LAN and behind tunnels are different
// ends.
func TestRow07OverlappingAddresses(t *testing.T) {
	bothFamilies(t, func(t *testing.T, fam family) {
		r := newRig(t, 0)
		p := udp(fam.lan1, 5000, fam.remote1, 443)
		open := func(near uint16, pin Pin) Flow {
			b := p.bytes()
			f, reason := r.Open(b, decode(t, b), near, pin, r.now)
			if reason != packet.OK {
				t.Fatal(reason)
			}
			return f
		}
		lan := open(LAN, fam.pin1())
		for _, near := range []uint16{7, 8} {
			other := open(near, fam.pin1())
			if other.Port == lan.Port {
				t.Fatalf("one port for the hosts of side %d and of the LAN", near)
			}
			if f, _ := r.mustIn(udp(fam.remote1, 443, fam.ext1, other.Port), 3, packet.OK); f.Near != near {
				t.Fatalf("the answer is for side %d", f.Near)
			}
		}
		if f, _ := r.mustIn(udp(fam.remote1, 443, fam.ext1, lan.Port), 3, packet.OK); f.Near != LAN {
			t.Fatalf("the answer is for side %d", f.Near)
		}
		// A remote end with the address of a LAN host, unmasqueraded.
		p = udp(fam.lan1, 6000, fam.lan2, 6000)
		open(LAN, Pin{Exit: 5})
		if f, _ := r.mustIn(udp(fam.lan2, 6000, fam.lan1, 6000), 5, packet.OK); f.Exit != 5 {
			t.Fatalf("flow %+v", f)
		}
		r.verify()
	})
}

// RFC 4787 REQ-10 and RFC 5382 REQ-6: no application gateway looks into the
// data, and no address in them opens anything.
func TestRow10NoALG(t *testing.T) { noALG(t, udp(v4.lan1, 5060, v4.remote1, 5060)) }

func TestRow20NoALG(t *testing.T) { noALG(t, tcp(v4.lan1, 5060, v4.remote1, 21, syn, 1, 0)) }

func noALG(t *testing.T, p pkt) {
	t.Helper()
	for _, data := range []string{
		"PORT 192,168,77,20,19,136\r\n",
		"EPRT |1|192.168.77.20|5000|\r\n",
		"REGISTER sip:x SIP/2.0\r\nContact: <sip:a@192.168.77.20:5000>\r\n\r\n",
		"\x01DCC SEND f 3232255252 5000\x01",
	} {
		r := newRig(t, 0)
		r.mustOut(p, v4.pin1())
		p := p
		p.payload = []byte(data)
		if p.proto == packet.TCP {
			r.mustIn(tcp(p.dst, p.dport, v4.ext1, p.sport, syn|ack, 9000, 2), 3, packet.OK)
			p.flags, p.seq, p.ack = ack, 2, 9001
		}
		if _, b := r.mustOut(p, v4.pin1()); !bytes.HasSuffix(b, []byte(data)) {
			t.Errorf("%q was changed: %q", data, b)
		}
		r.mustIn(tcp(v4.remote1, 20, v4.ext1, 5000, syn, 1, 0), 3, packet.NoFlow)
		r.mustIn(udp(v4.remote1, 20, v4.ext1, 5000), 3, packet.NoFlow)
		if r.Len() != 1 {
			t.Errorf("%q: %d flows", data, r.Len())
		}
	}
}

// RFC 4787 REQ-11: a full table and used-up ports change nothing of how it maps
// and filters.
func TestRow11SameUnderLoad(t *testing.T) {
	for _, load := range []int{0, 60_000} {
		r := newRig(t, 64_000)
		r.fill(load)
		for _, lan := range []packet.Addr{v4.lan1, v4.lan2} {
			f, _ := r.mustOut(udp(lan, 7000, v4.remote1, 443), v4.pin1())
			g, _ := r.mustOut(udp(lan, 7000, v4.remote2, 80), v4.pin1())
			if f.Port != g.Port || f.Port < 1024 {
				t.Fatalf("load %d: ports %d and %d", load, f.Port, g.Port)
			}
			r.mustIn(udp(v4.remote1, 443, v4.ext1, f.Port), 3, packet.OK)
			r.mustIn(udp(v4.remote1, 444, v4.ext1, f.Port), 3, packet.NoFlow)
			r.mustIn(udp(v4.router, 443, v4.ext1, f.Port), 3, packet.NoFlow)
		}
		r.verify()
	}
}

// RFC 5382 REQ-4: nothing answers an unsolicited SYN, and it leaves no trace
// that would hinder the LAN's own SYN to the same end.
func TestRow18UnsolicitedSYN(t *testing.T) {
	bothFamilies(t, func(t *testing.T, fam family) {
		r := newRig(t, 0)
		r.mustIn(tcp(fam.remote1, 443, fam.ext1, 5000, syn, 9000, 0), 3, packet.NoFlow)
		if r.Len() != 0 {
			t.Fatal("it made a flow")
		}
		r.now += 5
		if f, _ := r.mustOut(tcp(fam.lan1, 5000, fam.remote1, 443, syn, 1000, 0), fam.pin1()); f.Port != 5000 {
			t.Fatalf("port %d", f.Port)
		}
		f, _ := r.mustIn(tcp(fam.remote1, 443, fam.ext1, 5000, syn, 9000, 0), 3, packet.OK)
		if f.State != TCPAnswered {
			t.Fatalf("state %v", f.State)
		}
	})
}

// RFC 7857 section 2: a RST is translated, and the flow kept for 4 minutes.
func TestRow36ResetKeepsFlow(t *testing.T) {
	for _, dir := range []int{out, in} {
		r := newRig(t, 0)
		play(r, v4, handshake)
		if dir == out {
			_, b := r.mustOut(tcp(v4.lan1, 5000, v4.remote1, 443, rst, 1001, 0), v4.pin2())
			if v := decode(t, b); v.Src != v4.ext1 || v.Flags != rst {
				t.Fatalf("the RST left as %+v", v)
			}
		} else {
			_, b := r.mustIn(tcp(v4.remote1, 443, v4.ext1, 5000, rst, 9001, 0), 3, packet.OK)
			if v := decode(t, b); v.Dst != v4.lan1 || v.Flags != rst {
				t.Fatalf("the RST came as %+v", v)
			}
		}
		r.now += 239
		if r.Expire(r.now) != 0 || r.only().State != TCPReset {
			t.Fatal("gone before 240 s")
		}
		r.now++
		if r.Expire(r.now) != 1 {
			t.Fatal("still there after 240 s")
		}
	}
}

// RFC 7857 section 3: connections to different ends may share a port.
func TestRow37PortOverlapping(t *testing.T) {
	r := newRig(t, 0)
	for i := range 1000 {
		p := tcp(v4.lan1, 5000, v4.remote1, 443, syn, 1, 0)
		p.src.Lo += uint64(i)
		p.dst.Lo += uint64(i)
		if f, _ := r.mustOut(p, v4.pin1()); f.Port != 5000 {
			t.Fatalf("connection %d: port %d", i, f.Port)
		}
	}
	r.verify()
}

// RFC 7857 section 5: UDP is mapped independently of the far end whatever TCP
// does.
func TestRow38PerProtocol(t *testing.T) {
	r := newRig(t, 0)
	flows := map[uint8][]uint16{}
	for _, lan := range []packet.Addr{v4.lan1, v4.lan2} {
		for _, remote := range []packet.Addr{v4.remote1, v4.remote2} {
			f, _ := r.mustOut(udp(lan, 5000, remote, 443), v4.pin1())
			flows[packet.UDP] = append(flows[packet.UDP], f.Port)
		}
	}
	for _, lan := range []packet.Addr{v4.lan1, v4.lan2} {
		remote := v4.remote1
		if lan == v4.lan2 {
			remote = v4.remote2
		}
		f, _ := r.mustOut(tcp(lan, 5000, remote, 443, syn, 1, 0), v4.pin1())
		flows[packet.TCP] = append(flows[packet.TCP], f.Port)
	}
	if u := flows[packet.UDP]; u[0] != u[1] || u[2] != u[3] || u[0] == u[2] {
		t.Errorf("UDP ports %v", u)
	}
	if c := flows[packet.TCP]; !slices.Equal(c, []uint16{5000, 5000}) {
		t.Errorf("TCP ports %v", c)
	}
}

// RFC 7857 section 8: parity is kept while it lasts, and refuses nobody.
func TestRow40ParityIsAWish(t *testing.T) {
	r := newRig(t, 0)
	even := 0
	for port := range r.fill(32256) {
		even += 1 - int(port%2)
	}
	if even != 32256 {
		t.Fatalf("%d of 32256 even ports went to even endpoints", even)
	}
	f, _ := r.mustOut(udp(v4.lan1, 6000, v4.remote1, 443), v4.pin1())
	if f.Port%2 != 1 || f.Port < 1024 {
		t.Fatalf("port %d", f.Port)
	}
}

// RFC 7857 section 9, RFC 6056: a port that is not the host's own cannot be
// foretold. Of 200 in a row no two are neighbours by design, and they lie in all
// parts of the range.
func TestRow41RandomPorts(t *testing.T) {
	for _, p := range []pkt{udp(v4.lan1, 5000, v4.remote1, 443), tcp(v4.lan1, 5000, v4.remote1, 443, syn, 1, 0)} {
		r := newRig(t, 0)
		r.mustOut(p, v4.pin1())
		var parts [8]int
		last, near := uint16(5000), 0
		for i := range 200 {
			p.src = packet.Addr4(0x0a640000 + uint32(i))
			f, _ := r.mustOut(p, v4.pin1())
			if d := f.Port - last; d < 64 || -d < 64 {
				near++
			}
			parts[f.Port>>13]++
			last = f.Port
		}
		if near > 20 || slices.Contains(parts[:], 0) {
			t.Errorf("protocol %d: %d steps below 64, spread %v", p.proto, near, parts)
		}
	}
}

// RFC 7857 section 11: an ICMP mapping ends with the last of its queries.
func TestRow43ICMPMappingEnds(t *testing.T) {
	r := newRig(t, 0)
	p := v4.echo(v4.lan1, v4.remote1, 77, v4.request)
	r.mustOut(p, v4.pin1())
	r.now += 50
	p.dst = v4.remote2
	r.mustOut(p, v4.pin1())
	r.now += 10
	if r.Expire(r.now) != 1 || r.resting != 0 {
		t.Fatal("the mapping ended with the first query")
	}
	r.now += 50
	if r.Expire(r.now) != 1 || r.resting != 1 {
		t.Fatal("the mapping outlived its queries")
	}
	r.now += 120
	r.Expire(r.now)
	if f, _ := r.mustOut(v4.echo(v4.lan2, v4.remote1, 77, v4.request), v4.pin1()); f.Port != 77 {
		t.Fatalf("identifier %d", f.Port)
	}
	r.verify()
}

// RFC 3022 sections 4.1 and 4.3: every checksum is true after translation, both
// ways (the rigs look at each packet), and later fragments go where the first
// went, with nothing but their addresses changed.
func TestRow48Translation(t *testing.T) {
	bothFamilies(t, func(t *testing.T, fam family) {
		r := newRig(t, 0)
		for _, p := range fam.conversations() {
			r.shove(p, fam.lan2, fam.pin1())
			f, _ := r.mustOut(p, fam.pin1())
			if p.proto != packet.UDP {
				continue
			}
			p.frag, p.payload = packet.Later, []byte("the rest of it")
			b := p.bytes()
			v := decode(t, b)
			v.SrcPort, v.DstPort = p.sport, p.dport // as fragment tracking says
			g, ok := r.Out(b, v, LAN, r.now)
			if !ok || g.Port != f.Port {
				t.Fatalf("a later fragment met %+v", g)
			}
			g.RewriteOut(b, v, false)
			mustBeTrue(t, b)
			if v := decode(t, b); v.Src != fam.ext1 || !bytes.HasSuffix(b, p.payload) {
				t.Fatalf("a later fragment left as % x", b)
			}
		}
		r.verify()
	})
}
