package segment

import (
	"bytes"
	"encoding/binary"
	"testing"

	"turnout/classifier/packet"
)

// cutAll returns all packets of a super-packet.
func cutAll(t testing.TB, h Header, b []byte, v *packet.View) (out [][]byte) {
	t.Helper()
	var c Cutter
	if why := c.Start(h, b, v); why != packet.OK {
		t.Fatalf("Start: %v", why)
	}
	for want := c.Left(); want > 0; want-- {
		if c.Left() != want {
			t.Fatalf("Left %d, want %d", c.Left(), want)
		}
		buf := make([]byte, h.Largest(v))
		out = append(out, buf[:c.Next(buf)])
	}
	if n := c.Next(make([]byte, 65535)); n != 0 {
		t.Fatalf("Next after the end gave %d bytes", n)
	}
	return out
}

func TestCutEqualsPacketsBuiltOneByOne(t *testing.T) {
	r := seeded(t)
	for range 300 {
		m := arbitrary(r, 20000)
		gso := 1 + r.IntN(1500)
		if r.IntN(4) > 0 {
			gso += 500
		} else {
			m.payload = m.payload[:min(len(m.payload), 40*gso)]
		}
		want := m.cut(t, gso)
		h, b, v := m.super(t, gso)
		if m.tcp != nil && m.tcp.CWR {
			h.GSOType |= GSOECN
		}
		h.HdrLen = uint16(r.Uint32()) // M77: it lies
		got := cutAll(t, h, b, v)
		compare(t, got, want)
	}
}

func compare(t testing.TB, got, want [][]byte) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d packets, want %d", len(got), len(want))
	}
	for i := range want {
		if !bytes.Equal(got[i], want[i]) {
			t.Fatalf("packet %d of %d, %d bytes, want %d:\n got %.80x\nwant %.80x",
				i, len(want), len(got[i]), len(want[i]), got[i], want[i])
		}
	}
}

func TestWholePackets(t *testing.T) {
	r := seeded(t)
	for range 100 {
		m := arbitrary(r, 1400)
		want := [][]byte{m.bytes(t)}
		// Complete as it is: not touched, not even if it were wrong.
		b := m.bytes(t)
		v := decode(t, b)
		compare(t, cutAll(t, Header{}, b, v), want)
		// The kernel left the checksum to us.
		h, b, v := m.super(t, 0)
		h.GSOType, h.GSOSize = GSONone, 0
		compare(t, cutAll(t, h, b, v), want)
	}
}

func TestWholePacketWithAnInnerChecksum(t *testing.T) {
	b := udp4(tcp4([]byte("inner")).bytes(t)).bytes(t)
	v := decode(t, b)
	h := Header{Flags: NeedsChecksum, CsumStart: v.Payload + 20, CsumOffset: 16}
	inner := decode(t, b[v.Payload:])
	at := v.Payload + 20 + 16
	binary.BigEndian.PutUint16(b[at:], fold(packet.PseudoSum(inner, 25)))
	got := cutAll(t, h, b, v)[0]
	if !intact(got[v.Payload:], inner) {
		t.Errorf("the checksum inside is wrong: %x", got)
	}
}

func TestCutGoesOnWhereItStopped(t *testing.T) {
	m := tcp4(make([]byte, 100*100))
	h, b, v := m.super(t, 100)
	want := m.cut(t, 100)
	var c Cutter
	if why := c.Start(h, b, v); why != packet.OK {
		t.Fatal(why)
	}
	buf := make([]byte, 2000)
	for i := range want {
		if n := c.Next(buf[:h.Largest(v)-1]); n != 0 {
			t.Fatalf("packet %d: %d bytes in a buffer that is too small", i, n)
		}
		n := c.Next(buf)
		compare(t, [][]byte{buf[:n]}, want[i:i+1])
	}
	if c.Left() != 0 {
		t.Errorf("Left %d", c.Left())
	}
}

func TestMalformedOffload(t *testing.T) {
	tcp := func(t *testing.T) (Header, []byte, *packet.View) { return tcp4(make([]byte, 3000)).super(t, 1000) }
	udp := func(t *testing.T) (Header, []byte, *packet.View) { return udp4(make([]byte, 3000)).super(t, 1000) }
	whole := func(t *testing.T) (Header, []byte, *packet.View) {
		h, b, v := tcp(t)
		h.GSOType, h.GSOSize = GSONone, 0
		return h, b, v
	}
	for _, row := range []struct {
		name  string
		from  func(*testing.T) (Header, []byte, *packet.View)
		spoil func(h *Header, b *[]byte, v *packet.View)
	}{
		{"gso size 0", tcp, func(h *Header, _ *[]byte, _ *packet.View) { h.GSOSize = 0 }},
		{"udp gso size 0", udp, func(h *Header, _ *[]byte, _ *packet.View) { h.GSOSize = 0 }},
		{"sum starts beyond the end", tcp, func(h *Header, _ *[]byte, _ *packet.View) { h.CsumStart = 60000 }},
		{"sum offset of another protocol", tcp, func(h *Header, _ *[]byte, _ *packet.View) { h.CsumOffset = 6 }},
		{"sum starts in the IP header", whole, func(h *Header, _ *[]byte, _ *packet.View) { h.CsumStart = 10 }},
		{"whole: sum starts beyond the end", whole, func(h *Header, _ *[]byte, _ *packet.View) { h.CsumStart = 60000 }},
		{"whole: sum goes beyond the end", whole, func(h *Header, b *[]byte, _ *packet.View) { h.CsumOffset = uint16(len(*b)) - h.CsumStart - 1 }},
		{"whole: 16 bits are not enough", whole, func(h *Header, _ *[]byte, _ *packet.View) { h.CsumStart, h.CsumOffset = 65535, 65535 }},
		{"TCP of the other family", tcp, func(h *Header, _ *[]byte, _ *packet.View) { h.GSOType = GSOTCPv6 }},
		{"UDP kind on TCP", tcp, func(h *Header, _ *[]byte, _ *packet.View) { h.GSOType = GSOUDP }},
		{"TCP kind on UDP", udp, func(h *Header, _ *[]byte, _ *packet.View) { h.GSOType = GSOTCPv4 }},
		{"fragmentation offload of old", udp, func(h *Header, _ *[]byte, _ *packet.View) { h.GSOType = 3 }},
		{"unknown kind", tcp, func(h *Header, _ *[]byte, _ *packet.View) { h.GSOType = 0x7f }},
		{"ECN on a whole packet", whole, func(h *Header, _ *[]byte, _ *packet.View) { h.GSOType |= GSOECN }},
		{"ECN on UDP", udp, func(h *Header, _ *[]byte, _ *packet.View) { h.GSOType |= GSOECN }},
		{"fragment", tcp, func(_ *Header, _ *[]byte, v *packet.View) { v.Frag = packet.First }},
		{"whole: fragment", whole, func(_ *Header, _ *[]byte, v *packet.View) { v.Frag = packet.Later }},
		{"shorter than its view", tcp, func(_ *Header, b *[]byte, _ *packet.View) { *b = (*b)[:2000] }},
		{"empty", tcp, func(_ *Header, b *[]byte, v *packet.View) { *b, *v = nil, packet.View{} }},
		{"view of another packet", tcp, func(_ *Header, _ *[]byte, v *packet.View) { v.Version = 6 }},
		{"header beyond the end", tcp, func(_ *Header, _ *[]byte, v *packet.View) { v.Payload = v.Len + 1 }},
	} {
		t.Run(row.name, func(t *testing.T) {
			h, b, v := row.from(t)
			row.spoil(&h, &b, v)
			var c Cutter
			if why := c.Start(h, b, v); why != packet.BadOffload {
				t.Errorf("Start: %v, want %v", why, packet.BadOffload)
			}
			if n := c.Next(make([]byte, 65535)); n != 0 || c.Left() != 0 {
				t.Errorf("Next gave %d bytes, Left %d", n, c.Left())
			}
		})
	}
}

func TestSizeLargerThanThePacketIsOneSegment(t *testing.T) {
	m := tcp4(make([]byte, 900))
	h, b, v := m.super(t, 60000)
	compare(t, cutAll(t, h, b, v), m.cut(t, 900))
	if n := h.Largest(v); n != len(b) {
		t.Errorf("Largest %d, want %d", n, len(b))
	}
}

func TestPartial(t *testing.T) {
	h, _, v := tcp4(make([]byte, 900)).super(t, 100)
	if !h.Partial(v) {
		t.Error("a super-packet's checksum is partial")
	}
	h.CsumStart += 28
	if h.Partial(v) {
		t.Error("a checksum inside an encapsulation is not the packet's own")
	}
	if h.Flags = DataValid; h.Partial(v) {
		t.Error("a verified checksum is whole")
	}
}

func TestHeaderBytes(t *testing.T) {
	in := Header{Flags: 1, GSOType: 4, HdrLen: 0x1234, GSOSize: 1400, CsumStart: 40, CsumOffset: 16}
	var b [HeaderLen]byte
	in.Encode(b[:])
	var out Header
	if !out.Decode(b[:]) || out != in {
		t.Errorf("%+v came back as %+v", in, out)
	}
	if out.Decode(b[:9]) {
		t.Error("nine bytes are no header")
	}
}

func TestSum(t *testing.T) {
	r := seeded(t)
	for n := range 300 {
		b := random(r, n+r.IntN(2)*1300)
		if n%5 == 0 {
			for i := range b {
				b[i] = 0xff
			}
		}
		want := uint64(packet.Checksum(b, 0))
		if got := sum(b); got != want {
			t.Fatalf("sum of %d bytes: %#x, want %#x", len(b), got, want)
		}
		whole := b[:len(b)&^(block-1)]
		if got := fold(sumBlocksPortable(whole)); got != fold(sumBlocks(whole)) {
			t.Fatalf("the portable sum of %d bytes is another: %#x", len(whole), got)
		}
		dst := make([]byte, len(b)+3)
		if got := copySum(dst, b); got != want || !bytes.Equal(dst[:len(b)], b) || dst[len(b)] != 0 {
			t.Fatalf("copySum of %d bytes: %#x, want %#x", len(b), got, want)
		}
	}
}
