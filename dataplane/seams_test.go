package dataplane

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"turnout/classifier/packet"
	"turnout/dataplane/segment"
	"turnout/tests/hostile"
)

// seams are the two places where a world takes packets in, with a conversation
// through the tunnel se that is under way.
//
//	kernel ── TUN descriptor ── Engine ── Tunnel.Read
//	   LAN seam ^                            Tunnel.Write ^ tunnel seam
type seams struct {
	*world
	talk  [hostile.Sides]hostile.Talk
	bufs  [][]byte
	sizes []int
}

// An output is a packet that came out somewhere, the virtio header apart.
type output struct {
	header segment.Header
	packet []byte
}

// talks is the conversation of the tests, as either side sees it.
func talks() [hostile.Sides]hostile.Talk {
	addr := netip.MustParseAddr
	lan := hostile.Talk{
		Side: hostile.LAN, Src: addr(host), Dst: addr(far), Src6: addr("fd00:77::10"), Dst6: addr("2001:db8:100::1"),
		UDP: hostile.Ports{Src: 5000, Dst: 53}, TCP: hostile.Ports{Src: 5002, Dst: 80}, Opening: hostile.Ports{Src: 5001, Dst: 80},
		Echo: 77, Seq: 1000, Ack: 2000,
	}
	tunnel := hostile.Talk{
		Side: hostile.Tunnel, Src: lan.Dst, Dst: addr(own), Src6: lan.Dst6, Dst6: addr("fd00:64::2"),
		UDP: hostile.Ports{Src: 53, Dst: 5000}, TCP: hostile.Ports{Src: 80, Dst: 5002}, Opening: hostile.Ports{Src: 80, Dst: 5001},
		Echo: 77, Seq: lan.Ack, Ack: lan.Seq,
	}
	return [hostile.Sides]hostile.Talk{lan, tunnel}
}

// newSeams makes a world with a conversation under way.
func newSeams(t testing.TB, bufs [][]byte) *seams {
	s := &seams{world: newWorld(t), talk: talks(), bufs: bufs, sizes: make([]int, len(bufs))}
	for _, step := range hostile.Begin(s.talk) {
		s.put(step.Side, segment.Header{}, step.Packet)
		if step.Side == hostile.LAN {
			s.left()
		} else {
			s.delivered()
		}
	}
	return s
}

// buffers are what WireGuard would hand to Read and Write.
func buffers() [][]byte {
	bufs := make([][]byte, batchSize)
	for i := range bufs {
		bufs[i] = make([]byte, 16+65535)
	}
	return bufs
}

// put hands in a packet on one side.
func (s *seams) put(side hostile.Side, h segment.Header, pkt []byte) {
	s.Helper()
	if side == hostile.LAN {
		s.send(h, pkt)
		return
	}
	buf := append(make([]byte, 16), pkt...)
	if n, err := s.se.Write([][]byte{buf}, 16); n != 1 || err != nil {
		s.Fatalf("Write took %d packets, %v", n, err)
	}
}

// settle returns what has come out on either side of what was put in so far.
// Good packets behind it say where that ends, and that their flows live on.
func (s *seams) settle() (out [hostile.Sides][]output) {
	s.Helper()
	alive := []byte("the flow lives on")
	for _, pkt := range s.talk[hostile.LAN].Sound(alive) {
		s.send(segment.Header{}, pkt)
	}
	beyond := udp(host, "203.0.113.9", 5000, 53, 10) // direct: back to the kernel
	s.send(segment.Header{}, beyond)
	out[hostile.Tunnel] = s.until(s.left, 3, func(b []byte) bool { return bytes.HasSuffix(b, alive) })
	out[hostile.LAN] = s.until(s.delivered, 1, func(b []byte) bool { return bytes.HasSuffix(b, beyond[20:]) })

	for _, pkt := range s.talk[hostile.Tunnel].Sound(alive) {
		s.put(hostile.Tunnel, segment.Header{}, pkt)
	}
	late := s.until(s.delivered, 3, func(b []byte) bool { return bytes.HasSuffix(b, alive) })
	out[hostile.LAN] = append(out[hostile.LAN], late...)
	return out
}

// until collects what next returns until n packets were the ones to stop at,
// which are left out.
func (s *seams) until(next func() []output, n int, stop func([]byte) bool) (out []output) {
	s.Helper()
	for n > 0 {
		for _, o := range next() {
			if stop(o.packet) {
				n--
				continue
			}
			out = append(out, o)
		}
	}
	if n < 0 {
		s.Fatal("a packet came out twice")
	}
	return out
}

// left returns the next packets that leave by the tunnel.
func (s *seams) left() (out []output) {
	s.Helper()
	alarm := time.AfterFunc(5*time.Second, func() { s.se.Close() })
	defer alarm.Stop()
	n, err := s.se.Read(s.bufs, s.sizes, 16)
	if err != nil {
		s.Fatalf("a good packet has not left by the tunnel: %v", err)
	}
	s.se.Sending()
	s.se.Sent(n)
	for i := range n {
		out = append(out, output{packet: bytes.Clone(s.bufs[i][16:][:s.sizes[i]])})
	}
	return out
}

// delivered returns the next packet that the kernel gets.
func (s *seams) delivered() []output {
	s.Helper()
	b := make([]byte, segment.HeaderLen+frameSize)
	s.kernel.SetReadDeadline(time.Now().Add(5 * time.Second))
	n, err := s.kernel.Read(b)
	if err != nil {
		s.Fatalf("a good packet has not come to the kernel: %v", err)
	}
	var o output
	o.header.Decode(b)
	o.packet = b[segment.HeaderLen:n]
	return []output{o}
}

// drops are the counts of this moment.
func (s *seams) drops() (n [packet.NumReasons]uint64) {
	s.Dropped.Each(func(r packet.Reason, count uint64) { n[r] = count })
	return n
}
