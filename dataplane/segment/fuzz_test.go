package segment

import (
	"bytes"
	"encoding/binary"
	"testing"

	"turnout/classifier/packet"
)

// FuzzCut gives the cutter headers and packets of strangers, and views that lie
// by a byte somewhere. Whatever is cut from a packet that decodes must decode
// again, with right checksums.
func FuzzCut(f *testing.F) {
	for _, m := range []message{
		tcp4(make([]byte, 300)), udp4(make([]byte, 300)), ip6(tcp4(make([]byte, 300))), ip6(udp4(make([]byte, 300))),
	} {
		h, b, _ := m.super(f, 100)
		head := make([]byte, HeaderLen)
		h.Encode(head)
		f.Add(head, b, uint16(0), uint8(0))
		head[1] = 0
		f.Add(head, b, uint16(1), uint8(2))
	}
	f.Fuzz(func(t *testing.T, head, b []byte, field uint16, delta uint8) {
		var h Header
		var v packet.View
		if !h.Decode(head) || v.Decode(b) != packet.OK {
			return
		}
		var c Cutter
		buf := make([]byte, 65535)
		if c.Start(h, b, &v) == packet.OK {
			for c.Left() > 0 {
				n := c.Next(buf[:h.Largest(&v)])
				if n == 0 {
					t.Fatalf("Largest is too small")
				}
				var piece packet.View
				if h.GSOType == GSONone {
					continue
				}
				if why := piece.Decode(buf[:n]); why != packet.OK {
					t.Fatalf("a piece does not decode: %v", why)
				}
				if packet.VerifyHeader(buf[:n], &piece) != packet.OK || !intact(buf[:n], &piece) {
					t.Fatalf("a piece has a wrong checksum: %x", buf[:n])
				}
			}
		}
		switch field % 6 {
		case 0:
			v.Len += uint16(delta)
		case 1:
			v.L4 += uint16(delta)
		case 2:
			v.Payload += uint16(delta)
		case 3:
			v.Payload -= uint16(delta)
		case 4:
			v.Version ^= delta
		case 5:
			v.Proto = delta
		}
		if c.Start(h, b, &v) == packet.OK {
			for c.Left() > 0 && c.Next(buf) > 0 {
			}
		}
	})
}

// FuzzCoalesce gives the coalescer batches of strangers, and expects each
// flow's packets back from a cut of what it wrote.
func FuzzCoalesce(f *testing.F) {
	for _, m := range []message{tcp4(make([]byte, 300)), udp4(make([]byte, 300)), ip6(tcp4(make([]byte, 300)))} {
		var batch []byte
		for _, b := range m.cut(f, 100) {
			batch = append(append(batch, 0, byte(len(b))), b...)
		}
		f.Add(batch)
	}
	f.Fuzz(func(t *testing.T, batch []byte) {
		c, w := Coalescer{UDP: true}, &tape{}
		var in [][]byte
		for len(batch) > 2 {
			n := min(int(binary.BigEndian.Uint16(batch)), len(batch)-2)
			b := batch[2 : 2+n]
			batch = batch[2+n:]
			var v packet.View
			if v.Decode(b) != packet.OK || packet.VerifyHeader(b, &v) != packet.OK {
				continue
			}
			in = append(in, b[:v.Len])
			c.Add(bytes.Clone(b), &v)
		}
		c.Flush(w)
		got, want := conversations(w.cut(t)), conversations(in)
		if len(got) != len(want) {
			t.Fatalf("%d flows, want %d", len(got), len(want))
		}
		for k := range want {
			compare(t, got[k], want[k])
		}
	})
}

// conversations sorts packets by flow, without what coalescing may change: the
// identification under DF and with it the header's checksum, and which of the
// two zeros a checksum is.
func conversations(packets [][]byte) map[flow][][]byte {
	out := map[flow][][]byte{}
	for _, b := range packets {
		var v packet.View
		if v.Decode(b) != packet.OK {
			continue
		}
		b = bytes.Clone(b)
		if v.Version == 4 {
			binary.BigEndian.PutUint16(b[ip4Sum:], 0)
			if v.DF {
				binary.BigEndian.PutUint16(b[ip4ID:], 0)
			}
		}
		if at := int(v.L4) + tcpSum; v.Proto == packet.TCP && v.Frag == packet.Whole && word(b, at) == 0xffff {
			binary.BigEndian.PutUint16(b[at:], 0)
		}
		k := flow{v.Src, v.Dst, uint32(v.SrcPort)<<16 | uint32(v.DstPort), v.Proto}
		out[k] = append(out[k], b)
	}
	return out
}
