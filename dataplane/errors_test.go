package dataplane

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"turnout/classifier/packet"
	"turnout/dataplane/nat"
	"turnout/dataplane/segment"
)

// An errorRow is a packet that is not forwarded, and what is said about it.
type errorRow struct {
	name string
	by   *Tunnel // that it comes out of; nil: it comes from the LAN
	pkt  []byte
	why  packet.Reason
	says string // see words; nothing if empty
}

const (
	rejecting = "192.0.2.2"
	dropping  = "192.0.2.1"
	other     = "192.168.78.20" // in a second network of the LAN
	otherGate = "192.168.78.1"
	ownNO     = "10.65.0.2"
)

// limited makes a world that runs, with a flow table of these bounds. Its
// tunnels have an address each, and its LAN a second network.
func limited(t *testing.T, o nat.Options) *world {
	w := newStill(t)
	w.flows = nat.New(o)
	w.no.opt.Address4 = addrOf(ownNO)
	p := *w.Plan()
	with := NewPlan(p.Table)
	with.Tunnels = p.Tunnels
	with.LAN = append(slices.Clone(p.LAN), NewNetwork(netip.MustParsePrefix("192.168.78.0/24"), netip.MustParseAddr(otherGate), 1500))
	w.Swap(with)
	w.run()
	return w
}

// words tells an answer: "icmp 3/13 from A to B" or "reset from A to B", and
// the side that gets it.
func words(t *testing.T, side string, b []byte) string {
	t.Helper()
	v := sound(t, b)
	what := fmt.Sprintf("protocol %d", v.Proto)
	switch {
	case v.IsError:
		what = fmt.Sprintf("icmp %d/%d", v.Type, v.Code)
	case v.Proto == packet.TCP && v.Flags&packet.RST != 0:
		what = "reset"
	}
	return fmt.Sprintf("%s: %s from %v to %v", side, what, v.Src, v.Dst)
}

// heard returns what the router has said so far on all sides. What it says
// about a packet it says before it counts it.
func (w *world) heard(t *testing.T) (said []string) {
	t.Helper()
	b := make([]byte, segment.HeaderLen+frameSize)
	for {
		w.kernel.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
		n, err := w.kernel.Read(b)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		said = append(said, words(t, "lan", b[segment.HeaderLen:n]))
	}
	size := make([]int, 1)
	for _, tun := range []*Tunnel{w.se, w.no} {
		for tun.fill([][]byte{b}, size, 0) > 0 { // Read would wait
			said = append(said, words(t, tun.opt.Name, b[:size[0]]))
		}
	}
	return said
}

// judge plays rows one after the other.
func (w *world) judge(t *testing.T, rows []errorRow) {
	t.Helper()
	for _, row := range rows {
		before := w.Dropped[row.why].Load()
		if row.by == nil {
			w.send(segment.Header{}, row.pkt)
		} else {
			give(t, row.by, row.pkt)
		}
		w.dropped(row.why, before+1)
		var want []string
		if row.says != "" {
			want = []string{row.says}
		}
		if got := w.heard(t); !slices.Equal(got, want) {
			t.Errorf("%s: the router says %q, want %q", row.name, got, want)
		}
	}
}

// goes sees packets of LAN hosts leave by a tunnel.
func (w *world) goes(t *testing.T, by *Tunnel, pkts ...[]byte) {
	t.Helper()
	for _, b := range pkts {
		w.send(segment.Header{}, b)
		read(t, by, 1)
	}
}

// RFC 5508, REQ-9 and REQ-10; RFC 1812, 4.3.2.7: which errors the router makes,
// about what, to whom, and under which address.
func TestRow33WhichErrors(t *testing.T) {
	t.Run("policy", errorsOfPolicy)
	t.Run("the path", errorsOfThePath)
	t.Run("resources", errorsOfResources)
	t.Run("no tunnel", errorsWithoutTunnel)
	t.Run("out of a tunnel", errorsOutOfATunnel)
	t.Run("limit of a host", errorsPerHost)
	t.Run("limit of all", errorsOverAll)
}

func errorsOfPolicy(t *testing.T) {
	w := limited(t, nat.Options{})
	to := func(proto uint8) []byte { return build(host, rejecting, proto, make([]byte, 40), 30) }
	cut := pieces(udp(host, rejecting, 5000, 53, 2000), 77, 0, 800, 1600, 2008)
	const prohibited = "lan: icmp 3/13 from " + router + " to " + host
	w.judge(t, []errorRow{
		{"rejected", nil, udp(host, rejecting, 5000, 53, 10), packet.PolicyReject, prohibited},
		{"rejected ping", nil, echo(host, rejecting, 8, 77), packet.PolicyReject, prohibited},
		{"rejected GRE", nil, to(47), packet.PolicyReject, prohibited},
		{"rejected of another network", nil, udp(other, rejecting, 5000, 53, 10), packet.PolicyReject,
			"lan: icmp 3/13 from " + otherGate + " to " + other},
		{"rejected SYN", nil, tcp(host, rejecting, 5000, 80, 1, packet.SYN, nil, nil), packet.PolicyReject,
			"lan: reset from " + rejecting + " to " + host},
		{"rejected RST", nil, tcp(host, rejecting, 5000, 80, 1, packet.RST, nil, nil), packet.PolicyReject, ""},
		{"rejected first fragment", nil, cut[0], packet.PolicyReject, prohibited},
		{"its later one", nil, cut[1], packet.FragmentUnknown, ""},
		{"an error", nil, quoting(host, rejecting, 3, 3, udp(rejecting, host, 53, 5000, 10)), packet.NoFlow, ""},
		{"dropped", nil, udp(host, dropping, 5000, 53, 10), packet.PolicyDrop, ""},
		{"dropped SYN", nil, tcp(host, dropping, 5000, 80, 1, packet.SYN, nil, nil), packet.PolicyDrop, ""},
		{"answer to nothing", nil, echo(host, far, 0, 77), packet.InvalidState, ""},
		{"foreign source", nil, udp("10.9.9.9", rejecting, 5000, 53, 10), packet.ForeignSource, ""},
		{"broadcast", nil, udp(host, "255.255.255.255", 5000, 53, 10), packet.BadAddress, ""},
		{"multicast", nil, udp(host, "239.1.2.3", 5000, 53, 10), packet.BadAddress, ""},
		{"IPv6", nil, udp6(), packet.IPv6Refused, ""},
	})
}

func errorsOfThePath(t *testing.T) {
	w := limited(t, nat.Options{})
	w.goes(t, w.se, udp(host, far, 5000, 53, 10))
	whole := udp(host, far, 5000, 53, 2000)
	whole[4], whole[5] = 0, 78
	w.goes(t, w.se, fragmentOf(whole, 0, 400, true))
	w.judge(t, []errorRow{
		{"too big", nil, setDF(udp(host, far, 5000, 53, 1400)), packet.TooBig, "lan: icmp 3/4 from " + router + " to " + host},
		{"too big for a new flow", nil, setDF(udp(other, site, 5000, 53, 1400)), packet.TooBig, "lan: icmp 3/4 from " + otherGate + " to " + other},
		{"a later fragment that is too big", nil, setDF(fragmentOf(whole, 400, 2008, false)), packet.TooBig, ""},
		{"an error that is too big", nil, setDF(quoting(host, far, 3, 3, udp(far, host, 53, 5000, 1400))), packet.TooBig, ""},
	})
	// No source quench (RFC 6633) when a queue is full.
	for range ringSlots {
		w.send(segment.Header{}, udp(host, site, 5000, 53, 10))
	}
	for begun := time.Now(); w.no.ring.tail.Load()-w.no.ring.head.Load() < ringSlots; time.Sleep(time.Millisecond) {
		if time.Since(begun) > 2*time.Second {
			t.Fatal("the queue is not full")
		}
	}
	w.send(segment.Header{}, udp(host, site, 5000, 53, 10))
	w.dropped(packet.QueueFull, 1)
	w.nothing(t)
}

// RFC 5508, REQ-8: who gets no flow is told that he is not served. A reset would
// come from an end that has refused nothing.
func errorsOfResources(t *testing.T) {
	const prohibited = "lan: icmp 3/13 from " + router + " to "
	w := limited(t, nat.Options{MaxFlows: 16, MaxPerHost: 1})
	w.goes(t, w.se, udp(host, far, 5000, 53, 10), build(alice, far, 47, make([]byte, 40), 30))
	w.judge(t, []errorRow{
		{"host limit", nil, udp(host, far, 5001, 53, 10), packet.HostLimit, prohibited + host},
		{"host limit of a SYN", nil, tcp(host, far, 5002, 80, 1, packet.SYN, nil, nil), packet.HostLimit, prohibited + host},
		{"no port: GRE has one owner", nil, build(bob, far, 47, make([]byte, 40), 30), packet.NoFreePort, prohibited + bob},
	})
	w.goes(t, w.se, udp(host, far, 5000, 53, 10))

	w = limited(t, nat.Options{MaxFlows: 1})
	w.gated(func(p *Plan) { p.Accepts[exitNO] = []Accept{{From: rangeOf("10.0.0.0/8")}} })
	w.goes(t, w.se, tcp(host, far, 5000, 80, 1, packet.SYN, nil, nil))
	answer := tcp(far, own, 80, 5000, 9, packet.SYN|packet.ACK, nil, nil)
	answer[20+11] = 2
	seal(answer, 16)
	give(t, w.se, answer)
	w.heard(t)
	ack := tcp(host, far, 5000, 80, 2, packet.ACK, nil, nil)
	ack[20+11] = 10
	seal(ack, 16)
	w.goes(t, w.se, ack) // established: nothing pushes it out
	w.judge(t, []errorRow{
		{"full table", nil, udp(alice, far, 5000, 53, 10), packet.FlowTableFull, prohibited + alice},
		{"full table, from a tunnel", w.no, udp(site, alice, 5000, 53, 10), packet.FlowTableFull, ""},
	})
}

func errorsWithoutTunnel(t *testing.T) {
	const prohibited = "lan: icmp 3/13 from " + router + " to "
	w := limited(t, nat.Options{})
	forward := toBob
	forward.Exit = exitNO
	w.gated(func(p *Plan) { p.Forwards = []Forward{forward} })
	w.goes(t, w.no, udp(host, site, 5000, 53, 10))
	give(t, w.no, udp(site, ownNO, 5000, 8441, 4), tcp(site, ownNO, 5000, 8442, 1, packet.SYN, nil, nil))
	w.heard(t)
	w.gated(func(p *Plan) { p.Tunnels = []*Tunnel{exitSE: w.se} })
	w.judge(t, []errorRow{
		{"its flow", nil, udp(host, site, 5000, 53, 10), packet.TunnelDown, prohibited + host},
		{"a new one", nil, udp(host, site, 5001, 53, 10), packet.TunnelDown, prohibited + host},
		{"a new connection", nil, tcp(host, site, 5001, 80, 1, packet.SYN, nil, nil), packet.TunnelDown, prohibited + host},
		{"an error", nil, quoting(host, site, 3, 3, udp(site, host, 53, 5000, 10)), packet.NoFlow, ""},
		{"an answer to a call", nil, udp(bob, site, 441, 5000, 4), packet.TunnelDown, prohibited + bob},
		{"a connection that was called", nil, tcp(bob, site, 442, 5000, 1, packet.SYN|packet.ACK, nil, nil), packet.TunnelDown,
			"lan: reset from " + site + " to " + bob},
	})
}

// Strangers learn of nothing. Who is in a conversation learns, by the tunnel and
// under its address, what the gateway's kernel would say by the uplink.
func errorsOutOfATunnel(t *testing.T) {
	w := limited(t, nat.Options{})
	w.gated(func(p *Plan) {
		all := rangeOf("0.0.0.0/0")
		p.Accepts[exitSE] = []Accept{{From: all, To: rangeOf("10.2.0.0/16")}, {From: all, To: rangeOf("203.0.113.0/24")}}
		p.Accepts[exitNO] = []Accept{{From: rangeOf("10.0.0.0/8"), Protos: []uint8{packet.TCP}}}
	})
	w.goes(t, w.se, udp(host, far, 5000, 53, 10))
	w.goes(t, w.no, udp(host, site, 5000, 53, 10))
	last := func(b []byte) []byte { // with a TTL that ends here
		b = bytes.Clone(b)
		b[8] = 1
		return setID(b)
	}
	cut := pieces(udp(far, own, 53, 5000, 2000), 79, 0, 800, 2008)
	give(t, w.se, cut[0])
	w.got()
	about := quoting("198.51.100.77", own, 11, 0, udp(own, far, 5000, 53, 10))
	const told = "se: icmp %d/%d from " + own + " to " + far
	w.judge(t, []errorRow{
		{"last hop", w.se, last(udp(far, own, 53, 5000, 10)), packet.TTLExpired, fmt.Sprintf(told, 11, 0)},
		{"last hop of the other", w.no, last(udp(site, host, 53, 5000, 10)), packet.TTLExpired, "no: icmp 11/0 from " + ownNO + " to " + site},
		{"too big", w.se, setDF(udp(far, own, 53, 5000, 1500)), packet.TooBig, fmt.Sprintf(told, 3, 4)},
		{"too big for the other", w.se, setDF(udp(far, "10.2.0.1", 5000, 53, 1300)), packet.TooBig, fmt.Sprintf(told, 3, 4)},
		{"last hop of an error", w.se, last(about), packet.TTLExpired, ""},
		{"last hop of a later fragment", w.se, last(cut[1]), packet.TTLExpired, ""},
		{"last hop of a stranger", w.se, last(udp(far, own, 54, 5000, 10)), packet.NoFlow, ""},
		{"stranger", w.se, udp(far, own, 54, 5000, 10), packet.NoFlow, ""},
		{"stranger's SYN", w.se, tcp(far, own, 80, 22, 1, packet.SYN, nil, nil), packet.NoFlow, ""},
		{"stranger's error", w.se, quoting(far, own, 3, 3, udp(own, far, 1, 1, 10)), packet.NoFlow, ""},
		{"not accepted", w.no, udp(site, alice, 5000, 99, 10), packet.NotAccepted, ""},
		{"no way on", w.se, udp(far, "203.0.113.7", 5000, 53, 10), packet.NoRelay, ""},
		{"broadcast of the LAN", w.no, tcp(site, "192.168.77.255", 5000, 80, 1, packet.SYN, nil, nil), packet.NoFlow, ""},
		{"broadcast", w.no, udp(site, "255.255.255.255", 5000, 53, 10), packet.NotAccepted, ""},
		{"spoofed", w.se, udp(alice, own, 53, 5000, 10), packet.SpoofedSource, ""},
		{"IPv6", w.se, udp6(), packet.IPv6Refused, ""},
	})
}

// flood has the router drop n packets for one reason, and wants between burst
// answers and those that rate allows in the time that it took.
func (w *world) flood(t *testing.T, n int, why packet.Reason, burst, rate int, send func(i int)) {
	t.Helper()
	before, begun := w.Dropped[why].Load(), time.Now()
	for i := range n {
		send(i)
	}
	w.dropped(why, before+uint64(n))
	most := burst + int(time.Since(begun).Seconds()*float64(rate)) + 1
	said := len(w.heard(t))
	if said < burst || said > most {
		t.Errorf("%d answers to %d packets in %v, want %d to %d", said, n, time.Since(begun), burst, most)
	}
}

// One host is told 50 times at once and 100 times a second; the others are not
// the worse for it.
func errorsPerHost(t *testing.T) {
	w := limited(t, nat.Options{})
	w.flood(t, 500, packet.PolicyReject, 50, 100, func(i int) {
		if i%2 == 0 {
			w.send(segment.Header{}, udp(host, rejecting, 5000, 53, 10))
		} else {
			w.send(segment.Header{}, tcp(host, rejecting, 5000, 53, 1, packet.SYN, nil, nil))
		}
	})
	time.Sleep(100 * time.Millisecond) // all hosts together have their 50 again
	w.judge(t, []errorRow{{"another host", nil, udp(alice, rejecting, 5000, 53, 10), packet.PolicyReject,
		"lan: icmp 3/13 from " + router + " to " + alice}})
}

// All hosts together are told 50 times at once and 1,000 times a second, those
// of the LAN and those behind tunnels apart.
func errorsOverAll(t *testing.T) {
	w := limited(t, nat.Options{})
	w.gated(func(p *Plan) { p.Accepts[exitNO] = []Accept{{From: rangeOf("10.0.0.0/8")}} })
	called := func(i int) []byte {
		b := udp(fmt.Sprintf("10.1.%d.%d", i/256, i%256), alice, 5000, 53, 10)
		b[8] = 1
		return setID(b)
	}
	w.flood(t, 1000, packet.PolicyReject, 50, 1000, func(i int) {
		w.send(segment.Header{}, udp(fmt.Sprintf("192.168.77.%d", 2+i%250), rejecting, 5000, 53, 10))
	})
	w.flood(t, 400, packet.TTLExpired, 50, 1000, func(i int) { give(t, w.no, called(i)) })
	w.judge(t, []errorRow{{"of the LAN", nil, udp(other, rejecting, 5000, 53, 10), packet.PolicyReject,
		"lan: icmp 3/13 from " + otherGate + " to " + other}})
}
