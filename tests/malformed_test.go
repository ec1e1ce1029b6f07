package tests

import (
	"bytes"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"turnout/classifier/packet"
	"turnout/dataplane/segment"
	"turnout/tests/hostile"
	"turnout/tests/netlab"
)

// A wire is a router with raw sockets at both its ends, and a conversation
// through a tunnel that is under way. The machines behind the sockets hear
// nothing and answer nothing.
//
//	host1 eth0 ── LAN ── eth1 gateway: turnout up ══ WireGuard ══ sweden wg0
//	  ^ tap                                                          tap ^
type wire struct {
	*run
	talk [hostile.Sides]hostile.Talk
	tap  [hostile.Sides]*netlab.Tap // on the LAN, behind the tunnel

	counts map[string]uint64 // of drops, at the last look
}

func newWire(t *testing.T) *wire {
	t.Helper()
	need(t, "nft")
	w := &wire{run: world{Options: netlab.Options{Servers: []string{"sweden"}}}.up(t)}
	host, server := w.Hosts[0], w.Servers[0]
	const deaf = "table ip deaf { chain c { type filter hook prerouting priority raw; iifname %s drop; }; }"
	nft(t, host.Node, fmt.Sprintf(deaf, "eth0"))
	nft(t, server.Node, fmt.Sprintf(deaf, "wg0"))

	lan := hostile.Talk{
		Side: hostile.LAN, Src: host.Addr, Dst: netlab.Internet[0],
		Src6: netip.MustParseAddr("fd00:77::10"), Dst6: netlab.Internet6,
		UDP: hostile.Ports{Src: 5000, Dst: 53}, TCP: hostile.Ports{Src: 5002, Dst: 80}, Opening: hostile.Ports{Src: 5001, Dst: 80},
		Echo: 77, Seq: 1000, Ack: 2000,
	}
	far := hostile.Talk{
		Side: hostile.Tunnel, Src: lan.Dst, Dst: server.Client, Src6: lan.Dst6, Dst6: lan.Src6,
		UDP: hostile.Ports{Src: 53, Dst: 5000}, TCP: hostile.Ports{Src: 80, Dst: 5002}, Opening: hostile.Ports{Src: 80, Dst: 5001},
		Echo: 77, Seq: lan.Ack, Ack: lan.Seq,
	}
	w.talk = [hostile.Sides]hostile.Talk{lan, far}

	var gateway net.HardwareAddr
	err := w.Gateway.Do(func() error {
		ifi, err := net.InterfaceByName(w.LANInterface())
		if err == nil {
			gateway = ifi.HardwareAddr
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if w.tap[hostile.LAN], err = host.Tap("eth0", gateway); err != nil {
		t.Fatal(err)
	}
	if w.tap[hostile.Tunnel], err = server.Tap("wg0", nil); err != nil {
		t.Fatal(err)
	}
	for _, step := range hostile.Begin(w.talk) {
		w.send(t, step.Side, step.Packet)
		w.await(t, 1-step.Side, 1, w.fromRouter)
	}
	w.counts = w.drops(t)
	return w
}

func (w *wire) send(t *testing.T, side hostile.Side, pkt []byte) {
	t.Helper()
	if err := w.tap[side].Send(pkt); err != nil {
		t.Fatalf("sending on the side of the %v: %v", side, err)
	}
}

// await collects what comes in at one end until n packets are the ones to stop
// at, which are left out.
func (w *wire) await(t *testing.T, side hostile.Side, n int, stop func([]byte) bool) (came [][]byte) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); n > 0; time.Sleep(time.Millisecond) {
		for _, b := range w.tap[side].Came() {
			if stop(b) {
				n--
			} else if w.fromRouter(b) {
				came = append(came, b)
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("a good packet does not arrive on the side of the %v", side)
		}
	}
	return came
}

// fromRouter reports whether a packet came through the gateway, or from what
// answers there for the tunnel; its kernel has ICMP errors for LAN hosts, and
// listens to groups.
func (w *wire) fromRouter(b []byte) bool {
	const igmp = 2
	src, _ := netip.AddrFromSlice(b[12:16])
	return src != w.GatewayAddr() && b[9] != igmp
}

// settle returns what has arrived at either end of what was sent so far, and
// sees that the conversation goes on.
func (w *wire) settle(t *testing.T) (came [hostile.Sides][][]byte) {
	t.Helper()
	alive := []byte("the flow lives on")
	for side := range hostile.Sides {
		for _, pkt := range w.talk[side].Sound(alive) {
			w.send(t, side, pkt)
		}
		came[1-side] = w.await(t, 1-side, 3, func(b []byte) bool { return bytes.HasSuffix(b, alive) })
	}
	return came
}

// drops asks the daemon what it has counted.
func (w *wire) drops(t *testing.T) map[string]uint64 {
	t.Helper()
	var s struct {
		Drops []struct {
			Reason  string
			Packets uint64
		}
	}
	askJSON(t, w.run, &s, "status", "--json", "--run-dir", w.RunDir())
	n := map[string]uint64{}
	for _, d := range s.Drops {
		n[d.Reason] = d.Packets
	}
	return n
}

// Malformed packets from raw sockets at both ends of a router that is up: each
// that gets there becomes what docs/malformed.md says, is counted once and by
// its name, and the conversation goes on. The others were stopped before.
func TestMalformedOnTheWire(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	watch := w.watch(t)
	reached := 0
	cases := hostile.Cases()
	for len(cases) > 0 {
		n := 1 // of one class, for which the daemon is asked once
		for n < len(cases) && cases[n].Class == cases[0].Class {
			n++
		}
		reached += w.class(t, cases[:n])
		cases = cases[n:]
	}
	if reached < 150 {
		t.Errorf("only %d packets reach the router: the test proves little", reached)
	}
	if err := watch.Leaks(); err != nil {
		t.Error(err)
	}
}

// class sends the packets of a class from both sides, judges what becomes of
// each and what is counted, and returns how many got to the router.
func (w *wire) class(t *testing.T, cases []hostile.Case) (reached int) {
	t.Helper()
	counts := maps.Clone(w.counts)
	for _, c := range cases {
		for side, want := range c.Want {
			if want.Outcome == hostile.Nowhere || c.Header != (segment.Header{}) {
				continue // there is no virtio header on a wire
			}
			switch side := hostile.Side(side); c.Passage(side) {
			case hostile.Reaches:
				w.try(t, &c, side, want)
				if reached++; want.Reason != packet.OK {
					counts[want.Reason.String()]++
				}
			case hostile.Stopped:
				w.try(t, &c, side, hostile.Result{Outcome: hostile.Drop})
			}
		}
	}
	w.counts = w.drops(t)
	if diff := cmp.Diff(counts, w.counts); diff != "" {
		t.Errorf("M%d: the counters are not (-) but (+):\n%s", cases[0].Class, diff)
	}
	return reached
}

// try sends the packets of a case and judges what becomes of the last.
func (w *wire) try(t *testing.T, c *hostile.Case, side hostile.Side, want hostile.Result) {
	t.Helper()
	for _, pkt := range c.Packets(w.talk[side]) {
		if err := w.tap[side].Send(pkt); err != nil && c.Passage(side) != hostile.Stopped {
			t.Fatalf("sending on the side of the %v: %v", side, err) // else the socket refuses it
		}
	}
	// Awaited, because the far end's device may merge it with what follows.
	switch want.Outcome {
	case hostile.Answer:
		w.await(t, side, 1, w.fromRouter)
	case hostile.Trim, hostile.Forward:
		w.await(t, 1-side, 1, w.fromRouter)
	}
	for at, came := range w.settle(t) {
		if len(came) > 0 {
			t.Errorf("M%d from the %v, %s: something arrives on the side of the %v: %x", c.Class, side, c.Name, hostile.Side(at), came)
		}
	}
}
