package nat

import (
	"testing"

	"turnout/classifier/packet"
)

// RFC 6888 REQ-4: one host has so many flows and no more, whatever their kind;
// the others do not notice.
func TestRow44HostLimit(t *testing.T) {
	bothFamilies(t, func(t *testing.T, fam family) {
		r := &rig{t, New(Options{MaxPerHost: 10}), 1000}
		flow := func(host packet.Addr, port uint16) pkt { return udp(host, port, fam.remote1, 443) }
		for i := range uint16(9) {
			r.mustOut(flow(fam.lan1, 5000+i), fam.pin1())
		}
		r.mustOut(tcp(fam.lan1, 5000, fam.remote1, 443, syn, 1, 0), Pin{Exit: 5})
		for _, p := range []pkt{flow(fam.lan1, 6000), tcp(fam.lan1, 6000, fam.remote1, 443, syn, 1, 0), flow(fam.lan1, 5000)} {
			p.dst = fam.remote2
			if _, _, got := r.out(p, fam.pin1()); got != packet.HostLimit {
				t.Fatalf("%v, want host-limit", got)
			}
		}
		r.mustOut(flow(fam.lan1, 5000), fam.pin1()) // known ones go on
		r.mustOut(flow(fam.lan2, 5000), fam.pin1())
		r.verify()
		r.now += 120
		r.Expire(r.now)
		r.mustOut(flow(fam.lan1, 6000), fam.pin1())
		r.verify()
	})
}

// A host is known by its near side: one in a tunnel is another than that of the
// same address on the LAN.
func TestRow44HostsOfTunnels(t *testing.T) {
	r := &rig{t, New(Options{MaxPerHost: 2}), 1000}
	open := func(near, port uint16) packet.Reason {
		b := udp(v4.lan1, port, v4.remote1, 443).bytes()
		_, reason := r.Open(b, decode(t, b), near, Pin{Exit: 5}, r.now)
		return reason
	}
	for _, near := range []uint16{LAN, 7} {
		for i, want := range []packet.Reason{packet.OK, packet.OK, packet.HostLimit} {
			if got := open(near, near*100+uint16(i)+1000); got != want {
				t.Errorf("near %d, flow %d: %v, want %v", near, i, got, want)
			}
		}
	}
	// So are conversations that came in.
	b := udp(v4.remote2, 443, v4.ext1, 80).bytes()
	if _, got := r.OpenIn(b, decode(t, b), v4.pin1(), Door{LAN: v4.lan1, LANPort: 80}, r.now); got != packet.HostLimit {
		t.Errorf("from outside: %v, want host-limit", got)
	}
	r.verify()
}

// So many new flows in a second; those under way do not count.
func TestRow44NewFlowRate(t *testing.T) {
	r := &rig{t, New(Options{NewPerHost: 3}), 1000}
	port := uint16(5000)
	try := func(lan packet.Addr) packet.Reason {
		port++
		_, _, reason := r.out(udp(lan, port, v4.remote1, 443), v4.pin1())
		return reason
	}
	for range 3 {
		for i, want := range []packet.Reason{packet.OK, packet.OK, packet.OK, packet.HostLimit, packet.HostLimit} {
			if got := try(v4.lan1); got != want {
				t.Fatalf("flow %d of a second: %v, want %v", i, got, want)
			}
		}
		r.mustOut(udp(v4.lan1, 5001, v4.remote1, 443), v4.pin1())
		if got := try(v4.lan2); got != packet.OK {
			t.Fatalf("another host: %v", got)
		}
		r.now++
	}
	r.verify()
}

func TestHostLimitByDefault(t *testing.T) {
	for _, c := range []struct {
		flows, perHost int
		want           uint32
	}{
		{0, 0, 1 << 16},
		{1 << 20, 0, 1 << 18},
		{1000, 0, ^uint32(0)},
		{1000, 999, 999},
		{1000, 1000, ^uint32(0)},
	} {
		if got := New(Options{MaxFlows: c.flows, MaxPerHost: c.perHost}).hosts.max; got != c.want {
			t.Errorf("%d flows, %d per host: %d", c.flows, c.perHost, got)
		}
	}
}

// Established flows make room last, once nothing was heard in them for a
// minute, of either side.
func TestSilentEstablishedGoLast(t *testing.T) {
	r := newRig(t, 4)
	for i := range uint16(3) {
		r.putInState(TCPUp, 2000+i)
		r.now++
	}
	r.putInState(UDPTwoWay, 2003)
	r.now = 1060
	r.mustIn(tcp(v4.remote1, 443, v4.ext1, 2000, ack, 9001, 1001), 3, packet.OK)
	r.now = 1062 // 2000 has spoken 2 s ago, 2001 61, 2002 60
	r.putInState(TCPOpening, 2004)
	if m := r.states(); m[UDPTwoWay] != 0 || m[TCPUp] != 3 {
		t.Fatalf("left %v", m)
	}
	r.putInState(TCPUp, 2005) // in place of 2004
	r.putInState(TCPUp, 2006)
	left := map[uint16]bool{}
	r.Each(func(f Flow) bool { left[f.LANPort] = true; return true })
	if !left[2000] || left[2001] || !left[2002] {
		t.Fatalf("left %v", left)
	}
	if _, _, got := r.out(udp(v4.lan1, 2007, v4.remote1, 443), v4.pin1()); got != packet.FlowTableFull {
		t.Fatalf("%v, want flow-table-full", got)
	}
	r.verify()
}
