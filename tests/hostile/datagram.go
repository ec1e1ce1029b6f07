package hostile

import (
	"encoding/binary"

	"turnout/classifier/packet"
)

// Datagrams returns the cases of M21 to M28 that only memory of the fragments
// before can decide. The packets but the last of each are unsuspicious.
func Datagrams() []Case {
	var l list
	overlap := func(name string, class, from, to int) {
		l.sequence(class, name, packet.FragmentOverlap, func(t Talk) [][]byte {
			whole := t.udp(data(1192))
			other := t.udp(make([]byte, 1192))
			return [][]byte{Fragment(whole, 0, 400, true), Fragment(whole, 400, 800, true), Fragment(other, from, to, to < 1200)}
		})
	}
	overlap("exactly, with other bytes", 21, 400, 800)
	overlap("the end of the one before", 21, 792, 1000)
	overlap("more than the one before", 21, 392, 808)
	overlap("from the first on", 21, 8, 1200)
	overlap("a second first", 22, 0, 400)
	overlap("a shorter second first", 22, 0, 200)
	l.sequence(26, "a last behind the last", packet.FragmentOverlap, func(t Talk) [][]byte {
		whole := t.udp(data(1192))
		return [][]byte{Fragment(whole, 0, 400, true), Fragment(whole, 400, 800, false), Fragment(whole, 800, 1200, false)}
	})
	l.sequence(26, "a last before the end", packet.FragmentOverlap, func(t Talk) [][]byte {
		whole := t.udp(data(1192))
		return [][]byte{Fragment(whole, 0, 400, true), Fragment(whole, 800, 1200, false), Fragment(whole, 400, 600, false)}
	})
	l.sequence(27, "nothing before", packet.FragmentUnknown, func(t Talk) [][]byte {
		return [][]byte{Fragment(t.udp(data(1192)), 800, 1200, false)}
	})
	l.sequence(28, "40,000 datagrams", packet.FragmentLimit, func(t Talk) (pkts [][]byte) {
		middle := Fragment(t.udp(data(1192)), 400, 800, true)
		for id := range 40000 {
			b := append([]byte(nil), middle...)
			binary.BigEndian.PutUint16(b[4:], uint16(id))
			put(b[10:], b[:20], 0)
			pkts = append(pkts, b)
		}
		return pkts
	})
	return l
}

// sequence appends a case whose last packet both sides drop.
func (l *list) sequence(class int, name string, why packet.Reason, make func(Talk) [][]byte) {
	*l = append(*l, Case{Class: class, Name: name, Want: [Sides]Result{drop(why), drop(why)}, make: make})
}
