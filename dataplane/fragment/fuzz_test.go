package fragment

import (
	"testing"

	"turnout/classifier/packet"
)

// FuzzModel plays events to the tracker and to the model that the input draws.
func FuzzModel(f *testing.F) {
	rng := newRandom(f)
	for range 8 {
		b := make([]byte, 400)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		draw := func(n int) int {
			if len(b) < 2 {
				return 0
			}
			x := int(b[0])<<8 | int(b[1])
			b = b[2:]
			return x % n
		}
		p := newPlayer(t, Options{Datagrams: 8, Bytes: 512 * 16, Fragments: 3, HostShare: 2}, draw)
		for len(b) >= 2 {
			p.event()
			p.n++
		}
	})
}

// FuzzPackets shows any packets that are decoded as fragments to a tracker and
// a reassembler: they must not panic, and what is put together must be
// a packet of the size that it says.
func FuzzPackets(f *testing.F) {
	for _, m := range []message{newMessage(false, packet.UDP, 96), newMessage(true, packet.TCP, 96).withTarget(8)} {
		var all []byte
		for _, b := range m.cut(48) {
			all = append(append(all, byte(len(b))), b...)
		}
		f.Add(all)
	}
	f.Fuzz(func(t *testing.T, all []byte) {
		r, whole := newRig(t, Options{Datagrams: 4, Bytes: 4096}), NewReassembler()
		for len(all) > 0 {
			n := min(len(all)-1, int(all[0]))
			b := all[1 : 1+n]
			all = all[1+n:]
			var v packet.View
			if v.Decode(b) != packet.OK || v.Frag == packet.Whole {
				continue
			}
			if got, verdict := whole.Add(b, &v, r.now); verdict.Action == Pass {
				checkWhole(t, got)
			}
			if got := r.Take(lan, b, &v, r.now); got.Action == Pass && v.Frag == packet.First {
				r.Decide(got.Datagram, 1, true)
				r.release(got.Datagram)
			}
			r.now += uint32(len(b) & 3)
		}
		whole.table.verify(t)
	})
}

// checkWhole wants b to be whole: as a packet, if not in what it carries.
func checkWhole(t *testing.T, b []byte) {
	t.Helper()
	var v packet.View
	switch why := v.Decode(b); why {
	case packet.OK, packet.BadTCP, packet.BadUDP, packet.BadICMP, packet.BadExtension:
		if why == packet.OK && (int(v.Len) != len(b) || v.Frag != packet.Whole) {
			t.Fatalf("%d bytes: %+v", len(b), v)
		}
	default:
		t.Fatalf("%v: % x", why, b)
	}
	if b[0]>>4 == 4 && packet.Checksum(b[:int(b[0]&15)*4], 0) != 0xffff {
		t.Fatalf("bad checksum: % x", b)
	}
}
