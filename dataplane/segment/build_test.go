package segment

import (
	"encoding/binary"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"turnout/classifier/packet"
)

// seeded returns random numbers that a failed run can be repeated with.
func seeded(t testing.TB) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

func random(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// A message is one packet, or a super-packet, in the words of gopacket: the
// slow and obvious way to make bytes of it.
type message struct {
	ip4     *layers.IPv4
	ip6     *layers.IPv6
	tcp     *layers.TCP
	udp     *layers.UDP
	payload []byte
}

func (m message) bytes(t testing.TB) []byte {
	t.Helper()
	var parts []gopacket.SerializableLayer
	var network gopacket.NetworkLayer
	if m.ip4 != nil {
		parts, network = append(parts, m.ip4), m.ip4
	} else {
		parts, network = append(parts, m.ip6), m.ip6
	}
	if m.tcp != nil {
		m.tcp.SetNetworkLayerForChecksum(network)
		parts = append(parts, m.tcp)
	} else {
		m.udp.SetNetworkLayerForChecksum(network)
		parts = append(parts, m.udp)
	}
	parts = append(parts, gopacket.Payload(m.payload))
	out := gopacket.NewSerializeBuffer()
	o := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(out, o, parts...); err != nil {
		t.Fatalf("building a packet: %v", err)
	}
	b := out.Bytes()
	if m.udp != nil {
		if at := len(b) - len(m.payload) - 2; b[at]|b[at+1] == 0 {
			b[at], b[at+1] = 0xff, 0xff // RFC 768; gopacket leaves 0
		}
	}
	return b
}

// super returns the bytes as the kernel hands them over: the checksum field
// holds the sum of the pseudo-header.
func (m message) super(t testing.TB, gso int) (Header, []byte, *packet.View) {
	t.Helper()
	b := m.bytes(t)
	v := decode(t, b)
	h := Header{Flags: NeedsChecksum, HdrLen: v.Payload, GSOSize: uint16(gso), CsumStart: v.L4, CsumOffset: 16}
	switch {
	case m.udp != nil:
		h.GSOType, h.CsumOffset = GSOUDP, 6
	case m.ip4 != nil:
		h.GSOType = GSOTCPv4
	default:
		h.GSOType = GSOTCPv6
	}
	pseudo := fold(packet.PseudoSum(v, len(b)-int(v.L4)))
	binary.BigEndian.PutUint16(b[v.L4+h.CsumOffset:], pseudo)
	return h, b, v
}

func decode(t testing.TB, b []byte) *packet.View {
	t.Helper()
	v := new(packet.View)
	if why := v.Decode(b); why != packet.OK {
		t.Fatalf("a test's own packet does not decode: %v", why)
	}
	return v
}

// cut returns the packets that the message stands for, each built anew.
func (m message) cut(t testing.TB, gso int) (out [][]byte) {
	t.Helper()
	for i, off := 0, 0; off < len(m.payload); i++ {
		one := message{payload: m.payload[off:min(off+gso, len(m.payload))]}
		end := off + len(one.payload)
		if m.ip4 != nil {
			ip := *m.ip4
			ip.Id += uint16(i)
			one.ip4 = &ip
		} else {
			ip := *m.ip6
			one.ip6 = &ip
		}
		if m.tcp != nil {
			tcp := *m.tcp
			tcp.Seq += uint32(off)
			tcp.PSH = tcp.PSH && end == len(m.payload)
			tcp.FIN = tcp.FIN && end == len(m.payload)
			tcp.CWR = tcp.CWR && off == 0
			one.tcp = &tcp
		} else {
			udp := *m.udp
			one.udp = &udp
		}
		out = append(out, one.bytes(t))
		off = end
	}
	return out
}

// tcp4, udp4 and their like return a packet of one fixed flow.
func tcp4(payload []byte) message {
	return message{
		ip4: &layers.IPv4{Version: 4, TTL: 63, Id: 0xfff0, Flags: layers.IPv4DontFragment, Protocol: layers.IPProtocolTCP,
			SrcIP: net.IP{192, 168, 77, 10}, DstIP: net.IP{93, 184, 216, 34}},
		tcp:     &layers.TCP{SrcPort: 40000, DstPort: 443, Seq: 0xfffffa00, Ack: 77, ACK: true, Window: 501},
		payload: payload,
	}
}

func udp4(payload []byte) message {
	m := tcp4(payload)
	m.ip4.Protocol, m.tcp = layers.IPProtocolUDP, nil
	m.udp = &layers.UDP{SrcPort: 40000, DstPort: 443}
	return m
}

func ip6(m message) message {
	m.ip6 = &layers.IPv6{Version: 6, TrafficClass: 0xb8, FlowLabel: 0x12345, HopLimit: 63, NextHeader: m.ip4.Protocol,
		SrcIP: net.ParseIP("fd00::10"), DstIP: net.ParseIP("2001:db8::34")}
	m.ip4 = nil
	return m
}

// arbitrary returns some message of at most size bytes of payload.
func arbitrary(r *rand.Rand, size int) message {
	m := tcp4(random(r, 1+r.IntN(size)))
	m.ip4.Id, m.ip4.TTL, m.ip4.TOS = uint16(r.Uint32()), uint8(1+r.IntN(255)), uint8(r.Uint32())
	m.tcp.Seq, m.tcp.Ack, m.tcp.Window = r.Uint32(), r.Uint32(), uint16(r.Uint32())
	m.tcp.PSH, m.tcp.FIN = r.IntN(2) == 0, r.IntN(4) == 0
	m.tcp.CWR, m.tcp.ECE = r.IntN(4) == 0, r.IntN(4) == 0
	if r.IntN(2) == 0 {
		m.tcp.Options = []layers.TCPOption{
			{OptionType: layers.TCPOptionKindNop}, {OptionType: layers.TCPOptionKindNop},
			{OptionType: layers.TCPOptionKindTimestamps, OptionLength: 10, OptionData: random(r, 8)},
		}
	}
	if r.IntN(3) == 0 {
		m.ip4.Protocol, m.udp, m.tcp = layers.IPProtocolUDP, &layers.UDP{SrcPort: 5000, DstPort: 443}, nil
	}
	if r.IntN(2) == 0 {
		m = ip6(m)
	}
	return m
}
