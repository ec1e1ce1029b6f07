package dataplane

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"turnout/classifier/packet"
	"turnout/dataplane/segment"
)

// quoting makes an ICMP error from src to dst about pkt.
func quoting(src, dst string, typ, code uint8, pkt []byte) []byte {
	return build(src, dst, packet.ICMP, append([]byte{typ, code, 0, 0, 0, 0, 5, 0}, pkt...), 2)
}

// fragmentOf cuts bytes from to to out of the payload of pkt; more follow.
func fragmentOf(pkt []byte, from, to int, more bool) []byte {
	b := append(bytes.Clone(pkt[:20]), pkt[20+from:20+to]...)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	word := uint16(from / 8)
	if more {
		word |= 0x2000
	}
	binary.BigEndian.PutUint16(b[6:], word)
	b[10], b[11] = 0, 0
	binary.BigEndian.PutUint16(b[10:], ^packet.Checksum(b[:20], 0))
	return b
}

// asks are what the LAN sends, answers what the tunnel's far end says to it.
func asks() [][]byte {
	big := udp(host, far, 5000, 53, 3000)
	return [][]byte{
		udp(host, far, 5000, 53, 100), udp(host, site, 5000, 53, 100), udp(host, "203.0.113.9", 5000, 53, 100),
		tcp(host, far, 5001, 80, 7, packet.SYN, []byte{2, 4, 5, 0xb4, 1, 3, 3, 7}, nil),
		tcp(host, far, 5002, 80, 7, packet.ACK, nil, make([]byte, 600)),
		tcp(host, "192.0.2.2", 5003, 80, 7, packet.SYN, nil, nil),
		echo(host, far, 8, 77), big, fragmentOf(big, 0, 1480, true), fragmentOf(big, 1480, 3008, false),
		quoting(host, far, 3, 3, udp(far, host, 53, 5000, 30)), udp6(), setDF(udp(host, far, 5000, 53, 1450)),
	}
}

func answers() [][]byte {
	big := udp(far, own, 53, 5000, 3000)
	return [][]byte{
		udp(far, own, 53, 5000, 100), udp(site, host, 53, 5000, 100), big,
		tcp(far, own, 80, 5001, 9, packet.SYN|packet.ACK, []byte{2, 4, 5, 0xb4}, nil),
		tcp(far, own, 80, 5002, 9, packet.ACK, nil, make([]byte, 600)),
		tcp(far, own, 80, 5002, 609, packet.ACK|packet.PSH, nil, make([]byte, 600)),
		tcp(far, own, 80, 5002, 9, packet.RST, nil, nil),
		echo(far, own, 0, 77), fragmentOf(big, 0, 1480, true), fragmentOf(big, 1480, 3008, false),
		quoting("198.51.100.77", own, 11, 0, udp(own, far, 5000, 53, 30)),
		quoting("198.51.100.77", own, 3, 4, tcp(own, far, 5001, 80, 7, packet.SYN, nil, nil)),
		quoting(far, own, 3, 1, echo(own, far, 8, 77)), udp6(),
	}
}

// spoil changes a packet at random; most of the time it then mends checksums,
// so that the change is not found by them. The kernel passes none on whose
// header has a wrong one.
func spoil(rng *rand.Rand, pkt []byte, byKernel bool) []byte {
	b := bytes.Clone(pkt)
	for range rng.IntN(4) {
		switch i := rng.IntN(min(len(b), 64)); rng.IntN(5) {
		case 0:
			b[i] = byte(rng.Uint32())
		case 1:
			b[i] ^= 1 << rng.IntN(8)
		case 2:
			b = b[:1+rng.IntN(len(b))]
		case 3:
			b[0] = b[0]&0xf0 | byte(rng.IntN(16))
		case 4:
			if len(b) > 4 {
				binary.BigEndian.PutUint16(b[2:], uint16(rng.IntN(2*len(b))))
			}
		}
	}
	if n := int(b[0]&15) * 4; (byKernel || rng.IntN(5) > 0) && n >= 20 && n <= len(b) {
		if b[9] == packet.ICMP && len(b) >= n+8 {
			b[n+2], b[n+3] = 0, 0
			binary.BigEndian.PutUint16(b[n+2:], ^packet.Checksum(b[n:], 0))
		}
		b[10], b[11] = 0, 0
		binary.BigEndian.PutUint16(b[10:], ^packet.Checksum(b[:n], 0))
	}
	return b
}

// toLAN says what is wrong with a packet that was written to the TUN device.
func toLAN(b []byte) error {
	var v packet.View
	if why := v.Decode(b); why != packet.OK {
		return fmt.Errorf("malformed: %v", why)
	}
	if why := packet.VerifyHeader(b, &v); why != packet.OK {
		return fmt.Errorf("header: %v", why)
	}
	src, dst := v.Src.String(), v.Dst.String()
	switch {
	case v.Src.V4()>>8 == 0xc0a84d && v.Dst.V4()>>8 == 0xcb0071: // direct
	case v.Dst.V4()>>8 != 0xc0a84d:
		return fmt.Errorf("from %s to %s, which is not the LAN", src, dst)
	case v.Src.V4()>>8 == 0xc0a84d && src != router:
		return fmt.Errorf("from %s, a LAN host, to %s", src, dst)
	}
	return nil
}

// toTunnel says what is wrong with a packet that the tunnel of se was given.
func toTunnel(b []byte) error {
	var v packet.View
	if why := v.Decode(b); why != packet.OK {
		return fmt.Errorf("malformed: %v", why)
	}
	if packet.Checksum(b[:int(b[0]&15)*4], 0) != 0xffff {
		return fmt.Errorf("the header's checksum is wrong")
	}
	if v.Src.String() != own || len(b) > 1420 {
		return fmt.Errorf("%d bytes from %v", len(b), v.Src)
	}
	return nil
}

// Packets of all sorts come from both sides at once, many of them damaged, and
// a tunnel ends in the middle of it. Nothing falls over, and what gets through
// is sound and goes where it may.
func TestHostilePackets(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	w := newWorld(t)
	var reader, writers sync.WaitGroup
	reader.Go(func() {
		bufs, sizes := make([][]byte, batchSize), make([]int, batchSize)
		for i := range bufs {
			bufs[i] = make([]byte, 1<<16)
		}
		for {
			n, err := w.se.Read(bufs, sizes, 16)
			if err != nil {
				if err != os.ErrClosed {
					t.Errorf("Read ended with %v", err)
				}
				return
			}
			for i := range n {
				if err := toTunnel(bufs[i][16:][:sizes[i]]); err != nil {
					t.Errorf("into the tunnel: %v: %x", err, bufs[i][16:][:min(sizes[i], 80)])
				}
			}
			w.se.Sending()
			w.se.Sent(n)
		}
	})
	stop := make(chan struct{})
	running := func() bool {
		select {
		case <-stop:
			return false
		default:
			return true
		}
	}
	for g, tunnel := range []*Tunnel{w.se, w.se, w.no} {
		rng := rand.New(rand.NewPCG(seed, uint64(g)))
		writers.Go(func() {
			for list := answers(); running(); {
				bufs := make([][]byte, 1+rng.IntN(8))
				for i := range bufs {
					bufs[i] = append(make([]byte, 16), spoil(rng, list[rng.IntN(len(list))], false)...)
				}
				bufs[0] = bufs[0][:16+rng.IntN(len(bufs[0])-15)]
				if n, err := tunnel.Write(bufs, 16); n != len(bufs) || err != nil {
					t.Errorf("Write took %d of %d, %v", n, len(bufs), err)
				}
			}
		})
	}
	rng := rand.New(rand.NewPCG(seed, 99))
	writers.Go(func() {
		w.kernel.SetWriteDeadline(time.Now().Add(20 * time.Second))
		for list := asks(); running(); {
			h := segment.Header{}
			if rng.IntN(8) == 0 {
				h = segment.Header{Flags: byte(rng.IntN(4)), GSOType: byte(rng.IntN(6)), GSOSize: uint16(rng.IntN(2000)),
					CsumStart: uint16(20 * rng.IntN(2)), CsumOffset: uint16(6 + 10*rng.IntN(2))}
			}
			b := make([]byte, segment.HeaderLen)
			h.Encode(b)
			b = append(b, spoil(rng, list[rng.IntN(len(list))], true)...)
			if _, err := w.kernel.Write(b[:1+rng.IntN(len(b))]); err != nil {
				t.Errorf("the engine takes nothing more: %v", err)
				return
			}
			w.kernel.Write(b)
		}
	})
	arrived, b := 0, make([]byte, segment.HeaderLen+frameSize)
	for begun := time.Now(); time.Since(begun) < 2*time.Second; {
		w.kernel.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		n, err := w.kernel.Read(b)
		if err != nil {
			continue
		}
		arrived++
		if err := toLAN(b[segment.HeaderLen:n]); err != nil {
			t.Errorf("to the LAN: %v: %x", err, b[segment.HeaderLen:min(n, 90)])
		}
		if time.Since(begun) > time.Second {
			w.se.Close()
		}
	}
	close(stop)
	writers.Wait()
	w.se.Close()
	reader.Wait()
	w.Dropped.Each(func(r packet.Reason, n uint64) { t.Logf("%8d %v", n, r) })
	t.Logf("%8d to the LAN, %d into the tunnel", arrived, w.se.Out.Packets.Load())
	if arrived < 100 || w.se.Out.Packets.Load() < 100 {
		t.Error("hardly anything got through: the test proves nothing")
	}
}
