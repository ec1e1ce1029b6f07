package dataplane

import (
	"net/netip"
	"testing"

	"turnout/classifier"
	"turnout/classifier/packet"
	"turnout/dataplane/segment"
)

const (
	alice  = "192.168.77.20" // LAN hosts
	bob    = "192.168.77.21"
	inside = "192.0.0.6"
)

func ports(lohi ...uint16) (out []classifier.PortRange) {
	for i := 0; i < len(lohi); i += 2 {
		out = append(out, classifier.PortRange{Lo: lohi[i], Hi: lohi[i+1]})
	}
	return out
}

func addrOf(s string) packet.Addr { return packet.AddrFrom(netip.MustParseAddr(s)) }
func rangeOf(s string) Range      { return NewRange(netip.MustParsePrefix(s)) }

// gated changes the plan in force by f.
func (w *world) gated(f func(*Plan)) {
	old := w.Plan()
	p := NewPlan(old.Table)
	p.LAN, p.Tunnels = old.LAN, old.Tunnels
	p.Inside = addrOf(inside)
	f(p)
	w.Swap(p)
}

// wantEnds checks a packet's checksums and both its ends.
func wantEnds(t *testing.T, b []byte, src string, sport uint16, dst string, dport uint16) *packet.View {
	t.Helper()
	if b == nil {
		t.Fatalf("nothing came, want a packet from %s:%d to %s:%d", src, sport, dst, dport)
	}
	v := sound(t, b)
	if v.Src != addrOf(src) || v.Dst != addrOf(dst) || v.SrcPort != sport || v.DstPort != dport {
		t.Fatalf("%v:%d to %v:%d, want %s:%d to %s:%d", v.Src, v.SrcPort, v.Dst, v.DstPort, src, sport, dst, dport)
	}
	return v
}

// gotEnds is wantEnds of the next packet for the kernel.
func (w *world) gotEnds(t *testing.T, src string, sport uint16, dst string, dport uint16) *packet.View {
	t.Helper()
	_, b := w.got()
	return wantEnds(t, b, src, sport, dst, dport)
}

func (w *world) nothing(t *testing.T) {
	t.Helper()
	if _, b := w.got(); b != nil {
		t.Fatalf("the kernel got % x", b)
	}
}

var toBob = Forward{Exit: exitSE, Protos: []uint8{packet.TCP, packet.UDP}, First: 8440, Last: 8449, To: addrOf(bob), ToPort: 440}

// A far host that calls a forwarded port of the tunnel's own address reaches
// the LAN host, whose answers return by that tunnel although policy would send
// them elsewhere.
func TestForwardFromTheTunnel(t *testing.T) {
	w := newWorld(t)
	w.gated(func(p *Plan) { p.Forwards = []Forward{toBob} })
	give(t, w.se, tcp("10.9.9.9", own, 5000, 8443, 1, packet.SYN, nil, nil))
	w.gotEnds(t, "10.9.9.9", 5000, bob, 443)
	answer := tcp(bob, "10.9.9.9", 443, 5000, 9, packet.SYN|packet.ACK, []byte{2, 4, 5, 0xb4}, nil)
	answer[20+11] = 2 // acknowledges the SYN
	seal(answer, 16)
	w.send(segment.Header{}, answer)
	wantEnds(t, read(t, w.se, 1)[0], own, 8443, "10.9.9.9", 5000)

	// Neither other ports, nor the same by another tunnel, nor a ping.
	give(t, w.se, tcp("10.9.9.9", own, 5000, 8450, 1, packet.SYN, nil, nil), echo("10.9.9.9", own, 8, 7))
	give(t, w.no, tcp("10.9.9.9", own, 5000, 8443, 1, packet.SYN, nil, nil))
	w.nothing(t)
	w.dropped(packet.NoFlow, 3)
	// Nor who says to be of the LAN, or one of us.
	for n, liar := range []string{alice, router, "192.168.77.255", inside} {
		give(t, w.se, udp(liar, own, 5000, 8443, 4))
		w.dropped(packet.SpoofedSource, uint64(n+1))
	}
	w.nothing(t)
}

// RFC 4787, REQ-9: a LAN host reaches another by the tunnel's own address and a
// forwarded port, and is seen there as that address.
func TestRow09Hairpin(t *testing.T) {
	w := newWorld(t)
	w.gated(func(p *Plan) { p.Forwards = []Forward{toBob} })
	w.send(segment.Header{}, udp(alice, own, 5000, 8441, 10))
	w.gotEnds(t, own, 5000, bob, 441)
	w.send(segment.Header{}, udp(bob, own, 441, 5000, 10))
	w.gotEnds(t, own, 8441, alice, 5000)
	// The same endpoint has the same mapping towards the tunnel's far hosts (REQ-1).
	w.send(segment.Header{}, udp(alice, far, 5000, 53, 10))
	wantEnds(t, read(t, w.se, 1)[0], own, 5000, far, 53)
	// Another host with that port gets another one.
	w.send(segment.Header{}, udp("192.168.77.30", own, 5000, 8441, 10))
	if _, b := w.got(); b == nil || sound(t, b).SrcPort == 5000 || sound(t, b).Src != addrOf(own) {
		t.Fatalf("the second host is seen as % x", b)
	}
	// Nobody hairpins to himself: that goes by policy, here into the site.
	w.send(segment.Header{}, udp(bob, own, 5000, 8441, 10))
	wantEnds(t, read(t, w.no, 1)[0], bob, 5000, own, 8441)
}

// RFC 5508, REQ-7: errors about hairpinned packets reach the other host, with
// the packet that he sent.
func TestRow31HairpinErrors(t *testing.T) {
	w := newWorld(t)
	w.gated(func(p *Plan) { p.Forwards = []Forward{toBob} })
	sent := udp(alice, own, 5000, 8441, 10)
	w.send(segment.Header{}, sent)
	_, got := w.got()
	w.send(segment.Header{}, quoting(bob, own, 3, 3, got))
	_, b := w.got()
	v := sound(t, b)
	var q packet.View
	if why := v.Embedded(b, &q); why != packet.OK || v.Dst != addrOf(alice) || q.Src != addrOf(alice) || q.SrcPort != 5000 || q.Dst != addrOf(own) || q.DstPort != 8441 {
		t.Fatalf("%v: error to %v about %v:%d to %v:%d", why, v.Dst, q.Src, q.SrcPort, q.Dst, q.DstPort)
	}
	// And the other way.
	w.send(segment.Header{}, udp(bob, own, 441, 5000, 10))
	_, back := w.got()
	w.send(segment.Header{}, quoting(alice, own, 3, 3, back))
	_, b = w.got()
	v = sound(t, b)
	if why := v.Embedded(b, &q); why != packet.OK || v.Dst != addrOf(bob) || q.Src != addrOf(bob) || q.SrcPort != 441 || q.Dst != addrOf(own) || q.DstPort != 5000 {
		t.Fatalf("%v: error to %v about %v:%d to %v:%d", why, v.Dst, q.Src, q.SrcPort, q.Dst, q.DstPort)
	}
}

// A forward of the LAN: hosts call the gateway, which the kernel turns to
// Inside, and reach a far endpoint.
func TestForwardFromTheLAN(t *testing.T) {
	w := newWorld(t)
	w.gated(func(p *Plan) {
		p.Forwards = []Forward{{Exit: exitSE, FromLAN: true, Protos: []uint8{packet.TCP}, First: 5432, Last: 5432, To: addrOf("10.0.0.1"), ToPort: 15432}}
	})
	w.send(segment.Header{}, tcp(alice, inside, 5000, 5432, 1, packet.SYN, nil, nil))
	wantEnds(t, read(t, w.se, 1)[0], own, 5000, "10.0.0.1", 15432)
	answer := tcp("10.0.0.1", own, 15432, 5000, 9, packet.SYN|packet.ACK, nil, nil)
	answer[20+11] = 2
	seal(answer, 16)
	give(t, w.se, answer)
	w.gotEnds(t, inside, 5432, alice, 5000)
	// An error of a router on the far side comes from the gateway, too: the
	// kernel would not know it for the conversation's otherwise.
	w.send(segment.Header{}, tcp(alice, inside, 6000, 5432, 1, packet.SYN, nil, nil))
	give(t, w.se, quoting("10.0.9.9", own, 11, 0, read(t, w.se, 1)[0]))
	_, b := w.got()
	v := sound(t, b)
	var q packet.View
	if why := v.Embedded(b, &q); why != packet.OK || v.Src != addrOf(inside) || q.Dst != addrOf(inside) || q.DstPort != 5432 || q.Src != addrOf(alice) {
		t.Errorf("%v: error from %v about %v to %v:%d", why, v.Src, q.Src, q.Dst, q.DstPort)
	}
	w.send(segment.Header{}, tcp(alice, inside, 5000, 5433, 1, packet.SYN, nil, nil))
	w.dropped(packet.NoFlow, 1)
}

// Who may begin what: by prefix, protocol and port; the addresses stay.
func TestAccept(t *testing.T) {
	w := newWorld(t)
	w.gated(func(p *Plan) {
		p.Accepts[exitNO] = []Accept{{From: rangeOf("10.0.0.0/8"), To: rangeOf("192.168.77.16/28"), Protos: []uint8{packet.TCP}, Ports: ports(22, 22, 443, 443)}}
	})
	give(t, w.no, tcp(site, alice, 5000, 443, 1, packet.SYN, nil, nil))
	w.gotEnds(t, site, 5000, alice, 443)
	answer := tcp(alice, site, 443, 5000, 9, packet.SYN|packet.ACK, nil, nil)
	answer[20+11] = 2
	seal(answer, 16)
	w.send(segment.Header{}, answer)
	wantEnds(t, read(t, w.no, 1)[0], alice, 443, site, 5000)
	give(t, w.no,
		tcp(site, alice, 5000, 80, 1, packet.SYN, nil, nil),
		udp(site, alice, 5000, 443, 4),
		tcp("11.1.2.3", alice, 5000, 443, 1, packet.SYN, nil, nil),
		tcp(site, "192.168.77.40", 5000, 443, 1, packet.SYN, nil, nil))
	w.dropped(packet.NotAccepted, 4)
	give(t, w.no, tcp(site, router, 5000, 443, 1, packet.SYN, nil, nil), tcp(site, "192.168.77.255", 5000, 443, 1, packet.SYN, nil, nil))
	w.dropped(packet.NoFlow, 2)
	give(t, w.no, tcp(site, alice, 5000, 22, 1, packet.ACK, nil, nil)) // begins nothing
	w.dropped(packet.InvalidState, 1)
	w.nothing(t)
}

// A masqueraded accept: the LAN host sees Inside, which the kernel turns to
// the gateway's address, with ports that keep conversations apart.
func TestAcceptMasqueraded(t *testing.T) {
	w := newWorld(t)
	w.gated(func(p *Plan) {
		p.Accepts[exitNO] = []Accept{{From: rangeOf("10.0.0.0/8"), Masquerade: true}}
	})
	give(t, w.no, udp(site, alice, 5000, 53, 4))
	w.gotEnds(t, inside, 5000, alice, 53)
	give(t, w.no, udp("10.1.2.4", alice, 5000, 53, 4))
	_, b := w.got()
	second := sound(t, b).SrcPort
	if sound(t, b).Src != addrOf(inside) || second == 5000 {
		t.Fatalf("two far hosts are the same to the LAN host: % x", b)
	}
	w.send(segment.Header{}, udp(alice, inside, 53, second, 4))
	wantEnds(t, read(t, w.no, 1)[0], alice, 53, "10.1.2.4", 5000)
	w.send(segment.Header{}, udp(alice, inside, 53, 5000, 4))
	wantEnds(t, read(t, w.no, 1)[0], alice, 53, site, 5000)
	// Pings too.
	give(t, w.no, echo(site, alice, 8, 77))
	w.gotEnds(t, inside, 77, alice, 77)
	give(t, w.no, echo("10.1.2.4", alice, 8, 77))
	_, b = w.got()
	id := sound(t, b).SrcPort
	if id == 77 {
		t.Fatal("two pings are the same to the LAN host")
	}
	w.send(segment.Header{}, echo(alice, inside, 0, id))
	wantEnds(t, read(t, w.no, 1)[0], alice, 77, "10.1.2.4", 77)
	// An error about the far host's packet finds him, as he knows it.
	give(t, w.no, udp("10.1.2.4", alice, 5000, 53, 4))
	_, got := w.got()
	w.send(segment.Header{}, quoting(alice, inside, 3, 3, got))
	out := read(t, w.no, 1)[0]
	v := sound(t, out)
	var q packet.View
	if why := v.Embedded(out, &q); why != packet.OK || v.Dst != addrOf("10.1.2.4") || q.Src != addrOf("10.1.2.4") || q.SrcPort != 5000 || q.Dst != addrOf(alice) {
		t.Fatalf("%v: error to %v about %v:%d to %v", why, v.Dst, q.Src, q.SrcPort, q.Dst)
	}
}

// A forward to the gateway itself: its answers come back by Inside.
func TestForwardToTheGateway(t *testing.T) {
	w := newWorld(t)
	w.gated(func(p *Plan) {
		p.Forwards = []Forward{{Exit: exitSE, Protos: []uint8{packet.UDP}, First: 53, Last: 53, To: addrOf(router), ToPort: 53}}
	})
	give(t, w.se, udp(far, own, 5000, 53, 4))
	w.gotEnds(t, inside, 5000, router, 53)
	w.send(segment.Header{}, udp(router, inside, 53, 5000, 4))
	wantEnds(t, read(t, w.se, 1)[0], own, 53, far, 5000)
	w.send(segment.Header{}, udp(router, far, 53, 5000, 4))
	w.dropped(packet.ForeignSource, 1)
	// LAN hosts get there by the tunnel's address, too.
	w.send(segment.Header{}, udp(alice, own, 6000, 53, 4))
	w.gotEnds(t, inside, 6000, router, 53)
	w.send(segment.Header{}, udp(router, inside, 53, 6000, 4))
	w.gotEnds(t, own, 53, alice, 6000)
}

// A full cone is open to whoever knows the port, but not to liars.
func TestFullCone(t *testing.T) {
	w := newWorld(t)
	w.gated(func(p *Plan) { p.FullCone[exitSE] = true })
	w.send(segment.Header{}, udp(alice, far, 5000, 53, 4))
	wantEnds(t, read(t, w.se, 1)[0], own, 5000, far, 53)
	give(t, w.se, udp("198.51.100.77", own, 999, 5000, 4))
	w.gotEnds(t, "198.51.100.77", 999, alice, 5000)
	w.send(segment.Header{}, udp(alice, "198.51.100.77", 5000, 999, 4))
	wantEnds(t, read(t, w.se, 1)[0], own, 5000, "198.51.100.77", 999)
	give(t, w.se, udp(router, own, 999, 5000, 4), udp(bob, own, 999, 5000, 4), udp(inside, own, 999, 5000, 4))
	w.dropped(packet.SpoofedSource, 3)
	give(t, w.se, udp("198.51.100.77", own, 999, 5001, 4))
	w.dropped(packet.NoFlow, 1)
	w.nothing(t)
}

// Tunnel to tunnel: policy names the way, the exit translates as it does for
// the LAN, and the process is a hop.
func TestRelay(t *testing.T) {
	w := newWorld(t)
	w.gated(func(p *Plan) {
		p.Accepts[exitNO] = []Accept{{From: rangeOf("10.0.0.0/8"), To: rangeOf("0.0.0.0/0")}}
		p.Accepts[exitSE] = []Accept{{From: rangeOf("0.0.0.0/0"), To: rangeOf("10.2.0.0/16")}}
	})
	give(t, w.no, udp(site, far, 5000, 53, 4))
	if v := wantEnds(t, read(t, w.se, 1)[0], own, 5000, far, 53); v.TTL != 63 {
		t.Errorf("TTL %d, want 63", v.TTL)
	}
	give(t, w.se, udp(far, own, 53, 5000, 4))
	if v := wantEnds(t, read(t, w.no, 1)[0], far, 53, site, 5000); v.TTL != 63 {
		t.Errorf("TTL %d, want 63", v.TTL)
	}
	// A SYN's MSS fits both tunnels, whichever it goes into.
	give(t, w.no, tcp(site, far, 6000, 80, 1, packet.SYN, []byte{2, 4, 5, 0xb4}, nil))
	b := read(t, w.se, 1)[0]
	if mss := int(b[42])<<8 | int(b[43]); mss != 1240 {
		t.Errorf("MSS %d, want 1240", mss)
	}
	// Too large for the other tunnel, not to be fragmented: the sender hears it.
	give(t, w.se, setDF(udp(far, "10.2.0.1", 5000, 53, 1350)))
	b = read(t, w.se, 1)[0]
	if v := sound(t, b); v.Type != 3 || v.Code != 4 || v.Dst != addrOf(far) {
		t.Errorf("the answer is %+v", v)
	}
	// Out of the uplink, to nobody, into the same tunnel: never.
	give(t, w.no, udp(site, "203.0.113.7", 5000, 53, 4), udp(site, "192.0.2.2", 5000, 53, 4), udp(site, "10.2.0.1", 5000, 53, 4))
	w.dropped(packet.NoRelay, 3)
	w.nothing(t)
}

// Two peers of one tunnel talk through the gateway, which its device tells
// apart by their AllowedIPs.
func TestRelayBetweenPeers(t *testing.T) {
	w := newWorld(t)
	hub := w.NewTunnel(TunnelOptions{Name: "hub", Exit: exitNO, MTU: 1420, Address4: addrOf("10.64.0.9"), Peers: 2})
	t.Cleanup(func() { hub.Close() })
	w.gated(func(p *Plan) {
		p.Tunnels = []*Tunnel{exitSE: w.se, exitNO: hub}
		p.Accepts[exitNO] = []Accept{{From: rangeOf("10.1.0.0/16"), To: rangeOf("10.2.0.0/16")}}
	})
	give(t, hub, udp("10.1.0.1", "10.2.0.1", 5000, 53, 4))
	if v := wantEnds(t, read(t, hub, 1)[0], "10.1.0.1", 5000, "10.2.0.1", 53); v.TTL != 63 {
		t.Errorf("TTL %d, want 63", v.TTL)
	}
	give(t, hub, udp("10.2.0.1", "10.1.0.1", 53, 5000, 4))
	wantEnds(t, read(t, hub, 1)[0], "10.2.0.1", 53, "10.1.0.1", 5000)
	give(t, hub, udp("10.2.0.1", "10.1.0.1", 53, 5001, 4)) // begins one that is not accepted
	w.dropped(packet.NotAccepted, 1)
}

// A conversation that a far host began ends with its tunnel; policy does not
// find it another.
func TestInboundEndsWithItsTunnel(t *testing.T) {
	w := newWorld(t)
	w.gated(func(p *Plan) { p.Forwards = []Forward{toBob} })
	give(t, w.se, udp("10.9.9.9", own, 5000, 8441, 4))
	w.gotEnds(t, "10.9.9.9", 5000, bob, 441)
	w.gated(func(p *Plan) { p.Tunnels = []*Tunnel{exitNO: w.no} })
	w.send(segment.Header{}, udp(bob, "10.9.9.9", 441, 5000, 4))
	w.dropped(packet.TunnelDown, 1)
	_, b := w.got()
	if v := sound(t, b); v.Type != 3 || v.Code != 13 {
		t.Errorf("the host is told %+v", v)
	}
}
