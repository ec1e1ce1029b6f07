package bench

import (
	"encoding/binary"
	"testing"

	"turnout/classifier/packet"
)

// headers4 and headers6 are a TCP segment of 40 and 60 bytes; their checksums
// do not matter to Decode.
func headers4() []byte {
	b := make([]byte, 40)
	b[0], b[8], b[9] = 0x45, 64, packet.TCP
	binary.BigEndian.PutUint16(b[2:], 40)
	copy(b[12:], []byte{192, 168, 77, 5, 198, 51, 100, 7})
	return tcpAt(b, 20)
}

func headers6() []byte {
	b := make([]byte, 60)
	b[0], b[6], b[7] = 0x60, packet.TCP, 64
	binary.BigEndian.PutUint16(b[4:], 20)
	b[8], b[9], b[23], b[24], b[25], b[39] = 0xfd, 0, 5, 0x20, 1, 7
	return tcpAt(b, 40)
}

func tcpAt(b []byte, at int) []byte {
	binary.BigEndian.PutUint16(b[at:], 40000)
	binary.BigEndian.PutUint16(b[at+2:], 443)
	b[at+12], b[at+13] = 5<<4, packet.ACK
	return b
}

// decodeFigures decode one packet again and again, and headers that lie 2 KiB
// apart, as buffers do.
func decodeFigures(t testing.TB) []*figure {
	const slots, stride = 4096, 2048
	ring := make([]byte, slots*stride)
	for i := range slots {
		copy(ring[i*stride:], headers4())
	}
	at := 0
	return []*figure{
		decodeFigure(t, "decode IPv4", headers4()),
		decodeFigure(t, "decode IPv6", headers6()),
		{name: "decode IPv4, ring of 8 MiB", n: 1_000_000, run: func(n int) {
			var v packet.View
			for range n {
				if v.Decode(ring[at*stride:(at+1)*stride]) != packet.OK {
					t.Fatal("a good packet is refused")
				}
				at = (at + 1) % slots
			}
		}},
	}
}

func decodeFigure(t testing.TB, name string, header []byte) *figure {
	return &figure{name: name, n: 4_000_000, target: 6, like: []string{"L1", "seal"}, run: func(n int) {
		b := header
		var v packet.View
		for range n {
			if v.Decode(b) != packet.OK {
				t.Fatal("a good packet is refused")
			}
		}
	}}
}
