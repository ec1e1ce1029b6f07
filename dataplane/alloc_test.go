package dataplane

import (
	"net/netip"
	"testing"

	"turnout/classifier/packet"
	"turnout/dataplane/segment"
)

// A packet of a known flow allocates nothing, from the decoder to the ring and
// from WireGuard's buffer to the TUN device.
func TestPacketsDoNotAllocate(t *testing.T) {
	for name, m := range movers(t) {
		t.Run(name, func(t *testing.T) {
			m()
			if n := testing.AllocsPerRun(2000, m); n > 0 {
				t.Errorf("%v allocations a packet", n)
			}
		})
	}
}

func BenchmarkPacket(b *testing.B) {
	for name, m := range movers(b) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				m()
			}
		})
	}
}

// movers are functions that move one packet each; the tunnel's other end and
// the kernel are played without system calls where possible.
func movers(t testing.TB) map[string]func() {
	w := newWorld(t)
	d := &dispatcher{Engine: w.Engine, plan: w.Plan(), frame: w.frames.get(), writer: w.tun.NewWriter()}
	bufs, sizes := make([][]byte, batchSize), make([]int, batchSize)
	for i := range bufs {
		bufs[i] = make([]byte, 16+65535)
	}
	out := func(h segment.Header, pkt []byte) func() {
		return func() {
			h.Encode(d.frame.data[:])
			n := copy(d.frame.data[segment.HeaderLen:], pkt)
			d.packet(segment.HeaderLen + n)
			for d.woken != nil && w.se.ring.peek() != nil {
				w.se.fill(bufs, sizes, 16)
			}
			d.woken.flush()
		}
	}
	small, ack := udp(host, far, 4000, 9, 100), tcp(host, far, 4001, 80, 1, packet.ACK, nil, nil)
	super := tcp(host, far, 4001, 80, 1, packet.ACK, nil, make([]byte, 40000))
	out(segment.Header{}, small)()
	out(segment.Header{}, ack)()

	answer := udp(far, own, 9, 4000, 100)
	back := make([]byte, 16+len(answer))
	batch := [][]byte{back}
	kernel := make([]byte, 70000)

	conduit := w.no.Conduit()
	port, err := conduit.Open(0, func([]byte, netip.AddrPort) {})
	if err != nil {
		t.Fatal(err)
	}
	datagrams, to := [][]byte{make([]byte, 1252)}, netip.MustParseAddrPort(far+":51820")
	inner := [][]byte{make([]byte, 16+20+8+1252)}
	inside := udp(far, own, 51820, port, 1252)
	return map[string]func(){
		"udp out":       out(segment.Header{}, small),
		"tcp out":       out(segment.Header{}, ack),
		"tcp super out": out(segment.Header{GSOType: segment.GSOTCPv4, GSOSize: 1380}, super),
		"udp in": func() {
			copy(back[16:], answer)
			w.se.Write(batch, 16)
			w.kernel.Read(kernel)
		},
		"conduit out": func() {
			conduit.Send(datagrams, to)
			w.no.fill(bufs, sizes, 16)
		},
		"conduit in": func() {
			copy(inner[0][16:], inside)
			w.no.Write(inner, 16)
		},
	}
}
