package nat

import (
	"bytes"
	"encoding/binary"
	"testing"

	"turnout/classifier/packet"
)

// errors are all that a router or a host may say about a packet.
func (f family) errors() (list []pkt) {
	for typ, codes := range map[uint8]uint8{3: 16, 11: 2, 12: 3} {
		if f.name == "v6" {
			codes = 8
		}
		for code := range codes {
			if f.name == "v6" {
				list = append(list, pkt{typ: typ&3 + 1, code: code})
				continue
			}
			list = append(list, pkt{typ: typ, code: code})
		}
	}
	return list
}

// bombard sends every error about what LAN packet p has become, from strangers
// of all sorts, and wants each to arrive at the host with its type and code and
// the host's own packet in it, and flow and answers to be as before.
func bombard(r *rig, fam family, p, answer pkt) {
	r.Helper()
	f, sent := r.mustOut(p, fam.pin1())
	answer.dport = f.Port
	for i, e := range fam.errors() {
		from := fam.router
		from.Lo += uint64(i)
		about := fam.about(from, fam.ext1, sent)
		about.typ, about.code = e.typ, e.code
		_, b := r.mustIn(about, 3, packet.OK)
		v := decode(r, b)
		if v.Src != from || v.Dst != p.src || v.Type != e.typ || v.Code != e.code || !bytes.Equal(b[v.Payload:v.Len], p.bytes()) {
			r.Fatalf("error %d/%d arrived as % x", e.typ, e.code, b)
		}
	}
	g := r.flowOf(p)
	if g.State != f.State || g.TouchedAt != f.TouchedAt || g.Port != f.Port {
		r.Fatalf("the errors changed %+v to %+v", f, g)
	}
	r.mustIn(answer, 3, packet.OK)
	r.verify()
}

// RFC 4787 REQ-12: no ICMP error ends a UDP mapping, whoever sends it, and all
// reach the host.
func TestRow12ErrorsKeepMappings(t *testing.T) {
	bothFamilies(t, func(t *testing.T, fam family) {
		r := newRig(t, 0)
		p := udp(fam.lan1, 5000, fam.remote1, 443)
		r.shove(p, fam.lan2, fam.pin1())
		bombard(r, fam, p, udp(fam.remote1, 443, fam.ext1, 0))
	})
}

// RFC 5382 REQ-9: errors about TCP are translated.
func TestRow23ErrorsTranslated(t *testing.T) {
	bothFamilies(t, func(t *testing.T, fam family) {
		r := newRig(t, 0)
		p := tcp(fam.lan1, 5000, fam.remote1, 443, syn, 1000, 0)
		r.shove(p, fam.lan2, fam.pin1())
		bombard(r, fam, p, tcp(fam.remote1, 443, fam.ext1, 0, syn|ack, 9000, 1001))
	})
}

// RFC 5382 REQ-10: none ends an established connection.
func TestRow24ErrorsKeepConnections(t *testing.T) {
	bothFamilies(t, func(t *testing.T, fam family) {
		r := newRig(t, 0)
		play(r, fam, handshake)
		bombard(r, fam, tcp(fam.lan1, 5000, fam.remote1, 443, ack, 1001, 9001),
			tcp(fam.remote1, 443, fam.ext1, 0, ack, 9001, 1001))
		if s := r.only().State; s != TCPUp {
			t.Fatalf("state %v", s)
		}
	})
}

// RFC 5508 REQ-2: an unanswered or answered query is remembered for 60 s.
func TestRow26QueryTimer(t *testing.T) {
	bothFamilies(t, func(t *testing.T, fam family) {
		r := newRig(t, 0)
		r.mustOut(fam.echo(fam.lan1, fam.remote1, 77, fam.request), fam.pin1())
		r.now += 59
		r.mustIn(fam.echo(fam.remote1, fam.ext1, 77, fam.reply), 3, packet.OK)
		r.now++
		r.mustIn(fam.echo(fam.remote1, fam.ext1, 77, fam.reply), 3, packet.NoFlow)
	})
}

// RFC 5508 REQ-3: of a quoted packet the IP header's checksum counts, the
// transport's does not; options before it and extensions after it (RFC 4884)
// are passed over.
func TestRow27QuotedPackets(t *testing.T) {
	r := newRig(t, 0)
	p := udp(v4.lan1, 5000, v4.remote1, 443)
	r.shove(p, v4.lan2, v4.pin1())
	_, sent := r.mustOut(p, v4.pin1())
	change := func(f func(q []byte) []byte) []byte { return f(append([]byte(nil), sent...)) }
	for name, c := range map[string]struct {
		quoted []byte
		want   packet.Reason
	}{
		"as sent":          {sent, packet.OK},
		"bad IP checksum":  {change(func(q []byte) []byte { q[10]++; return q }), packet.NoFlow},
		"bad UDP checksum": {change(func(q []byte) []byte { q[26]++; return q }), packet.OK},
		"with IP options": {change(func(q []byte) []byte {
			q = append(q[:20:20], append([]byte{1, 1, 1, 0}, q[20:]...)...)
			q[0] = 0x46
			binary.BigEndian.PutUint16(q[2:], uint16(len(q)))
			q[10], q[11] = 0, 0
			binary.BigEndian.PutUint16(q[10:], ^sum(q[:24]))
			return q
		}), packet.OK},
		"with extensions": {change(func(q []byte) []byte {
			return append(append(q, make([]byte, 128-len(q))...), 0x20, 0, 0xdf, 0xff)
		}), packet.OK},
	} {
		e := v4.about(v4.router, v4.ext1, c.quoted)
		b := e.bytes()
		v := decode(t, b)
		f, got := r.In(b, v, 3, r.now)
		if got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
			continue
		}
		if got != packet.OK {
			continue
		}
		f.RewriteIn(b, v, false)
		if l4sum(b) != 0xffff || sum(b[:20]) != 0xffff {
			t.Errorf("%s: wrong checksums", name)
		}
		var q packet.View
		if v.Embedded(b, &q) != packet.OK || q.Src != v4.lan1 || q.SrcPort != 5000 {
			t.Errorf("%s: quotes %v:%d", name, q.Src, q.SrcPort)
		}
		if n := len(sent); len(c.quoted) > 128 && !bytes.Equal(b[28+n:], c.quoted[n:]) {
			t.Errorf("%s: the extensions were changed", name)
		}
	}
}

// RFC 5508 REQ-6: errors of either side prolong nothing.
func TestRow30ErrorsDoNotRefresh(t *testing.T) {
	bothFamilies(t, func(t *testing.T, fam family) {
		r := newRig(t, 0)
		p := udp(fam.lan1, 5000, fam.remote1, 443)
		_, sent := r.mustOut(p, fam.pin1())
		came := udp(fam.remote1, 443, fam.lan1, 5000).bytes()
		for range 11 {
			r.now += 10
			r.mustIn(fam.about(fam.router, fam.ext1, sent), 3, packet.OK)
			r.mustOut(fam.about(fam.lan1, fam.remote1, came), fam.pin2())
		}
		r.now += 10
		r.mustIn(fam.about(fam.router, fam.ext1, sent), 3, packet.NoFlow)
		if n := r.Len(); n != 0 {
			t.Fatalf("%d flows", n)
		}
	})
}

// RFC 5508 REQ-8: what finds no resources has a reason to be told by.
func TestRow32NoResources(t *testing.T) {
	r := newRig(t, 0)
	r.fill(64512)
	p := udp(v4.lan1, 7000, v4.remote1, 443)
	if _, _, got := r.out(p, v4.pin1()); got != packet.NoFreePort {
		t.Errorf("without ports: %v", got)
	}
	r = newRig(t, 1)
	r.putInState(TCPUp, 5000)
	if _, _, got := r.out(p, v4.pin1()); got != packet.FlowTableFull {
		t.Errorf("in a full table: %v", got)
	}
	r = &rig{t, New(Options{MaxPerHost: 1}), 1000}
	r.mustOut(udp(v4.lan1, 5000, v4.remote1, 443), v4.pin1())
	if _, _, got := r.out(p, v4.pin1()); got != packet.HostLimit {
		t.Errorf("beyond the host's share: %v", got)
	}
}
