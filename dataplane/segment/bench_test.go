package segment

import (
	"testing"

	"turnout/classifier/packet"
)

// A sink is a Writer that throws away.
type sink struct{ n int }

func (s *sink) WriteVec(_ *Header, iov [][]byte) error {
	for _, b := range iov {
		s.n += len(b)
	}
	return nil
}

// bulk is a forwarded TCP stream with timestamps: 46 segments of 1,420 bytes.
func bulk(t testing.TB) (Header, []byte, *packet.View) {
	m := tcp4(make([]byte, 46*1380))
	for i := range m.payload {
		m.payload[i] = byte(i * 7)
	}
	return m.super(t, 1380)
}

func TestNoAllocations(t *testing.T) {
	h, b, v := bulk(t)
	packets := cutAll(t, h, b, v)
	views := make([]*packet.View, len(packets))
	for i, p := range packets {
		views[i] = decode(t, p)
	}
	u := udp4(make([]byte, 100)).bytes(t)
	uv := decode(t, u)
	var cutter Cutter
	var merge Coalescer
	var out sink
	buf := make([]byte, 2048)
	for _, row := range []struct {
		name string
		run  func()
	}{
		{"cut", func() {
			cutter.Start(h, b, v)
			for cutter.Next(buf) > 0 {
			}
		}},
		{"whole", func() {
			cutter.Start(Header{}, u, uv)
			cutter.Next(buf)
		}},
		{"coalesce", func() {
			for i, p := range packets {
				merge.Add(p, views[i])
				merge.Add(u, uv)
			}
			merge.Flush(&out)
		}},
		{"header", func() {
			h.Encode(buf)
			h.Decode(buf)
		}},
	} {
		if n := testing.AllocsPerRun(100, row.run); n != 0 {
			t.Errorf("%s: %v allocations", row.name, n)
		}
	}
}

// BenchmarkCut cuts into 128 buffers in turn, as a tunnel does; ns/segment is
// the figure.
func BenchmarkCut(b *testing.B) {
	h, pkt, v := bulk(b)
	bufs := make([][65535]byte, 128)
	var c Cutter
	n := 0
	for b.Loop() {
		c.Start(h, pkt, v)
		for c.Next(bufs[n%128][16:]) > 0 {
			n++
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/segment")
}

func BenchmarkCopyAlone(b *testing.B) {
	_, pkt, _ := bulk(b)
	bufs := make([][65535]byte, 128)
	n := 0
	for b.Loop() {
		for i := 0; i+1420 <= len(pkt); i += 1380 {
			copy(bufs[n%128][16:], pkt[i:i+1420])
			n++
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/segment")
}

func BenchmarkCoalesce(b *testing.B) {
	h, pkt, v := bulk(b)
	packets := cutAll(b, h, pkt, v)
	views := make([]packet.View, len(packets))
	head := make([]byte, 40)
	copy(head, packets[0])
	for i, p := range packets {
		views[i] = *decode(b, p)
	}
	var c Coalescer
	var w sink
	for b.Loop() {
		copy(packets[0], head) // the last Flush made it a super-packet's
		for i, p := range packets {
			c.Add(p, &views[i])
		}
		c.Flush(&w)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(packets)), "ns/segment")
}

// BenchmarkCoalesceNothing is a batch of acknowledgements of many flows.
func BenchmarkCoalesceNothing(b *testing.B) {
	var packets [][]byte
	var views []packet.View
	for i := range 128 {
		m := tcp4(nil)
		m.tcp.DstPort += 1
		m.ip4.SrcIP[3] = byte(i)
		packets = append(packets, m.bytes(b))
		views = append(views, *decode(b, packets[i]))
	}
	var c Coalescer
	var w sink
	for b.Loop() {
		for i, p := range packets {
			c.Add(p, &views[i])
		}
		c.Flush(&w)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(packets)), "ns/segment")
}
