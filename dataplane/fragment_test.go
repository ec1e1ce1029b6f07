package dataplane

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"turnout/classifier/packet"
)

// ipv4 makes a packet with a header of header bytes and a payload of n.
func ipv4(header, n int, options []byte) []byte {
	b := make([]byte, header+n)
	b[0] = 4<<4 | byte(header/4)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	binary.BigEndian.PutUint16(b[4:], 0x1234)
	b[8], b[9] = 64, packet.UDP
	copy(b[12:], []byte{192, 168, 77, 10, 198, 51, 100, 1})
	copy(b[20:header], options)
	for i := header; i < len(b); i++ {
		b[i] = byte(i * 7)
	}
	binary.BigEndian.PutUint16(b[10:], ^packet.Checksum(b[:header], 0))
	return b
}

// reassemble is the obvious counterpart: it puts payloads where they say they
// belong.
func reassemble(t *testing.T, fragments [][]byte) []byte {
	t.Helper()
	var whole []byte
	for i, f := range fragments {
		header := int(f[0]&15) * 4
		if packet.Checksum(f[:header], 0) != 0xffff {
			t.Fatalf("fragment %d: its header checksum is wrong", i)
		}
		if int(binary.BigEndian.Uint16(f[2:])) != len(f) {
			t.Fatalf("fragment %d: its length is wrong", i)
		}
		word := binary.BigEndian.Uint16(f[6:])
		if at := int(word&fragmentOffset) * 8; at != len(whole) {
			t.Fatalf("fragment %d is for offset %d, but %d bytes came", i, at, len(whole))
		}
		if last := word&moreFragments == 0; last != (i == len(fragments)-1) {
			t.Fatalf("fragment %d of %d: last is %v", i, len(fragments), last)
		}
		whole = append(whole, f[header:]...)
	}
	return whole
}

func TestFragmentsMakeTheWholeAgain(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	f := new(fragmenter)
	for range 2000 {
		mtu := 68 + rng.IntN(1500)
		pkt := ipv4(20, mtu-20+1+rng.IntN(8000), nil)
		if !f.start(pkt, mtu) {
			t.Fatalf("a packet of %d bytes does not go through an MTU of %d", len(pkt), mtu)
		}
		var out [][]byte
		for {
			dst := make([]byte, mtu)
			n := f.next(dst)
			if n == 0 {
				break
			}
			out = append(out, dst[:n])
		}
		if !bytes.Equal(reassemble(t, out), pkt[20:]) {
			t.Fatalf("%d bytes through MTU %d came back different", len(pkt), mtu)
		}
	}
}

func TestOnlyCopiedOptionsAreInLaterFragments(t *testing.T) {
	copied := []byte{0x80 | 20, 4, 0, 0} // router alert (RFC 2113): copied
	single := []byte{7, 7, 4, 0, 0, 0, 0}
	pkt := ipv4(32, 3000, append(append([]byte{}, single...), append([]byte{1}, copied...)...))
	f := new(fragmenter)
	if !f.start(pkt, 1400) {
		t.Fatal("not taken")
	}
	var out [][]byte
	for {
		dst := make([]byte, 1400)
		n := f.next(dst)
		if n == 0 {
			break
		}
		out = append(out, dst[:n])
	}
	if !bytes.Equal(reassemble(t, out), pkt[32:]) {
		t.Fatal("came back different")
	}
	if !bytes.Equal(out[0][20:32], pkt[20:32]) {
		t.Errorf("the first fragment has options %x", out[0][20:32])
	}
	if got := out[1][20 : int(out[1][0]&15)*4]; !bytes.Equal(got, copied) {
		t.Errorf("a later fragment has options %x, want %x", got, copied)
	}
}

func TestWhatCannotBeFragmented(t *testing.T) {
	f := new(fragmenter)
	for name, pkt := range map[string][]byte{
		"nothing": nil, "short": make([]byte, 19), "version 6": {0: 0x60, 39: 0},
		"header past the end": append([]byte{0x4f}, make([]byte, 30)...),
		"header too short":    append([]byte{0x41}, make([]byte, 30)...),
	} {
		if f.start(pkt, 1400) {
			t.Errorf("%s: taken", name)
		}
		if n := f.next(make([]byte, 1500)); n != 0 {
			t.Errorf("%s: a fragment of %d bytes", name, n)
		}
	}
}
