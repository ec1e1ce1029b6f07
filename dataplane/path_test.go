package dataplane

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"turnout/classifier/packet"
	"turnout/dataplane/segment"
)

const (
	host   = "192.168.77.10"
	far    = "198.51.100.1"
	own    = "10.64.0.2"
	site   = "10.1.2.3"
	router = "192.168.77.1"
)

func TestThereAndBack(t *testing.T) {
	for _, c := range []struct {
		name        string
		out, answer []byte
	}{
		{"udp", udp(host, far, 5000, 53, 100), udp(far, own, 53, 5000, 200)},
		{"tcp", tcp(host, far, 5000, 80, 7, packet.SYN, nil, nil), tcp(far, own, 80, 5000, 9, packet.SYN|packet.ACK, nil, nil)},
		{"icmp", echo(host, far, 8, 77), echo(far, own, 0, 77)},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.name == "tcp" {
				binary.BigEndian.PutUint32(c.answer[28:], 8) // acknowledges the SYN
				seal(c.answer, 16)
			}
			w := newWorld(t)
			w.send(segment.Header{}, c.out)
			out := read(t, w.se, 128)
			if len(out) != 1 {
				t.Fatalf("%d packets left", len(out))
			}
			if v := sound(t, out[0]); v.Src.String() != own || v.Dst.String() != far {
				t.Fatalf("it left from %v to %v", v.Src, v.Dst)
			}
			give(t, w.se, c.answer)
			_, back := w.got()
			if back == nil {
				t.Fatal("no answer arrived")
			}
			if v := sound(t, back); v.Src.String() != far || v.Dst.String() != host {
				t.Fatalf("the answer is from %v to %v", v.Src, v.Dst)
			}
			if !bytes.Equal(back[28:], c.answer[28:]) && c.name == "udp" {
				t.Fatal("the answer's payload changed")
			}
		})
	}
}

func TestAddressesStayWithoutNAT(t *testing.T) {
	w := newWorld(t)
	w.send(segment.Header{}, udp(host, site, 5000, 53, 10))
	if v := sound(t, read(t, w.no, 128)[0]); v.Src.String() != host {
		t.Fatalf("it left from %v", v.Src)
	}
	give(t, w.no, udp(site, host, 53, 5000, 10))
	if _, back := w.got(); back == nil {
		t.Fatal("no answer arrived")
	}
}

func TestDirectGoesBackToTheKernel(t *testing.T) {
	w := newWorld(t)
	pkt := udp(host, "203.0.113.9", 5000, 53, 10)
	w.send(segment.Header{}, pkt)
	_, back := w.got()
	if back == nil {
		t.Fatal("nothing came back")
	}
	if v := sound(t, back); v.TTL != 65 {
		t.Errorf("TTL %d: the kernel lowered 65 to 64 on the way here, and lowers it again", v.TTL)
	}
	counted := func() uint64 { return w.Direct.Packets.Load() }
	for end := time.Now().Add(2 * time.Second); counted() == 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond) // the packet is written before it is counted
	}
	if n := counted(); n != 1 {
		t.Errorf("%d packets counted", n)
	}
	pkt[8] = 255
	seal(pkt, 6)
	w.send(segment.Header{}, pkt)
	if _, back = w.got(); back == nil || sound(t, back).TTL != 255 {
		t.Errorf("a TTL of 255 came back as %x", back)
	}
}

func TestWhatPolicyRefuses(t *testing.T) {
	w := newWorld(t)
	w.send(segment.Header{}, udp(host, "192.0.2.1", 5000, 53, 10))
	w.dropped(packet.PolicyDrop, 1)
	if _, pkt := w.got(); pkt != nil {
		t.Fatal("drop answered")
	}

	w.send(segment.Header{}, udp(host, "192.0.2.2", 5000, 53, 10))
	_, pkt := w.got()
	if v := sound(t, pkt); v.Type != 3 || v.Code != 13 || v.Src.String() != router || v.Dst.String() != host {
		t.Errorf("a datagram was refused with ICMP %d/%d from %v to %v", v.Type, v.Code, v.Src, v.Dst)
	}

	w.send(segment.Header{}, tcp(host, "192.0.2.2", 5000, 80, 41, packet.SYN, nil, nil))
	_, pkt = w.got()
	v := sound(t, pkt)
	if v.Flags != packet.RST|packet.ACK || v.Src.String() != "192.0.2.2" || binary.BigEndian.Uint32(pkt[28:]) != 42 {
		t.Errorf("a SYN was refused with flags %#x from %v, acknowledging %d", v.Flags, v.Src, binary.BigEndian.Uint32(pkt[28:]))
	}
	w.dropped(packet.PolicyReject, 2)
}

func TestSuperPacketIsCutAndMergedAgain(t *testing.T) {
	w := newWorld(t)
	data := bytes.Repeat([]byte("0123456789"), 3000)
	pkt := tcp(host, far, 5000, 80, 100, packet.ACK|packet.PSH, nil, data)
	// As the kernel gives it: only the pseudo-header is in the checksum.
	partial := append([]byte(nil), pkt...)
	v := sound(t, pkt)
	binary.BigEndian.PutUint16(partial[36:], packet.Checksum(nil, packet.PseudoSum(v, len(pkt)-20)))
	h := segment.Header{Flags: segment.NeedsChecksum, GSOType: segment.GSOTCPv4, GSOSize: 1380, HdrLen: 40, CsumStart: 20, CsumOffset: 16}
	w.send(h, partial)

	var segments [][]byte
	for n := 0; n < len(data); {
		for _, s := range read(t, w.se, 128) {
			v := sound(t, s)
			if v.Src.String() != own || len(s) > 1420 {
				t.Fatalf("a segment of %d bytes from %v", len(s), v.Src)
			}
			n += len(s) - 40
			segments = append(segments, s)
		}
	}
	// The far end sends the same back.
	for i, s := range segments {
		body := append([]byte(nil), s[40:]...)
		segments[i] = setDF(tcp(far, own, 80, 5000, 900+uint32(i)*1380, packet.ACK, nil, body))
	}
	give(t, w.se, segments...)
	var back []byte
	packets := 0
	for len(back) < len(data) {
		h, pkt := w.got()
		if pkt == nil {
			t.Fatalf("%d of %d bytes came back", len(back), len(data))
		}
		if h.GSOType != segment.GSONone && h.GSOSize != 1380 {
			t.Errorf("a super-packet of segments of %d bytes", h.GSOSize)
		}
		back = append(back, pkt[40:]...)
		packets++
	}
	if !bytes.Equal(back, data) {
		t.Fatal("it came back different")
	}
	if packets > 2 {
		t.Errorf("%d segments were written as %d packets", len(segments), packets)
	}
}

func TestTooBig(t *testing.T) {
	w := newWorld(t)
	w.send(segment.Header{}, setDF(udp(host, far, 5000, 4000, 1400)))
	_, pkt := w.got()
	if pkt == nil {
		t.Fatal("no answer")
	}
	v := sound(t, pkt)
	if mtu := binary.BigEndian.Uint16(pkt[26:]); v.Type != 3 || v.Code != 4 || mtu != 1420 || v.Dst.String() != host {
		t.Errorf("ICMP %d/%d with MTU %d to %v", v.Type, v.Code, mtu, v.Dst)
	}
	var quoted packet.View
	if why := v.Embedded(pkt, &quoted); why != packet.OK || quoted.Src.String() != host {
		t.Errorf("it quotes a packet from %v (%v); the host knows only its own", quoted.Src, why)
	}

	whole := udp(host, far, 5000, 4000, 3000)
	w.send(segment.Header{}, whole)
	out := read(t, w.se, 128)
	if len(out) != 3 || !bytes.Equal(reassemble(t, out)[8:], whole[28:]) {
		t.Errorf("a datagram of %d bytes left as %d packets", len(whole), len(out))
	}
}

func TestMSSIsClampedBothWays(t *testing.T) {
	mss := []byte{2, 4, 0x05, 0xb4} // 1460
	w := newWorld(t)
	w.send(segment.Header{}, tcp(host, far, 5000, 80, 7, packet.SYN, mss, nil))
	out := read(t, w.se, 128)[0]
	sound(t, out)
	if got := binary.BigEndian.Uint16(out[42:]); got != 1380 {
		t.Errorf("SYN with MSS %d left", got)
	}
	answer := tcp(far, own, 80, 5000, 9, packet.SYN|packet.ACK, mss, nil)
	binary.BigEndian.PutUint32(answer[28:], 8)
	seal(answer, 16)
	give(t, w.se, answer)
	_, back := w.got()
	if back == nil {
		t.Fatal("no SYN-ACK arrived")
	}
	sound(t, back)
	if got := binary.BigEndian.Uint16(back[42:]); got != 1380 {
		t.Errorf("SYN-ACK with MSS %d arrived", got)
	}
}

// A tunnel is not trusted: nothing gets in that nobody asked for.
func TestUnaskedFromTheTunnel(t *testing.T) {
	w := newWorld(t)
	w.send(segment.Header{}, udp(host, far, 5000, 53, 10)) // one flow by se
	read(t, w.se, 128)
	ttl := udp(far, own, 53, 5000, 10)
	ttl[8] = 1
	seal(ttl, 6)
	sum := udp(far, own, 53, 5000, 10)
	sum[10] ^= 1
	for _, c := range []struct {
		name string
		by   *Tunnel
		pkt  []byte
		why  packet.Reason
	}{
		{"another port", w.se, udp(far, own, 53, 5001, 10), packet.NoFlow},
		{"another tunnel", w.no, udp(far, own, 53, 5000, 10), packet.NoFlow},
		{"another sender", w.se, udp("198.51.100.2", own, 53, 5000, 10), packet.NoFlow},
		{"straight to the host", w.se, udp(far, host, 53, 5000, 10), packet.NoFlow},
		{"a SYN", w.se, tcp(far, own, 80, 22, 1, packet.SYN, nil, nil), packet.NoFlow},
		{"as a LAN host", w.se, udp("192.168.77.20", own, 53, 5000, 10), packet.SpoofedSource},
		{"as the gateway", w.se, udp(router, own, 53, 5000, 10), packet.SpoofedSource},
		{"broken checksum", w.se, sum, packet.BadChecksum},
		{"last hop", w.se, ttl, packet.TTLExpired},
		{"nothing", w.se, nil, packet.BadLength},
		{"four bytes", w.se, []byte{0x60, 0, 0, 0}, packet.BadLength},
		{"IPv6", w.se, udp6(), packet.IPv6Refused},
	} {
		before := w.Dropped[c.why].Load()
		give(t, c.by, c.pkt)
		if got := w.Dropped[c.why].Load(); got != before+1 {
			t.Errorf("%s: counted %d times as %v", c.name, got-before, c.why)
			w.Dropped.Each(func(r packet.Reason, n uint64) { t.Logf("%v %d", r, n) })
		}
	}
	if _, pkt := w.got(); pkt != nil {
		t.Errorf("%d bytes reached the LAN", len(pkt))
	}
	// The sender whose TTL ran out is told so, through the tunnel.
	answer := read(t, w.se, 128)[0]
	if v := sound(t, answer); v.Type != 11 || v.Dst.String() != far || v.Src.String() != own {
		t.Errorf("ICMP %d from %v to %v", v.Type, v.Src, v.Dst)
	}
}

// udp6 makes a datagram of IPv6 that nothing is wrong with.
func udp6() []byte {
	b := append([]byte{0x60, 0, 0, 0, 0, 8, packet.UDP, 64, 0x20, 1}, make([]byte, 14+16+8)...)
	b[24], b[25], b[39] = 0x20, 1, 1
	copy(b[40:], []byte{0, 53, 0, 53, 0, 8, 1, 1})
	return b
}

func TestForeignSourcesOfTheLAN(t *testing.T) {
	w := newWorld(t)
	for _, src := range []string{"10.9.9.9", "192.0.0.8", "192.168.77.255", "192.168.78.1", router} {
		w.send(segment.Header{}, udp(src, far, 5000, 53, 10))
	}
	w.dropped(packet.ForeignSource, 5)
	w.send(segment.Header{}, udp(host, "224.0.0.251", 5353, 5353, 10))
	w.send(segment.Header{}, udp(host, "255.255.255.255", 67, 68, 10))
	w.dropped(packet.BadAddress, 2)
	if n := w.flows.Len(); n != 0 {
		t.Errorf("%d flows were made", n)
	}
}

func TestAStuckTunnelStopsNobodyElse(t *testing.T) {
	w := newWorld(t)
	for i := range ringSlots + 100 { // nobody reads w.no
		w.send(segment.Header{}, udp(host, site, uint16(1000+i), 53, 10))
		if i%64 == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	w.dropped(packet.QueueFull, 100)
	w.send(segment.Header{}, udp(host, far, 5000, 53, 10))
	read(t, w.se, 128)
	if got := w.no.Dropped[packet.QueueFull].Load(); got != 100 {
		t.Errorf("the stuck tunnel counts %d", got)
	}
}

// Read feeds no more than the window, and finds out when its packets were lost
// inside WireGuard.
func TestInFlightIsBounded(t *testing.T) {
	w := newWorld(t)
	w.se.proven.Store(true)
	bufs, sizes := make([][]byte, 128), make([]int, 128)
	for i := range bufs {
		bufs[i] = make([]byte, 2048)
	}
	fed := make(chan int, 1024)
	go func() {
		for {
			n, err := w.se.Read(bufs, sizes, 16)
			if err != nil {
				close(fed)
				return
			}
			fed <- n
		}
	}()
	for i := range 2000 {
		w.send(segment.Header{}, udp(host, far, uint16(1000+i), 53, 10))
		if i%64 == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	total := func() (n int) {
		for {
			select {
			case m := <-fed:
				n += m
			case <-time.After(inFlightPatience / 3):
				return n
			}
		}
	}
	if n := total(); n > inFlightMax || n < inFlightMax-batchSize {
		t.Errorf("%d packets were fed, at most %d may be in flight", n, inFlightMax)
	}
	w.se.Sending()
	w.se.Sent(inFlightMax / 2)
	if n := total(); n == 0 || n > inFlightMax/2 {
		t.Errorf("%d packets were fed after %d were sent", n, inFlightMax/2)
	}
	time.Sleep(2 * inFlightPatience)
	if n := total(); n == 0 {
		t.Error("a window whose packets were lost never opened again")
	}
	w.se.Close()
	for range fed {
	}
}

// A slow uplink holds up the socket for longer than the window has patience.
// That is no loss: more packets would only wait longer.
func TestASlowUplinkFillsNoQueue(t *testing.T) {
	w := newWorld(t)
	pkt := udp(host, far, 5000, 53, 100)
	var v packet.View
	v.Decode(pkt)
	fed := atomic.Int64{}
	go func() {
		bufs, sizes := make([][]byte, batchSize), make([]int, batchSize)
		for i := range bufs {
			bufs[i] = make([]byte, 2048)
		}
		for {
			n, err := w.se.Read(bufs, sizes, 16)
			if err != nil {
				return
			}
			fed.Add(int64(n))
		}
	}()
	w.se.Sending()
	for begun := time.Now(); time.Since(begun) < 4*inFlightPatience; time.Sleep(time.Millisecond) {
		for range 10 {
			w.se.push(segment.Header{}, &v, pkt, nil)
		}
		w.se.ring.signal()
	}
	if n := fed.Load(); n > inFlightMax {
		t.Errorf("%d packets were fed while the socket was sending, at most %d may be", n, inFlightMax)
	}
	w.se.Sent(100)
	for begun := time.Now(); fed.Load() <= inFlightMax-batchSize; time.Sleep(time.Millisecond) {
		if time.Since(begun) > 2*time.Second {
			t.Fatal("nothing more is fed once the socket has sent")
		}
	}
}

// One peer of a tunnel is dead: what is for it is fed and never sent. What is
// for the other one arrives all the same.
func TestADeadPeerHoldsUpNoOther(t *testing.T) {
	w := newWorld(t)
	both := w.NewTunnel(TunnelOptions{Name: "both", Exit: exitNO, MTU: 1420, Peers: 2})
	t.Cleanup(func() { both.Close() })
	living, dead := udp(host, far, 5000, 53, 100), udp(host, "10.9.9.9", 5000, 53, 100)
	var lost, arrived atomic.Int64
	var mostDead atomic.Int64
	go func() {
		bufs, sizes := make([][]byte, batchSize), make([]int, batchSize)
		for i := range bufs {
			bufs[i] = make([]byte, 2048)
		}
		for {
			n, err := both.Read(bufs, sizes, 16)
			if err != nil {
				return
			}
			alive := 0
			for _, b := range bufs[:n] {
				if bytes.Equal(b[16+16:16+20], living[16:20]) {
					alive++
				}
			}
			mostDead.Store(max(mostDead.Load(), int64(n-alive)))
			if alive > 0 {
				both.Sending()
				both.Sent(alive)
				arrived.Add(int64(alive))
			}
		}
	}()
	sent := int64(0)
	for begun := time.Now(); time.Since(begun) < 6*inFlightPatience; time.Sleep(time.Millisecond) {
		for range 3 {
			for _, pkt := range [][]byte{living, dead} {
				var v packet.View
				v.Decode(pkt)
				if _, why := both.push(segment.Header{}, &v, pkt, nil); why != packet.OK {
					lost.Add(1)
				}
			}
			sent++
		}
		both.ring.signal()
	}
	time.Sleep(2 * sharedPatience)
	if n := lost.Load(); n > 0 {
		t.Errorf("the queue was full for %d packets", n)
	}
	if n := arrived.Load(); n < sent {
		t.Errorf("%d of %d packets for the living peer were sent", n, sent)
	}
	if n := mostDead.Load(); n > sharedBatch {
		t.Errorf("a batch held %d packets for the dead peer, and there may be 128 such batches", n)
	}
}

func TestCloseEndsReadAndWriteGoesOn(t *testing.T) {
	w := newWorld(t)
	done := make(chan error, 1)
	go func() {
		_, err := w.se.Read([][]byte{make([]byte, 2048)}, []int{0}, 16)
		done <- err
	}()
	time.Sleep(10 * time.Millisecond)
	w.se.Close()
	w.se.Close()
	select {
	case err := <-done:
		if err != os.ErrClosed {
			t.Errorf("Read ended with %v", err)
		}
	case <-time.After(2 * time.Second):
		t.Fatal("Read does not end")
	}
	if _, ok := <-w.se.Events(); ok {
		t.Error("the channel of events is still open")
	}
	give(t, w.se, udp(far, own, 53, 5000, 10))
	w.send(segment.Header{}, udp(host, far, 5000, 53, 10))
	w.dropped(packet.TunnelDown, 1)
}

// What is too large for the host's own network is answered through the tunnel.
func TestTooBigForTheLAN(t *testing.T) {
	w := newWorld(t)
	p := *w.Plan()
	small := NewPlan(p.Table)
	small.Tunnels = p.Tunnels
	small.LAN = append([]Network{NewNetwork(netip.MustParsePrefix("192.168.78.0/24"), netip.MustParseAddr("192.168.78.1"), 9000)}, p.LAN...)
	small.LAN[1].MTU = 576
	w.Swap(small)
	w.send(segment.Header{}, udp(host, far, 5000, 53, 10))
	read(t, w.se, 128)
	give(t, w.se, setDF(udp(far, own, 53, 5000, 600)))
	answer := read(t, w.se, 128)[0]
	if v := sound(t, answer); v.Type != 3 || v.Code != 4 || binary.BigEndian.Uint16(answer[26:]) != 576 || v.Dst.String() != far {
		t.Errorf("ICMP %d/%d, MTU %d, to %v", v.Type, v.Code, binary.BigEndian.Uint16(answer[26:]), v.Dst)
	}
	if _, pkt := w.got(); pkt != nil {
		t.Error("it reached the LAN all the same")
	}
}
