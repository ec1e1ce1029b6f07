package fragment

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"turnout/classifier/packet"
)

// A message is a datagram before it is cut. Its data begin with the transport
// header.
type message struct {
	v6       bool
	src, dst uint8 // last octets
	proto    uint8
	id       uint32
	options  int // bytes of IPv4 options, or of a hop-by-hop header
	target   int // IPv6: bytes of destination options, which come before the transport header in the data
	data     []byte
}

const (
	srcPort, dstPort = 40000, 443
	echoType, echoID = 8, 0x4711
)

// newMessage makes one of size bytes, transport header included.
func newMessage(v6 bool, proto uint8, size int) message {
	m := message{v6: v6, src: 5, dst: 9, proto: proto, id: 0x1234, data: make([]byte, size)}
	for i := range m.data {
		m.data[i] = byte(i*7 + i>>8)
	}
	switch proto {
	case packet.TCP, packet.UDP:
		binary.BigEndian.PutUint16(m.data, srcPort)
		binary.BigEndian.PutUint16(m.data[2:], dstPort)
		if proto == packet.TCP {
			m.data[12], m.data[13] = 5<<4, packet.ACK
		} else {
			binary.BigEndian.PutUint16(m.data[4:], uint16(size))
		}
	case packet.ICMP:
		m.data[0], m.data[1] = echoType, 0
		binary.BigEndian.PutUint16(m.data[4:], echoID)
	case packet.ICMPv6:
		m.data[0], m.data[1] = 128, 0
		binary.BigEndian.PutUint16(m.data[4:], echoID)
	}
	return m
}

// withTarget puts destination options of n bytes before the transport header.
func (m message) withTarget(n int) message {
	m.target = n
	m.data = append(append([]byte{m.proto, byte(n/8 - 1), 1, byte(n - 4)}, make([]byte, n-4)...), m.data...)
	return m
}

// packet returns a header and data. word is IPv4's flags and offset, or those of
// IPv6's fragment header, which a whole packet does not have.
func (m message) packet(data []byte, word uint16, whole bool) []byte {
	if m.v6 {
		return m.packet6(data, word, whole)
	}
	header := 20 + m.options
	b := make([]byte, header, header+len(data))
	b[0], b[8], b[9] = 4<<4|byte(header/4), 64, m.proto
	binary.BigEndian.PutUint16(b[2:], uint16(header+len(data)))
	binary.BigEndian.PutUint16(b[4:], uint16(m.id))
	binary.BigEndian.PutUint16(b[6:], word)
	copy(b[12:], []byte{192, 168, 77, m.src, 198, 51, 100, m.dst})
	for i := 20; i < header; i++ {
		b[i] = 1
	}
	binary.BigEndian.PutUint16(b[10:], ^packet.Checksum(b, 0))
	return append(b, data...)
}

func (m message) packet6(data []byte, word uint16, whole bool) []byte {
	b := make([]byte, 40, 120+len(data))
	b[0], b[7] = 6<<4, 64
	b[8], b[9], b[23] = 0xfd, 1, m.src
	b[24], b[25], b[39] = 0x20, 1, m.dst
	link := 6
	if m.options > 0 {
		b[link], link = 0, len(b)
		b = append(b, 0, byte(m.options/8-1), 1, byte(m.options-4))
		b = append(b, make([]byte, m.options-4)...)
	}
	if !whole {
		b[link], link = 44, len(b)
		b = append(b, 0, 0)
		b = binary.BigEndian.AppendUint16(b, word)
		b = binary.BigEndian.AppendUint32(b, m.id)
	}
	b[link] = m.proto
	if m.target > 0 {
		b[link] = 60
	}
	b = append(b, data...)
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)-40))
	return b
}

// whole is the message in one packet.
func (m message) whole() []byte { return m.packet(m.data, 0, true) }

// part is the fragment that carries bytes from up to to. What is beyond the
// data is zero.
func (m message) part(from, to int, more bool) []byte {
	data := append(append([]byte{}, m.data...), make([]byte, max(0, to-len(m.data)))...)[from:to]
	word := uint16(from)
	if !m.v6 {
		word /= 8
		if more {
			word |= 0x2000
		}
	} else if more {
		word |= 1
	}
	return m.packet(data, word, false)
}

// cut makes fragments of size bytes of data each.
func (m message) cut(size int) (parts [][]byte) {
	for from := 0; from < len(m.data); from += size {
		to := min(from+size, len(m.data))
		parts = append(parts, m.part(from, to, to < len(m.data)))
	}
	return parts
}

func decode(t testing.TB, b []byte) *packet.View {
	t.Helper()
	v := new(packet.View)
	if why := v.Decode(b); why != packet.OK {
		t.Fatalf("%v: % x", why, b[:min(len(b), 80)])
	}
	return v
}

// forAll runs a test for all kinds of messages.
func forAll(t *testing.T, size int, test func(t *testing.T, m message)) {
	for name, m := range map[string]message{
		"UDP/4":          newMessage(false, packet.UDP, size),
		"TCP/4":          newMessage(false, packet.TCP, size),
		"ICMP/4":         newMessage(false, packet.ICMP, size),
		"GRE/4":          newMessage(false, 47, size),
		"UDP/6":          newMessage(true, packet.UDP, size),
		"TCP/6":          newMessage(true, packet.TCP, size),
		"ICMP/6":         newMessage(true, packet.ICMPv6, size),
		"ESP/6":          newMessage(true, 50, size),
		"options/4":      {src: 5, dst: 9, proto: packet.UDP, id: 7, options: 8, data: newMessage(false, packet.UDP, size).data},
		"hop-by-hop/6":   {v6: true, src: 5, dst: 9, proto: packet.UDP, id: 7 << 20, options: 16, data: newMessage(true, packet.UDP, size).data},
		"destination/6":  newMessage(true, packet.TCP, size-24).withTarget(24),
		"destination2/6": newMessage(true, packet.ICMPv6, size-8).withTarget(8),
	} {
		t.Run(name, func(t *testing.T) { test(t, m) })
	}
}

// newRandom returns a source of randomness whose seed is in the test's log.
func newRandom(t testing.TB) *rand.Rand {
	seed := rand.Uint64()
	if s, err := strconv.ParseUint(os.Getenv("TURNOUT_SEED"), 10, 64); err == nil {
		seed = s
	}
	t.Logf("TURNOUT_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}
