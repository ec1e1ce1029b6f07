package fragment

import (
	"testing"

	"turnout/classifier/packet"
)

// contradictions are two fragments of a datagram of 240 bytes that cannot both
// be true.
var contradictions = []struct {
	name   string
	a, b   [2]int
	am, bm bool // more fragments follow
}{
	{"second first", [2]int{0, 48}, [2]int{0, 48}, true, true},
	{"second first, shorter", [2]int{0, 96}, [2]int{0, 48}, true, true},
	{"second first, longer", [2]int{0, 48}, [2]int{0, 96}, true, true},
	{"duplicate in the middle", [2]int{96, 144}, [2]int{96, 144}, true, true},
	{"duplicate last", [2]int{192, 240}, [2]int{192, 240}, false, false},
	{"over the first's end", [2]int{0, 48}, [2]int{40, 96}, true, true},
	{"over one's begin", [2]int{96, 144}, [2]int{56, 104}, true, true},
	{"within", [2]int{96, 144}, [2]int{104, 136}, true, true},
	{"at the begin of", [2]int{96, 144}, [2]int{96, 104}, true, true},
	{"at the end of", [2]int{96, 144}, [2]int{136, 144}, true, true},
	{"around", [2]int{96, 144}, [2]int{88, 152}, true, true},
	{"over the last", [2]int{192, 240}, [2]int{144, 200}, false, true},
	{"two ends, the second beyond", [2]int{192, 240}, [2]int{240, 288}, false, false},
	{"two ends, the second before", [2]int{192, 240}, [2]int{96, 144}, false, false},
	{"two ends in one fragment's place", [2]int{192, 240}, [2]int{192, 236}, false, false},
	{"the last just before another", [2]int{144, 192}, [2]int{192, 200}, false, true},
	{"the last is not", [2]int{192, 240}, [2]int{240, 288}, false, true},
	{"far beyond the end", [2]int{192, 240}, [2]int{400, 448}, false, true},
}

// Whichever comes first, next to each other or after others, whether the first
// fragment is there or not: the second of the two poisons the datagram.
func TestContradictionsPoison(t *testing.T) {
	for _, row := range contradictions {
		for _, v6 := range []bool{false, true} {
			for _, swapped := range []bool{false, true} {
				m := newMessage(v6, packet.UDP, 240)
				a, b := m.part(row.a[0], row.a[1], row.am), m.part(row.b[0], row.b[1], row.bm)
				if swapped {
					a, b = b, a
				}
				t.Run(row.name, func(t *testing.T) {
					for _, fate := range []string{"undecided", "accepted"} {
						poison(t, m, a, b, fate == "accepted")
					}
				})
			}
		}
	}
}

func poison(t *testing.T, m message, a, b []byte, accept bool) {
	t.Helper()
	r := newRig(t, Options{})
	var d Datagram
	held := 0
	if read(a).from > 0 && read(b).from > 0 && read(a).from >= 24 && read(b).from >= 24 {
		d = r.pass("first", m.part(0, 24, true)).Datagram
		if accept {
			r.Decide(d, 0, true)
		}
	}
	got, v := r.take(lan, a)
	switch {
	case v.Frag == packet.First:
		d = got.Datagram
		if accept {
			r.Decide(d, 0, true)
		}
	case got.Action == Held:
		held++
	}
	r.want("contradiction", b, Drop, packet.FragmentOverlap, held)
	if n := r.Decide(d, 0, true); n != 0 {
		t.Fatalf("%d lost again", n)
	}
	if out := r.release(d); out != nil {
		t.Fatalf("released % x", out)
	}
	// Nothing gets through any more, not even what fits.
	for range 2 {
		for _, p := range m.cut(24) {
			r.drop("after", p, packet.FragmentOverlap)
		}
	}
	r.now += 29
	r.drop("after 29 s", m.part(216, 240, false), packet.FragmentOverlap)
	r.now++
	if n := r.Expire(r.now); n != 0 {
		t.Fatalf("%d lost again", n)
	}
	r.pass("a new one", m.part(0, 24, true))
}

// All that was held is lost, and counted once.
func TestPoisonDropsWhatIsHeld(t *testing.T) {
	r := newRig(t, Options{})
	m := newMessage(false, packet.UDP, 10*48)
	for i := 9; i > 2; i-- {
		r.held("early", m.part(i*48, i*48+48, i < 9))
	}
	r.want("overlap", m.part(4*48, 5*48, true), Drop, packet.FragmentOverlap, 7)
	r.drop("first", m.part(0, 48, true), packet.FragmentOverlap)
	if n := r.Expire(r.now + 30); n != 0 {
		t.Fatalf("%d lost again", n)
	}
}

// What only fits because other fragments have a smaller header is more than a
// packet can be (the ping of death).
func TestBeyondALargestPacket(t *testing.T) {
	for _, firstLast := range []bool{false, true} {
		m := newMessage(false, packet.UDP, 65515)
		large := m
		large.options = 40
		r := newRig(t, Options{})
		last, first := m.part(65504, 65515, false), large.part(0, 48, true)
		if firstLast {
			r.pass("first", first)
			r.drop("last", last, packet.FragmentOverlap)
		} else {
			r.held("last", last)
			r.want("first", first, Drop, packet.FragmentOverlap, 1)
		}
		// With the same header it is as large as a packet can be.
		m.id++
		r.Decide(r.pass("first", m.part(0, 48, true)).Datagram, 0, true)
		r.pass("last", m.part(65504, 65515, false))
	}
}

// A datagram is refused for its contradiction only, not those beside it.
func TestPoisonStaysWithItsDatagram(t *testing.T) {
	r := newRig(t, Options{})
	m := newMessage(false, packet.UDP, 96)
	n := m
	n.id++
	r.held("early", n.part(48, 96, false))
	r.held("early", m.part(48, 96, false))
	r.want("overlap", m.part(48, 96, false), Drop, packet.FragmentOverlap, 1)
	d := r.pass("first", n.part(0, 48, true)).Datagram
	r.Decide(d, 0, true)
	if len(r.release(d)) != 1 {
		t.Fatal("lost")
	}
}

// Fragments that Decode refuses never come here. Should that change, this
// package would have to look.
func TestDecodeRefuses(t *testing.T) {
	m := newMessage(false, packet.TCP, 240)
	m6 := newMessage(true, packet.TCP, 240)
	for name, b := range map[string][]byte{
		"tiny first":                   m.part(0, 16, true),
		"TCP at offset 8":              m.part(8, 48, true),
		"middle not a multiple of 8":   m.part(48, 93, true),
		"no data":                      m.part(48, 48, true),
		"tiny first/6":                 m6.part(0, 16, true),
		"TCP at offset 8/6":            m6.part(8, 48, true),
		"middle not a multiple of 8/6": m6.part(48, 93, true),
		"no data/6":                    m6.part(48, 48, false),
		"beyond 65,535":                m.part(65512, 65520, false),
		"beyond 65,535/6":              m6.part(65496, 65504, false),
	} {
		if why := new(packet.View).Decode(b); why != packet.BadFragment {
			t.Errorf("%s: %v", name, why)
		}
	}
}
