package segment

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/google/gopacket/layers"

	"turnout/classifier/packet"
)

// A tape is a Writer that keeps what it is given.
type tape struct {
	headers []Header
	packets [][]byte
	err     error
}

func (w *tape) WriteVec(h *Header, iov [][]byte) error {
	w.headers = append(w.headers, *h)
	w.packets = append(w.packets, bytes.Join(iov, nil))
	return w.err
}

// cut returns the packets that the tape stands for.
func (w *tape) cut(t testing.TB) (out [][]byte) {
	t.Helper()
	for i, b := range w.packets {
		var v packet.View
		if w.headers[i].GSOType == GSONone || v.Decode(b) != packet.OK {
			out = append(out, b)
			continue
		}
		out = append(out, cutAll(t, w.headers[i], b, &v)...)
	}
	return out
}

// add adds copies, because a coalescer changes what it is given.
func add(t testing.TB, c *Coalescer, packets ...[]byte) {
	t.Helper()
	for _, b := range packets {
		c.Add(bytes.Clone(b), decode(t, b))
	}
}

func coalesce(t testing.TB, packets ...[]byte) *tape {
	t.Helper()
	c, w := Coalescer{UDP: true}, &tape{}
	add(t, &c, packets...)
	if n := c.Flush(w); n != 0 {
		t.Fatalf("%d packets failed", n)
	}
	return w
}

func TestCoalescingUndoesCutting(t *testing.T) {
	r := seeded(t)
	for range 200 {
		m := arbitrary(r, 30000)
		gso := 500 + r.IntN(1000)
		plain := m.tcp == nil
		if m.tcp != nil && r.IntN(4) > 0 {
			m.tcp.FIN, m.tcp.CWR, m.tcp.ECE = false, false, false
			plain = true
		}
		packets := m.cut(t, gso)
		w := coalesce(t, packets...)
		compare(t, w.cut(t), packets)
		if plain && len(w.packets) != (len(packets)+limit(m)-1)/limit(m) {
			t.Fatalf("%d segments left as %d packets", len(packets), len(w.packets))
		}
		if !plain || len(w.packets) != 1 || len(packets) == 1 {
			continue
		}
		h, b, _ := m.super(t, gso)
		if !bytes.Equal(w.packets[0], b) || w.headers[0] != h {
			t.Fatalf("super-packet\n got %+v %x\nwant %+v %x", w.headers[0], w.packets[0][:80], h, b[:80])
		}
	}
}

func limit(m message) int {
	if m.udp != nil {
		return maxDatagrams
	}
	return maxSegments
}

// TestOrderWithinFlows mixes flows, gaps, acknowledgements, resets, fragments
// and damage, and expects every flow to arrive whole and in order.
func TestOrderWithinFlows(t *testing.T) {
	r := seeded(t)
	for range 100 {
		var in [][]byte
		seq := [8]uint32{}
		for range 1 + r.IntN(200) {
			in = append(in, oneOfMany(t, r, &seq))
		}
		w := coalesce(t, in...)
		got, want := byFlow(w.cut(t)), byFlow(in)
		if len(got) != len(want) {
			t.Fatalf("%d flows, want %d", len(got), len(want))
		}
		for f := range want {
			compare(t, got[f], want[f])
		}
	}
}

// oneOfMany returns the next packet of one of a few flows.
func oneOfMany(t *testing.T, r *rand.Rand, seq *[8]uint32) []byte {
	k := r.IntN(len(seq))
	m := tcp4(random(r, 100))
	if r.IntN(10) == 0 {
		m.payload = m.payload[:r.IntN(100)]
	}
	if k >= 6 {
		m = udp4(m.payload)
		m.udp.SrcPort = layers.UDPPort(1000 + k)
	} else {
		m.tcp.SrcPort = layers.TCPPort(1000 + k)
		m.tcp.Seq = seq[k]
		m.tcp.PSH, m.tcp.RST = r.IntN(9) == 0, r.IntN(20) == 0
		m.tcp.Ack = uint32(r.IntN(20) / 19)
	}
	// Without DF the identification must survive, so that it numbers packets.
	m.ip4.Flags, m.ip4.Id = 0, uint16(seq[k])
	if seq[k]++; m.tcp != nil {
		m.ip4.Id = uint16(seq[k] / 100)
		seq[k] += uint32(len(m.payload)) - 1 + uint32(r.IntN(20)/19)
	}
	b := m.bytes(t)
	if r.IntN(15) == 0 {
		b[len(b)-1] ^= 0x55
	}
	return b
}

func byFlow(packets [][]byte) map[string][][]byte {
	out := map[string][][]byte{}
	for _, b := range packets {
		k := string(b[9:10]) + string(b[12:24])
		out[k] = append(out[k], b)
	}
	return out
}

func TestWhatMustNotMerge(t *testing.T) {
	data := make([]byte, 500)
	for _, row := range []struct {
		name   string
		second func(m *message)
		merge  bool
	}{
		{"the next segment", func(m *message) {}, true},
		{"a shorter one", func(m *message) { m.payload = data[:1] }, true},
		{"the last one", func(m *message) { m.tcp.PSH = true }, true},
		{"other identification under DF", func(m *message) { m.ip4.Id = 9 }, true},
		{"a longer one", func(m *message) { m.payload = make([]byte, 501) }, false},
		{"an empty one", func(m *message) { m.payload = nil }, false},
		{"a gap", func(m *message) { m.tcp.Seq++ }, false},
		{"a repetition", func(m *message) { m.tcp.Seq -= 500 }, false},
		{"another acknowledgement", func(m *message) { m.tcp.Ack++ }, false},
		{"another window", func(m *message) { m.tcp.Window++ }, false},
		{"an option", func(m *message) {
			m.tcp.Options = []layers.TCPOption{{OptionType: layers.TCPOptionKindNop}}
		}, false},
		{"FIN", func(m *message) { m.tcp.FIN = true }, false},
		{"RST", func(m *message) { m.tcp.RST = true }, false},
		{"URG", func(m *message) { m.tcp.URG = true }, false},
		{"urgent pointer", func(m *message) { m.tcp.Urgent = 1 }, false},
		{"ECE", func(m *message) { m.tcp.ECE = true }, false},
		{"CWR", func(m *message) { m.tcp.CWR = true }, false},
		{"NS", func(m *message) { m.tcp.NS = true }, false},
		{"a mark of congestion", func(m *message) { m.ip4.TOS = 3 }, false},
		{"another TTL", func(m *message) { m.ip4.TTL-- }, false},
		{"no DF", func(m *message) { m.ip4.Flags = 0 }, false},
		{"IP options", func(m *message) {
			m.ip4.Options = []layers.IPv4Option{{OptionType: 1}, {OptionType: 1}, {OptionType: 1}, {OptionType: 0}}
		}, false},
		{"another flow", func(m *message) { m.tcp.DstPort++ }, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			first, second := tcp4(data), tcp4(data)
			second.tcp.Seq += 500
			second.ip4.Id++
			row.second(&second)
			in := [][]byte{first.bytes(t), second.bytes(t)}
			w := coalesce(t, in...)
			if merged := len(w.packets) == 1; merged != row.merge {
				t.Fatalf("merged: %v, want %v", merged, row.merge)
			}
			if !row.merge {
				compare(t, w.packets, in)
			}
		})
	}
}

func TestIdentificationWithoutDF(t *testing.T) {
	m := tcp4(make([]byte, 3000))
	m.ip4.Flags = 0
	in := m.cut(t, 1000)
	if w := coalesce(t, in...); len(w.packets) != 1 {
		t.Errorf("consecutive identifications: %d packets, want 1", len(w.packets))
	}
	m.ip4.Id += 7
	in[2] = m.cut(t, 1000)[2]
	w := coalesce(t, in...)
	if len(w.packets) != 2 {
		t.Errorf("a jump: %d packets, want 2", len(w.packets))
	}
	compare(t, w.cut(t), in)
}

func TestDamageStaysVisible(t *testing.T) {
	for damaged := range 3 {
		in := tcp4(make([]byte, 3000)).cut(t, 1000)
		in[damaged][100] ^= 1
		w := coalesce(t, in...)
		if len(w.packets) == 1 {
			t.Errorf("segment %d is damaged, and merged", damaged)
		}
		compare(t, w.cut(t), in)
	}
}

func TestUDPOnlyWhenAsked(t *testing.T) {
	in := udp4(make([]byte, 5000)).cut(t, 1000)
	var c Coalescer
	w := &tape{}
	add(t, &c, in...)
	c.Flush(w)
	compare(t, w.packets, in)
	c.UDP, w = true, &tape{}
	add(t, &c, in...)
	if c.Flush(w); len(w.packets) != 1 {
		t.Errorf("%d packets, want 1", len(w.packets))
	}
}

func TestUDPWithoutChecksumDoesNotMerge(t *testing.T) {
	in := udp4(make([]byte, 2000)).cut(t, 1000)
	for _, b := range in {
		b[26], b[27] = 0, 0
	}
	compare(t, coalesce(t, in...).packets, in)
}

func TestFragmentsAreNotOvertaken(t *testing.T) {
	in := udp4(make([]byte, 2000)).cut(t, 1000)
	part := udp4(make([]byte, 800))
	part.ip4.Flags, part.udp = layers.IPv4MoreFragments, &layers.UDP{SrcPort: 40000, DstPort: 443}
	in = [][]byte{in[0], part.bytes(t), in[1]}
	compare(t, coalesce(t, in...).packets, in)
}

func TestLimits(t *testing.T) {
	many := tcp4(make([]byte, 300)).cut(t, 1)
	w := coalesce(t, many...)
	compare(t, w.cut(t), many)
	if len(w.packets) != 3 {
		t.Errorf("300 segments of a byte left as %d packets, want 3", len(w.packets))
	}
	var large [][]byte
	for i := range 10 {
		m := tcp4(make([]byte, 9000))
		m.tcp.Seq, m.ip4.Id = uint32(i*9000), uint16(i)
		large = append(large, m.bytes(t))
	}
	w = coalesce(t, large...)
	if len(w.packets) != 2 || len(w.packets[0]) != 40+7*9000 {
		t.Errorf("90,000 bytes left as %d packets, the first of %d bytes", len(w.packets), len(w.packets[0]))
	}
}

func TestFailedWritesAreCounted(t *testing.T) {
	var c Coalescer
	add(t, &c, tcp4(make([]byte, 5000)).cut(t, 1000)...)
	add(t, &c, udp4(nil).bytes(t))
	if n := c.Flush(&tape{err: errors.New("down")}); n != 6 {
		t.Errorf("%d packets failed, want 6", n)
	}
	w := &tape{}
	if n := c.Flush(w); n != 0 || len(w.packets) != 0 {
		t.Errorf("the batch was written twice")
	}
}

func TestAddSurvivesAViewThatLies(t *testing.T) {
	b := tcp4(make([]byte, 50)).bytes(t)
	v := decode(t, b)
	for _, spoil := range []func(v *packet.View){
		func(v *packet.View) { v.Len += 1 },
		func(v *packet.View) { v.Payload = v.Len },
		func(v *packet.View) { v.Payload = 30 },
		func(v *packet.View) { v.L4 = 0 },
		func(v *packet.View) { v.Version = 6 },
	} {
		lie := *v
		spoil(&lie)
		c, w := Coalescer{UDP: true}, &tape{}
		c.Add(b, &lie)
		c.Add(b, &lie)
		c.Flush(w)
		compare(t, w.packets, [][]byte{b, b})
	}
}
