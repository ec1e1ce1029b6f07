package hostile

import (
	"bytes"
	"testing"

	"turnout/classifier/packet"
)

// A case is wrong in one thing: where that is not a checksum or a length, the
// packet is not to be told from a good one by those.
func TestChecksumsAreTrue(t *testing.T) {
	wrong := map[int]bool{7: true, 9: true, 38: true, 44: true, 47: true} // what is cut off, or those are about
	for _, c := range append(Cases(), Datagrams()...) {
		for _, b := range c.Packets(example) {
			if c.Class == 28 || wrong[c.Class] || c.Header.CsumStart != 0 || len(b) < 40 || b[0]>>4 == 6 && c.Class >= 59 {
				continue
			}
			if !bytes.Equal(Mend(bytes.Clone(b)), b) {
				t.Errorf("M%d, %s: a checksum is wrong: %x", c.Class, c.Name, b[:40])
			}
		}
	}
}

// A fuzzer that gives nothing gets the packets as they are.
func TestMutateByZeros(t *testing.T) {
	zeros := func() uint32 { return 0 }
	for i, seed := range Seeds() {
		b := seed(example)
		if !bytes.Equal(Mutate(nil, b, zeros), b) {
			t.Errorf("seed %d does not stay as it is", i)
		}
	}
	for _, b := range example.Sound([]byte("data")) {
		var v packet.View
		if why := v.Decode(b); why != packet.OK || packet.VerifyHeader(b, &v) != packet.OK {
			t.Errorf("a good packet is %v: %x", why, b)
		}
	}
}
