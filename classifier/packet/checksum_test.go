package packet

import (
	"testing"
)

// slowSum is the sum of RFC 1071 as it is told.
func slowSum(b []byte, initial uint64) uint16 {
	sum := initial
	for i, x := range b {
		if i%2 == 0 {
			sum += uint64(x) << 8
		} else {
			sum += uint64(x)
		}
	}
	for sum>>16 != 0 {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}

func TestChecksumAgainstSlow(t *testing.T) {
	r := newRandom(t)
	b := make([]byte, 70000)
	for _, fill := range []func() byte{
		func() byte { return byte(r.Uint32()) },
		func() byte { return 0xff },
		func() byte { return 0 },
		func() byte { return [...]byte{0, 0xff}[r.IntN(2)] },
	} {
		for i := range b {
			b[i] = fill()
		}
		for n := range 400 {
			start := r.IntN(64)
			if n >= 300 {
				n = r.IntN(len(b) - start)
			}
			initial := uint64(r.Uint32()) * uint64(r.IntN(3))
			if got, want := Checksum(b[start:start+n], initial), slowSum(b[start:start+n], initial); got != want {
				t.Fatalf("%d bytes from %d, initial %#x: %#x, want %#x", n, start, initial, got, want)
			}
		}
	}
}

// TestIncrementalIsFull takes every old value of a word, changes it to random
// new ones, and wants the checksum that summing everything gives.
func TestIncrementalIsFull(t *testing.T) {
	r := newRandom(t)
	b := make([]byte, 20)
	for old := range 1 << 16 {
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		b[0], b[4], b[5], b[10], b[11] = 0x45, byte(old>>8), byte(old), 0, 0
		sum := ^slowSum(b, 0)
		b[10], b[11] = byte(sum>>8), byte(sum)
		for _, new := range []uint16{uint16(r.Uint32()), 0, 0xffff, ^uint16(old), uint16(old)} {
			was := be16(b[4:])
			b[4], b[5] = byte(new>>8), byte(new)
			changed(was, new).apply(b[10:])
			got := be16(b[10:])
			b[10], b[11] = 0, 0
			if want := ^slowSum(b, 0); got != want {
				t.Fatalf("%#x to %#x: %#x, want %#x", was, new, got, want)
			}
			b[10], b[11] = byte(got>>8), byte(got)
		}
	}
}

func TestPseudoSum(t *testing.T) {
	r := newRandom(t)
	for range 2000 {
		b := generate(t, r)
		v := mustDecode(t, b)
		if v.Proto != TCP && v.Proto != UDP && v.Proto != ICMPv6 {
			continue
		}
		n := int(v.Len - v.L4)
		if got := Checksum(b[v.L4:], PseudoSum(v, n)); got != 0xffff {
			t.Fatalf("sum %#x over % x", got, b)
		}
	}
}
