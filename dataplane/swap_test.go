package dataplane

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"testing"
	"time"

	"turnout/classifier"
	"turnout/classifier/packet"
	"turnout/dataplane/nat"
	"turnout/dataplane/segment"
)

// planTo sends everything to one exit; what is listed in gone has no tunnel.
func (w *world) planTo(exit classifier.ExitID, gone ...classifier.ExitID) *Plan {
	w.Helper()
	table, err := classifier.Compile(&classifier.Policy{
		Exits:   w.Plan().Table.Policy().Exits,
		Entries: []classifier.Entry{{By: classifier.ByDefault, Exit: exit, Text: "default"}},
	})
	if err != nil {
		w.Fatal(err)
	}
	p := NewPlan(table)
	p.LAN = []Network{NewNetwork(netip.MustParsePrefix("192.168.77.0/24"), netip.MustParseAddr(router), 1500)}
	p.Tunnels[exitSE], p.Tunnels[exitNO] = w.se, w.no
	for _, id := range gone {
		p.Tunnels[id] = nil
	}
	return p
}

// leaves sends a packet and wants it to come out of a tunnel.
func (w *world) leaves(t *testing.T, pkt []byte, by *Tunnel) {
	t.Helper()
	w.send(segment.Header{}, pkt)
	if n := len(read(t, by, 128)); n != 1 {
		t.Fatalf("%d packets left by %s, want 1", n, by.opt.Name)
	}
}

func TestFlowsKeepTheirExitOverSwap(t *testing.T) {
	w := newWorld(t)
	old, new := udp(host, far, 5000, 53, 10), udp(host, far, 5001, 53, 10)
	w.leaves(t, old, w.se)
	for range 600 { // the generation goes round more than twice
		w.Swap(w.planTo(exitNO))
		w.leaves(t, old, w.se)
	}
	w.leaves(t, new, w.no)
	w.leaves(t, old, w.se)
	give(t, w.se, udp(far, own, 53, 5000, 10))
	if _, back := w.got(); back == nil {
		t.Error("the old flow's answer does not come back")
	}
}

func TestRepinMovesFlows(t *testing.T) {
	w := newWorld(t)
	query, ping := udp(host, far, 5000, 53, 10), echo(host, far, 8, 77)
	syn, ack := tcp(host, far, 5001, 80, 7, packet.SYN, nil, nil), tcp(host, far, 5001, 80, 8, packet.ACK, nil, nil)
	binary.BigEndian.PutUint32(ack[28:], 4711)
	seal(ack, 16)
	for _, pkt := range [][]byte{query, ping, syn} {
		w.leaves(t, pkt, w.se)
	}
	w.Repin(w.planTo(exitNO))
	w.leaves(t, query, w.no)
	w.leaves(t, ping, w.no)
	w.send(segment.Header{}, ack)
	_, pkt := w.got()
	if pkt == nil {
		t.Fatal("nothing tells the host that its connection is over")
	}
	if v := sound(t, pkt); v.Flags != packet.RST || binary.BigEndian.Uint32(pkt[24:]) != 4711 {
		t.Errorf("the host gets flags %#x, sequence number %d", v.Flags, binary.BigEndian.Uint32(pkt[24:]))
	}
	w.dropped(packet.InvalidState, 1)
	w.leaves(t, syn, w.no)
	// Nothing of the old exit gets in any more.
	give(t, w.se, udp(far, own, 53, 5000, 10))
	w.dropped(packet.NoFlow, 1)
	// A plain swap afterwards asks nobody.
	w.Swap(w.planTo(exitSE))
	w.leaves(t, query, w.no)
	if n := w.Flows().Len(); n != 3 {
		t.Errorf("%d flows, want 3", n)
	}
}

// Who asks again and gets the same exit goes on as before, port included.
func TestRepinToTheSameExit(t *testing.T) {
	w := newWorld(t)
	syn, ack := tcp(host, far, 5001, 80, 7, packet.SYN, nil, nil), tcp(host, far, 5001, 80, 8, packet.ACK, nil, nil)
	w.leaves(t, syn, w.se)
	w.Repin(w.planTo(exitSE))
	w.leaves(t, ack, w.se)
	answer := tcp(far, own, 80, 5001, 9, packet.SYN|packet.ACK, nil, nil)
	binary.BigEndian.PutUint32(answer[28:], 8)
	seal(answer, 16)
	give(t, w.se, answer)
	if _, back := w.got(); back == nil {
		t.Error("the connection is over")
	}
}

// A flow whose exit is gone asks again at its next packet.
func TestFlowsWhoseExitIsGone(t *testing.T) {
	w := newWorld(t)
	query := udp(host, far, 5000, 53, 10)
	w.leaves(t, query, w.se)
	w.Swap(w.planTo(exitNO, exitSE))
	w.leaves(t, query, w.no)
	w.Swap(w.planTo(exitSE, exitSE, exitNO))
	w.send(segment.Header{}, query)
	if _, pkt := w.got(); pkt == nil {
		t.Error("nothing tells the host that there is no way")
	}
	w.dropped(packet.TunnelDown, 1)
}

// TestSwapUnderLoad swaps policy as fast as it can while packets pass: every
// packet leaves by an exit of one of the two policies, and a flow by one only,
// but where it is told to ask again.
func TestSwapUnderLoad(t *testing.T) {
	w := newWorld(t)
	stop := make(chan struct{})
	var swapper, readers sync.WaitGroup
	swapper.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			p := w.planTo([]classifier.ExitID{exitSE, exitNO}[i%2])
			if i%8 == 7 {
				w.Repin(p)
			} else {
				w.Swap(p)
			}
		}
	})
	var mu sync.Mutex
	left := 0
	for _, tun := range []*Tunnel{w.se, w.no} {
		readers.Go(func() {
			bufs, sizes := make([][]byte, 128), make([]int, 128)
			for i := range bufs {
				bufs[i] = make([]byte, 16+2048)
			}
			for {
				n, err := tun.Read(bufs, sizes, 16)
				if err != nil {
					return
				}
				tun.Sent(n)
				for i := range n {
					b := bufs[i][16 : 16+sizes[i]]
					v := new(packet.View)
					if why := v.Decode(b); why != packet.OK || (v.Src.String() == own) != (tun == w.se) {
						t.Errorf("%s: a packet from %v leaves, %v", tun.opt.Name, v.Src, why)
					}
				}
				mu.Lock()
				left += n
				mu.Unlock()
			}
		})
	}
	const packets = 20_000
	for i := range packets {
		w.send(segment.Header{}, udp(host, far, uint16(5000+i%50), 53, 10))
	}
	dropped := func() (n uint64) {
		w.Dropped.Each(func(_ packet.Reason, k uint64) { n += k })
		return n
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		mu.Lock()
		n := left
		mu.Unlock()
		if n+int(dropped()) >= packets {
			t.Logf("%d packets left, %d found a full queue, %d flows", n, dropped(), w.Flows().Len())
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d of %d packets left, %d were dropped", n, packets, dropped())
		}
	}
	if other := dropped() - w.Dropped[packet.QueueFull].Load(); other > 0 {
		t.Errorf("%d packets were dropped for another reason than a full queue", other)
	}
	close(stop)
	swapper.Wait()
	w.se.Close()
	w.no.Close()
	readers.Wait()
}

// TestDecided follows one flow: its line is known as long as its table is in
// force, however many plans have that table.
func TestDecided(t *testing.T) {
	w := newWorld(t)
	query := udp(host, far, 5000, 53, 10)
	flow := func() (f nat.Flow) {
		w.leaves(t, query, w.se)
		w.Flows().Each(func(g nat.Flow) bool { f = g; return false })
		f.StartedAt -= 10 // before any of the plans to come
		return f
	}
	decided := func(when string, want bool) {
		t.Helper()
		if f := flow(); w.Plan().Decided(&f) != want {
			t.Fatalf("%s: %v, want %v", when, !want, want)
		}
	}
	again := func() {
		p := w.planTo(exitSE)
		p.Table = w.Plan().Table
		w.Swap(p)
	}
	decided("of the first plan", true)
	for range 200 { // the host changes, policy does not
		again()
		decided("of the first policy", true)
	}
	for range 600 { // the generation goes round more than twice
		w.Swap(w.planTo(exitSE))
		decided("under another policy", false)
	}
	again()
	decided("under another policy still", false)
	w.Repin(w.planTo(exitSE))
	decided("that asked again", true)
	again()
	decided("that asked the same policy", true)
	w.Swap(w.planTo(exitNO))
	decided("that asked an earlier policy", false)
}
