package packet

import (
	"encoding/binary"
	"flag"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

var seedFlag = flag.Uint64("seed", 0, "seed of random tests; 0: from the clock")

// newRandom returns a source of randomness whose seed is in the test's log.
func newRandom(t testing.TB) *rand.Rand {
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("again with: go test -run '^%s$' -seed %d", t.Name(), seed)
	return rand.New(rand.NewPCG(seed, 1))
}

// build serializes layers by gopacket, with lengths and checksums its own.
func build(t testing.TB, list ...gopacket.SerializableLayer) []byte {
	t.Helper()
	var network gopacket.NetworkLayer
	for _, l := range list {
		switch l := l.(type) {
		case *layers.IPv4:
			network = l
		case *layers.IPv6:
			network = l
		case interface {
			SetNetworkLayerForChecksum(gopacket.NetworkLayer) error
		}:
			if err := l.SetNetworkLayerForChecksum(network); err != nil {
				t.Fatal(err)
			}
		}
	}
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, list...); err != nil {
		t.Fatal(err)
	}
	out := b.Bytes()
	for _, l := range list {
		// A sum of 0 travels as its other form (RFC 768); gopacket leaves it.
		if u, ok := l.(*layers.UDP); ok && u.Checksum == 0 {
			binary.BigEndian.PutUint16(out[len(out)-int(u.Length)+6:], 0xffff)
		}
	}
	return out
}

func ip4(proto layers.IPProtocol) *layers.IPv4 {
	return &layers.IPv4{Version: 4, TTL: 63, Id: 0x1234, TOS: 0xb8, Protocol: proto, SrcIP: net.IP{192, 168, 77, 5}, DstIP: net.IP{8, 8, 4, 4}}
}

func ip6(next layers.IPProtocol) *layers.IPv6 {
	return &layers.IPv6{Version: 6, HopLimit: 63, TrafficClass: 0xb8, NextHeader: next, SrcIP: net.ParseIP("fd00::5"), DstIP: net.ParseIP("2001:db8::8")}
}

func tcp() *layers.TCP {
	return &layers.TCP{SrcPort: 40000, DstPort: 443, Seq: 1, Ack: 2, ACK: true, Window: 1000}
}

func udp() *layers.UDP { return &layers.UDP{SrcPort: 40000, DstPort: 53} }

func echo4(typ uint8) *layers.ICMPv4 {
	return &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(typ, 0), Id: 0xbeef, Seq: 3}
}

// icmp6 is the header and 4 more bytes, which gopacket has as another layer.
func icmp6(typ, code uint8, rest uint32) []gopacket.SerializableLayer {
	return []gopacket.SerializableLayer{
		&layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(typ, code)},
		gopacket.Payload(binary.BigEndian.AppendUint32(nil, rest)),
	}
}

func data(n int) gopacket.Payload {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 7)
	}
	return gopacket.Payload(b)
}

// fix4 makes the checksum of an IPv4 header true again.
func fix4(b []byte) []byte {
	binary.BigEndian.PutUint16(b[10:], 0)
	binary.BigEndian.PutUint16(b[10:], ^Checksum(b[:int(b[0]&15)*4], 0))
	return b
}

func mustDecode(t testing.TB, b []byte) *View {
	t.Helper()
	var v View
	if r := v.Decode(b); r != OK {
		t.Fatalf("%v: % x", r, b[:min(len(b), 80)])
	}
	return &v
}
