package dataplane

import (
	"testing"

	"turnout/classifier/packet"
	"turnout/dataplane/segment"
)

// pieces cuts a packet as a sender does, each piece with its number.
func pieces(pkt []byte, id uint16, at ...int) (out [][]byte) {
	pkt[4], pkt[5] = byte(id>>8), byte(id)
	for i := range at[:len(at)-1] {
		out = append(out, fragmentOf(pkt, at[i], at[i+1], i+2 < len(at)))
	}
	return out
}

// RFC 4787, REQ-14: fragments pass in any order, both ways, each translated as
// its first; nothing is put together.
func TestRow14FragmentsOutOfOrder(t *testing.T) {
	for _, order := range [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		w := newWorld(t)
		cut := pieces(udp(host, far, 5000, 53, 2000), 77, 0, 800, 1600, 2008)
		for _, n := range order {
			w.send(segment.Header{}, cut[n])
		}
		checkPieces(t, order, read3(t, w.se), own, far)

		back := pieces(udp(far, own, 53, 5000, 2000), 78, 0, 800, 1600, 2008)
		for _, n := range order {
			give(t, w.se, back[n])
		}
		var got [][]byte
		for range back {
			_, b := w.got()
			got = append(got, b)
		}
		checkPieces(t, order, got, far, host)
	}
}

func read3(t *testing.T, tun *Tunnel) (got [][]byte) {
	for len(got) < 3 {
		got = append(got, read(t, tun, 1)...)
	}
	return got
}

// checkPieces wants three pieces of one datagram from src to dst: the first
// before all that had to wait for it, and the payload complete.
func checkPieces(t *testing.T, order []int, got [][]byte, src, dst string) {
	t.Helper()
	var whole [2008]byte
	id := uint16(0)
	for i, b := range got {
		if b == nil {
			t.Fatalf("order %v: piece %d is missing", order, i)
		}
		v := sound(t, b)
		if v.Src != addrOf(src) || v.Dst != addrOf(dst) || i > 0 && v.ID != id {
			t.Fatalf("order %v: piece %d from %v to %v, number %d after %d", order, i, v.Src, v.Dst, v.ID, id)
		}
		id = v.ID
		from := (int(b[6]&0x1f)<<8 | int(b[7])) * 8
		if i == 0 && from != 0 {
			t.Errorf("order %v: the piece at %d comes before the first", order, from)
		}
		copy(whole[from:], b[20:])
	}
	if whole[2007] != 1999&255 || whole[900] != (900-8)&255 {
		t.Errorf("order %v: the payload is not what was sent", order)
	}
}

// What the first is refused, the others are too; those that contradict end the
// datagram.
func TestFragmentsShareTheirFate(t *testing.T) {
	w := newWorld(t)
	for _, b := range pieces(udp(host, "192.0.2.1", 5000, 53, 2000), 77, 0, 800, 1600, 2008) { // dropped by policy
		w.send(segment.Header{}, b)
	}
	w.dropped(packet.PolicyDrop, 1)
	w.dropped(packet.FragmentUnknown, 2)
	cut := pieces(udp(host, far, 5000, 53, 2000), 78, 0, 800, 1600, 2008)
	w.send(segment.Header{}, cut[0])
	w.send(segment.Header{}, cut[0])
	w.send(segment.Header{}, cut[1])
	w.dropped(packet.FragmentOverlap, 2)
	// Out of the tunnel: a first that nobody asked for.
	back := pieces(udp(far, own, 99, 5000, 2000), 79, 0, 800, 1600, 2008)
	give(t, w.se, back[1], back[0], back[2])
	w.dropped(packet.NoFlow, 1)
	w.nothing(t)
}

// RFC 6864, 5.3.1: two hosts use one number towards one server; behind the one
// address they share, they do not.
func TestRow42Identification(t *testing.T) {
	w := newWorld(t)
	seen := map[uint16]bool{}
	for n, src := range []string{alice, bob} {
		pkt := udp(src, far, 5000, 53, 100)
		pkt[4], pkt[5] = 1, 2
		w.send(segment.Header{}, setID(pkt))
		v := sound(t, read(t, w.se, 1)[0])
		if seen[v.ID] {
			t.Errorf("host %d has the same number as the other", n+1)
		}
		seen[v.ID] = true
	}
	// Who cannot be fragmented keeps what he has, and so does who has an address of his own.
	atomic := udp(alice, far, 5000, 53, 100)
	atomic[4], atomic[5] = 1, 2
	w.send(segment.Header{}, setDF(atomic))
	if v := sound(t, read(t, w.se, 1)[0]); v.ID != 0x102 {
		t.Errorf("an atomic datagram gets number %#x", v.ID)
	}
	single := udp(alice, site, 5000, 53, 100)
	single[4], single[5] = 1, 2
	w.send(segment.Header{}, setID(single))
	if v := sound(t, read(t, w.no, 1)[0]); v.ID != 0x102 {
		t.Errorf("without translation, a datagram gets number %#x", v.ID)
	}
}

// setID mends the header checksum.
func setID(b []byte) []byte {
	b[10], b[11] = 0, 0
	sum := packet.Checksum(b[:20], 0)
	b[10], b[11] = byte(^sum>>8), byte(^sum)
	return b
}
