package packet

import (
	"testing"

	"github.com/google/gopacket/layers"
)

// hotRows are the packets of the hot path, for benchmarks and for the test
// that nothing allocates.
func hotRows(t testing.TB) map[string][]byte {
	stamps := tcp()
	stamps.Options = []layers.TCPOption{{OptionType: 1}, {OptionType: 1}, {OptionType: 8, OptionLength: 10, OptionData: make([]byte, 8)}}
	return map[string][]byte{
		"tcp4":       build(t, ip4(6), tcp(), data(1380)),
		"tcp4stamps": build(t, ip4(6), stamps, data(1368)),
		"udp4":       build(t, ip4(17), udp(), data(100)),
		"echo4":      build(t, ip4(1), echo4(8), data(56)),
		"tcp6":       build(t, ip6(6), tcp(), data(1360)),
		"udp6":       build(t, ip6(17), udp(), data(100)),
	}
}

func BenchmarkDecode(b *testing.B) {
	for name, p := range hotRows(b) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var v View
			for b.Loop() {
				if v.Decode(p) != OK {
					b.Fatal()
				}
			}
		})
	}
}

// BenchmarkDecodeRing decodes headers that lie 2 KiB apart, as buffers do.
func BenchmarkDecodeRing(b *testing.B) {
	const slots, stride = 4096, 2048
	ring := make([]byte, slots*stride)
	p := build(b, ip4(6), tcp(), data(1380))
	for i := range slots {
		copy(ring[i*stride:], p)
	}
	b.ReportAllocs()
	var v View
	i := 0
	for b.Loop() {
		if v.Decode(ring[i*stride:(i+1)*stride]) != OK {
			b.Fatal()
		}
		i = (i + 1) % slots
	}
}

func BenchmarkRewrite(b *testing.B) {
	p := build(b, ip4(6), tcp(), data(1380))
	v := mustDecode(b, p)
	b.ReportAllocs()
	port := uint16(1)
	for b.Loop() {
		SetSource(p, v, Addr4(10<<24|uint32(port)), port, false)
		port++
	}
}

func BenchmarkChecksum(b *testing.B) {
	p := data(1420)
	b.SetBytes(int64(len(p)))
	var sum uint16
	for b.Loop() {
		sum += Checksum(p, 0)
	}
}

func TestHotPathDoesNotAllocate(t *testing.T) {
	for name, p := range hotRows(t) {
		var v, e View
		if n := testing.AllocsPerRun(200, func() {
			if v.Decode(p) != OK || VerifyHeader(p, &v) != OK {
				t.Fatal(name)
			}
			v.Embedded(p, &e)
			a := v.Src
			a.Lo ^= 1
			SetSource(p, &v, a, v.SrcPort+1, false)
			SetDestination(p, &v, v.Dst, v.DstPort, false)
			SetTTL(p, &v, v.TTL^1)
			ClampMSS(p, &v, 1000, false)
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
