package packet

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// recomputed returns a copy of b with all its checksums made anew, the slow
// way; a UDP checksum of 0 in IPv4 stays.
func recomputed(b []byte, v *View) []byte {
	b = append([]byte{}, b...)
	put := func(i int, sum uint16) { binary.BigEndian.PutUint16(b[i:], sum) }
	if v.Version == 4 {
		put(10, 0)
		put(10, ^slowSum(b[:v.L4], 0))
	}
	l4 := int(v.L4)
	pseudo := func() uint64 {
		var p []byte
		if v.Version == 4 {
			p = append(p, b[12:20]...)
		} else {
			p = append(p, b[8:40]...)
		}
		p = append(p, 0, v.Proto, 0, 0)
		return uint64(slowSum(p, uint64(len(b)-l4)))
	}
	switch {
	case v.Frag != Whole:
	case v.Proto == TCP:
		put(l4+16, 0)
		put(l4+16, ^slowSum(b[l4:], pseudo()))
	case v.Proto == UDP && be16(b[l4+6:]) != 0:
		put(l4+6, 0)
		sum := ^slowSum(b[l4:], pseudo())
		if sum == 0 {
			sum = 0xffff
		}
		put(l4+6, sum)
	case v.Proto == ICMP && v.Version == 4:
		put(l4+2, 0)
		put(l4+2, ^slowSum(b[l4:], 0))
	case v.Proto == ICMPv6 && v.Version == 6:
		put(l4+2, 0)
		put(l4+2, ^slowSum(b[l4:], pseudo()))
	}
	return b
}

func randomAddr(r *rand.Rand, v4 bool) Addr {
	if v4 {
		return Addr4(1<<24 | r.Uint32N(1<<24))
	}
	return Addr{0x2001 << 48, r.Uint64()}
}

// rewrite applies a few random rewrites to b and v.
func rewrite(r *rand.Rand, b []byte, v *View, partial bool) {
	for range 1 + r.IntN(4) {
		port := uint16(1 + r.IntN(65535))
		switch r.IntN(5) {
		case 0:
			SetSource(b, v, randomAddr(r, v.Version == 4), port, partial)
		case 1:
			SetDestination(b, v, randomAddr(r, v.Version == 4), port, partial)
		case 2:
			SetTTL(b, v, uint8(1+r.IntN(255)))
		case 3:
			ClampMSS(b, v, uint16(500+r.IntN(1500)), partial)
		case 4:
			SetID(b, v, uint16(r.Uint32()))
		}
	}
}

func TestRewriteIsFullRecompute(t *testing.T) {
	r := newRandom(t)
	for range 5000 {
		b := generate(t, r)
		v := mustDecode(t, b)
		if v.Proto == UDP && v.Version == 4 && r.IntN(4) == 0 {
			clear(b[v.L4+6 : v.L4+8])
		}
		rewrite(r, b, v, false)
		if want := recomputed(b, v); !bytes.Equal(b, want) {
			t.Fatalf("%+v:\n got % x\nwant % x", v, b[:60], want[:60])
		}
		if again := mustDecode(t, b); *again != *v {
			t.Fatalf("the view is\n%+v, the packet\n%+v", *v, *again)
		}
	}
}

// TestRewritePartial wants the field to hold the folded pseudo-header sum
// after as before.
func TestRewritePartial(t *testing.T) {
	r := newRandom(t)
	for range 3000 {
		b := generate(t, r)
		v := mustDecode(t, b)
		at := 16
		if v.Proto == UDP {
			at = 6
		} else if v.Proto != TCP {
			continue
		}
		field := b[int(v.L4)+at:]
		binary.BigEndian.PutUint16(field, Checksum(nil, PseudoSum(v, int(v.Len-v.L4))))
		rewrite(r, b, v, true)
		if got, want := be16(field), Checksum(nil, PseudoSum(v, int(v.Len-v.L4))); got != want {
			t.Fatalf("%+v: %#x, want %#x", v, got, want)
		}
		// Completed as hardware does it, the packet is whole.
		binary.BigEndian.PutUint16(field, ^Checksum(b[v.L4:], 0))
		if want := recomputed(b, v); !bytes.Equal(b, want) && be16(field) != 0 {
			t.Fatalf("%+v", v)
		}
	}
}

func TestUDPChecksumZero(t *testing.T) {
	b := build(t, ip4(17), udp(), data(32))
	v := mustDecode(t, b)
	clear(b[26:28])
	SetSource(b, v, Addr4(0x01020304), 1000, false)
	if be16(b[26:]) != 0 {
		t.Error("no checksum became one")
	}
	// Of all ports one gives the sum whose complement is 0; it is sent as 0xffff.
	b = build(t, ip4(17), udp(), data(32))
	v = mustDecode(t, b)
	found := false
	for port := 1; port < 1<<16; port++ {
		SetSource(b, v, v.Src, uint16(port), false)
		if be16(b[26:]) == 0 {
			t.Fatalf("port %d: computed to 0", port)
		}
		found = found || be16(b[26:]) == 0xffff
	}
	if !found {
		t.Error("no port gave 0xffff")
	}
}

// The one message whose words are all zero is an echo reply of identifier 0:
// only there two zeros of the ones-complement sum are not the same.
func TestEchoReplyBecomesAllZero(t *testing.T) {
	for _, n := range []int{0, 1, 32} {
		e := echo4(layers.ICMPv4TypeEchoReply)
		e.Id, e.Seq = 4711, 0
		b := build(t, ip4(layers.IPProtocolICMPv4), e, gopacket.Payload(make([]byte, n)))
		v := mustDecode(t, b)
		SetDestination(b, v, Addr4(10<<24|9), 0, false)
		if r := VerifyHeader(b, v); r != OK {
			t.Errorf("with %d bytes of zero: %v", n, r)
		}
		if want := recomputed(b, v); !bytes.Equal(b, want) {
			t.Errorf("with %d bytes of zero:\n%x, want\n%x", n, b, want)
		}
		SetDestination(b, v, Addr4(10<<24|8), 5, false)
		if want := recomputed(b, v); !bytes.Equal(b, want) {
			t.Errorf("and back with %d bytes of zero:\n%x, want\n%x", n, b, want)
		}
	}
}

func TestLaterFragmentOnlyGetsItsAddress(t *testing.T) {
	ip := ip4(17)
	ip.FragOffset = 10
	b := build(t, ip, data(64))
	v := mustDecode(t, b)
	body := append([]byte{}, b[20:]...)
	SetSource(b, v, Addr4(0x01020304), 999, false)
	SetDestination(b, v, Addr4(0x01020305), 999, false)
	if !bytes.Equal(b[20:], body) || VerifyHeader(b, v) != OK || v.SrcPort != 0 || v.Src != Addr4(0x01020304) {
		t.Errorf("%+v % x", v, b)
	}
}

// Every identification keeps the header true, of every kind of fragment, and
// is all that changes.
func TestSetID(t *testing.T) {
	whole, first, later := ip4(17), ip4(17), ip4(17)
	first.Flags, later.FragOffset = layers.IPv4MoreFragments, 10
	for _, b := range [][]byte{build(t, whole, udp(), data(64)), build(t, first, udp(), data(64)), build(t, later, data(64))} {
		v := mustDecode(t, b)
		want, wantView := append([]byte{}, b...), *v
		for id := range 1 << 16 {
			SetID(b, v, uint16(id))
			binary.BigEndian.PutUint16(want[4:], uint16(id))
			wantView.ID = uint16(id)
			if VerifyHeader(b, v) != OK || *v != wantView {
				t.Fatalf("%d: %+v", id, v)
			}
			if fix4(want); !bytes.Equal(b, want) {
				t.Fatalf("%d:\n got % x\nwant % x", id, b[:20], want[:20])
			}
		}
	}
}

func TestSetIDLeavesIPv6(t *testing.T) {
	for _, b := range [][]byte{
		build(t, ip6(17), udp(), data(10)),
		build(t, ip6(44), append(data(0), 17, 0, 0, 8, 0, 1, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8)),
	} {
		v := mustDecode(t, b)
		was, before := append([]byte{}, b...), *v
		if SetID(b, v, 3); !bytes.Equal(b, was) || *v != before {
			t.Errorf("% x: %+v", b, v)
		}
	}
}

func TestOtherFamilyIsRefused(t *testing.T) {
	b := build(t, ip4(17), udp(), data(10))
	v := mustDecode(t, b)
	was, before := append([]byte{}, b...), *v
	SetSource(b, v, Addr{1, 2}, 3, false)
	if !bytes.Equal(b, was) || *v != before {
		t.Error("an IPv6 address went into an IPv4 packet")
	}
}

func TestClampMSS(t *testing.T) {
	mss := func(v uint16) layers.TCPOption {
		return layers.TCPOption{OptionType: 2, OptionLength: 4, OptionData: binary.BigEndian.AppendUint16(nil, v)}
	}
	nop := layers.TCPOption{OptionType: 1}
	for _, row := range []struct {
		name     string
		syn, ack bool
		opts     []layers.TCPOption
		max      uint16
		want     bool
	}{
		{"SYN", true, false, []layers.TCPOption{mss(1460)}, 1380, true},
		{"SYN+ACK", true, true, []layers.TCPOption{mss(1460)}, 1380, true},
		{"at an odd place", true, false, []layers.TCPOption{nop, mss(1460)}, 1380, true},
		{"after others", true, false, []layers.TCPOption{{OptionType: 4, OptionLength: 2}, nop, {OptionType: 3, OptionLength: 3, OptionData: []byte{7}}, mss(9000)}, 1380, true},
		{"equal", true, false, []layers.TCPOption{mss(1380)}, 1380, false},
		{"smaller", true, false, []layers.TCPOption{mss(536)}, 1380, false},
		{"none", true, false, nil, 1380, false},
		{"not a SYN", false, true, []layers.TCPOption{mss(1460)}, 1380, false},
	} {
		s := tcp()
		s.SYN, s.ACK, s.Options = row.syn, row.ack, row.opts
		b := build(t, ip4(6), s)
		v := mustDecode(t, b)
		was := append([]byte{}, b...)
		if got := ClampMSS(b, v, row.max, false); got != row.want || bytes.Equal(b, was) == row.want {
			t.Errorf("%s: %v", row.name, got)
		}
		if !bytes.Equal(b, recomputed(b, v)) {
			t.Errorf("%s: bad checksum", row.name)
		}
		if row.want {
			p := gopacket.NewPacket(b, layers.LayerTypeIPv4, gopacket.Default).Layer(layers.LayerTypeTCP).(*layers.TCP)
			for _, o := range p.Options {
				if o.OptionType == 2 && binary.BigEndian.Uint16(o.OptionData) != row.max {
					t.Errorf("%s: offers %v", row.name, o)
				}
			}
		}
	}
}
