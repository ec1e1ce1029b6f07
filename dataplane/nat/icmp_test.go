package nat

import (
	"testing"

	"turnout/classifier/packet"
)

// RFC 5508 REQ-1: echoes out and back, the identifier independent of the
// target.
func TestRow25Echo(t *testing.T) {
	bothFamilies(t, func(t *testing.T, fam family) {
		r := newRig(t, 0)
		r.mustOut(fam.echo(fam.lan1, fam.remote1, 77, fam.request), fam.pin1())
		f, b := r.mustOut(fam.echo(fam.lan2, fam.remote1, 77, fam.request), fam.pin1())
		if v := decode(t, b); f.Port == 77 || v.SrcPort != f.Port || v.Src != fam.ext1 {
			t.Fatalf("left as %v id %d, flow %+v", v.Src, v.SrcPort, f)
		}
		if g, _ := r.mustOut(fam.echo(fam.lan2, fam.remote2, 77, fam.request), fam.pin1()); g.Port != f.Port {
			t.Fatalf("identifiers %d and %d for one endpoint", f.Port, g.Port)
		}
		_, b = r.mustIn(fam.echo(fam.remote1, fam.ext1, f.Port, fam.reply), 3, packet.OK)
		if v := decode(t, b); v.Dst != fam.lan2 || v.DstPort != 77 {
			t.Fatalf("answer to %v id %d", v.Dst, v.DstPort)
		}
		other := f.Port ^ 1
		if other == 77 { // host 1's
			other = f.Port ^ 2
		}
		r.mustIn(fam.echo(fam.remote1, fam.ext1, other, fam.reply), 3, packet.NoFlow)
		r.mustIn(fam.echo(fam.router, fam.ext1, f.Port, fam.reply), 3, packet.NoFlow)
		r.mustIn(fam.echo(fam.remote1, fam.ext1, f.Port, fam.reply), 4, packet.NoFlow)
		// The remote end may answer a ping, not send one.
		r.mustIn(fam.echo(fam.remote1, fam.ext1, f.Port, fam.request), 3, packet.NoFlow)
		r.now += timers[ICMPQuery].normal
		r.mustIn(fam.echo(fam.remote1, fam.ext1, f.Port, fam.reply), 3, packet.NoFlow)
		r.Expire(r.now)
		r.verify()
	})
}

// What is neither echo nor error has no flow.
func TestRow34OtherICMP(t *testing.T) {
	bothFamilies(t, func(t *testing.T, fam family) {
		r := newRig(t, 0)
		for _, typ := range []uint8{fam.reply, fam.routerAdvert} {
			if _, _, got := r.out(fam.echo(fam.lan1, fam.remote1, 77, typ), fam.pin1()); got != packet.InvalidState {
				t.Errorf("type %d: %v, want invalid-state", typ, got)
			}
			r.mustIn(fam.echo(fam.remote1, fam.ext1, 77, typ), 3, packet.NoFlow)
		}
	})
}

// conversations are flows of each kind that an ICMP error may be about.
func (f family) conversations() map[string]pkt {
	return map[string]pkt{
		"udp":  udp(f.lan1, 5000, f.remote1, 443),
		"tcp":  tcp(f.lan1, 5000, f.remote1, 443, syn, 1, 0),
		"echo": f.echo(f.lan1, f.remote1, 77, f.request),
		"gre":  {src: f.lan1, dst: f.remote1, proto: 47, payload: make([]byte, 20)},
	}
}

// shove makes another LAN host take p's port first, so that p is translated.
func (r *rig) shove(p pkt, other packet.Addr, pin Pin) {
	if p.proto != 47 {
		p.src = other
		r.mustOut(p, pin)
	}
}

// RFC 5508 REQ-4, RFC 4787 REQ-12, RFC 5382 REQ-9: an error from any router on
// the way reaches the host, and quotes what the host has sent.
func TestRow28ICMPErrorIn(t *testing.T) {
	bothFamilies(t, func(t *testing.T, fam family) {
		for name, p := range fam.conversations() {
			t.Run(name, func(t *testing.T) {
				r := newRig(t, 0)
				r.shove(p, fam.lan2, fam.pin1())
				f, sent := r.mustOut(p, fam.pin1())
				r.now += 5
				_, b := r.mustIn(fam.about(fam.router, fam.ext1, sent), 3, packet.OK)
				v := decode(t, b)
				if v.Src != fam.router || v.Dst != fam.lan1 || v.Type != fam.timeOver {
					t.Fatalf("error from %v to %v", v.Src, v.Dst)
				}
				if got, want := b[v.Payload:v.Len], p.bytes(); string(got) != string(want) {
					t.Fatalf("quotes\n% x\nwant what the host sent\n% x", got, want)
				}
				r.mustIn(fam.about(fam.router, fam.ext1, sent), 4, packet.NoFlow)
				r.mustIn(fam.about(fam.router, fam.ext2, sent), 3, packet.NoFlow)
				g, _ := r.mustIn(fam.about(fam.router, fam.ext1, sent), 3, packet.OK)
				if g.TouchedAt != f.TouchedAt || g.State != f.State {
					t.Fatalf("the error changed the flow from %+v to %+v", f, g)
				}
			})
		}
	})
}

// The quote may end 8 bytes into the transport header (RFC 792).
func TestRow28ShortQuote(t *testing.T) {
	r := newRig(t, 0)
	p := tcp(v4.lan1, 5000, v4.remote1, 443, syn, 1, 0)
	r.shove(p, v4.lan2, v4.pin1())
	_, sent := r.mustOut(p, v4.pin1())
	_, b := r.mustIn(v4.about(v4.router, v4.ext1, sent[:28]), 3, packet.OK)
	var e packet.View
	v := decode(t, b)
	if reason := v.Embedded(b, &e); reason != packet.OK || e.Src != v4.lan1 || e.SrcPort != 5000 {
		t.Fatalf("quotes %v:%d, %v", e.Src, e.SrcPort, reason)
	}
}

// RFC 5508 REQ-5: a LAN host's error about what came in leaves as ours.
func TestRow29ICMPErrorOut(t *testing.T) {
	bothFamilies(t, func(t *testing.T, fam family) {
		for name, p := range fam.conversations() {
			t.Run(name, func(t *testing.T) {
				r := newRig(t, 0)
				r.shove(p, fam.lan2, fam.pin1())
				f, _ := r.mustOut(p, fam.pin1())
				back := p
				back.src, back.dst, back.sport, back.dport = p.dst, fam.ext1, p.dport, f.Port
				switch name {
				case "echo":
					back.sport, back.typ = f.Port, fam.reply
				case "tcp":
					back.flags, back.ack = syn|ack, 2
				}
				_, came := r.mustIn(back, 3, packet.OK)
				f = r.flowOf(p)
				r.now += 5
				// From the host itself or a router of the LAN.
				for _, from := range []packet.Addr{fam.lan1, fam.lan2} {
					g, b := r.mustOut(fam.about(from, fam.remote1, came), fam.pin2())
					v := decode(t, b)
					if v.Src != fam.ext1 || v.Dst != fam.remote1 || g.Exit != 3 {
						t.Fatalf("error from %v to %v", v.Src, v.Dst)
					}
					if got, want := b[v.Payload:v.Len], back.bytes(); string(got) != string(want) {
						t.Fatalf("quotes\n% x\nwant what the remote end sent\n% x", got, want)
					}
					if g.TouchedAt != f.TouchedAt || g.State != f.State {
						t.Fatalf("the error changed the flow from %+v to %+v", f, g)
					}
				}
				// To somebody else it is nobody's, and opens nothing.
				if _, _, got := r.out(fam.about(fam.lan1, fam.remote2, came), fam.pin1()); got != packet.InvalidState {
					t.Fatalf("%v, want invalid-state", got)
				}
			})
		}
	})
}

// flowOf returns the flow of LAN packet p without sending it.
func (r *rig) flowOf(p pkt) (found Flow) {
	r.Helper()
	v := decode(r, p.bytes())
	r.Each(func(f Flow) bool {
		if f.LAN == v.Src && f.Remote == v.Dst && f.LANPort == v.SrcPort && f.Proto == v.Proto {
			found = f
		}
		return true
	})
	return found
}

func TestRow28ICMPErrorRefused(t *testing.T) {
	bothFamilies(t, func(t *testing.T, fam family) {
		r := newRig(t, 0)
		_, sent := r.mustOut(udp(fam.lan1, 5000, fam.remote1, 443), fam.pin1())
		unknown := udp(fam.ext1, 5002, fam.remote1, 443).bytes()
		r.mustIn(fam.about(fam.router, fam.ext1, unknown), 3, packet.NoFlow)
		// As if we had sent what the remote end sends.
		r.mustIn(fam.about(fam.router, fam.remote1, udp(fam.remote1, 443, fam.ext1, 5000).bytes()), 3, packet.NoFlow)
		redirect := fam.about(fam.router, fam.ext1, sent)
		redirect.typ = fam.redirect
		r.mustIn(redirect, 3, packet.NoFlow)
		r.mustIn(fam.about(fam.router, fam.ext1, sent[:20]), 3, packet.NoFlow)
	})
}
