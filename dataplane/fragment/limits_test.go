package fragment

import (
	"runtime"
	"testing"

	"turnout/classifier/packet"
)

func TestDefaults(t *testing.T) {
	want := limits{
		datagrams: [levels]uint32{everybody: 16384, bySide: 8192, byHost: 2048},
		blocks:    [levels]uint32{everybody: 8192, bySide: 4096, byHost: 1024},
		fragments: 64, life: 30,
	}
	if got := New(Options{}).table.limits; got != want {
		t.Fatalf("%+v", got)
	}
	if New(Options{}).table.datagrams != nil {
		t.Fatal("memory before the first fragment")
	}
}

// 30 s run from the fragment that came first, and nothing extends them.
func TestExpiryIsNotRefreshed(t *testing.T) {
	m := newMessage(false, packet.UDP, 10*48)
	part := func(i int) []byte { return m.part(i*48, i*48+48, i < 9) }

	r := newRig(t, Options{})
	start := r.now
	r.held("early", part(9))
	for i := 1; i < 6; i++ {
		r.now = start + uint32(5*i)
		r.held("early", part(i))
	}
	r.now = start + 29
	r.Decide(r.pass("first", part(0)).Datagram, 0, true) // and Release is forgotten
	r.pass("later", part(6))
	if n := r.Expire(start + 29); n != 0 {
		t.Fatalf("%d lost after 29 s", n)
	}
	if n := r.Expire(start + 30); n != 6 {
		t.Fatalf("%d lost after 30 s, want 6", n)
	}
	if n := r.Expire(start + 30); n != 0 {
		t.Fatalf("%d lost again", n)
	}
	r.now = start + 30
	r.held("of a new datagram", part(7))
}

// A fragment that comes when its datagram's time is over but nobody called
// Expire begins a new one; what the old one held is reported by Expire.
func TestLateFragmentBeginsAnew(t *testing.T) {
	r := newRig(t, Options{})
	m := newMessage(false, packet.UDP, 10*48)
	r.held("early", m.part(96, 144, true))
	r.held("early", m.part(192, 240, true))
	r.now += 30
	r.held("the same again", m.part(96, 144, true))
	r.now += 29
	if n := r.Expire(r.now); n != 2 {
		t.Fatalf("%d lost, want 2", n)
	}
	d := r.pass("first", m.part(0, 48, true)).Datagram
	r.Decide(d, 0, true)
	if n := len(r.release(d)); n != 1 {
		t.Fatalf("%d released", n)
	}
	r.now++
	if n := r.Decide(d, 0, false) + r.Expire(r.now); n != 0 {
		t.Fatalf("%d lost", n)
	}
	if r.pass("first", m.part(0, 48, true)).Datagram == d {
		t.Fatal("one handle for two datagrams")
	}
}

// A clock that another goroutine has read a little earlier changes nothing.
func TestTimeDoesNotGoBack(t *testing.T) {
	r := newRig(t, Options{})
	m := newMessage(false, packet.UDP, 96)
	r.held("early", m.part(48, 96, false))
	r.now -= 5
	m.id++
	r.held("early", m.part(48, 96, false))
	r.table.verify(t)
	if n := r.Expire(r.now + 30); n != 0 {
		t.Fatalf("%d lost after 25 s", n)
	}
	if n := r.Expire(r.now + 35); n != 2 {
		t.Fatalf("%d lost after 30 s", n)
	}
}

// Expire goes on until nothing is left to do.
func TestExpireAll(t *testing.T) {
	r := newRig(t, Options{})
	m := newMessage(false, packet.UDP, 96)
	for i := range 1000 {
		m.id, m.src = uint32(i), uint8(i%200)
		r.held("early", m.part(48, 96, false))
	}
	if n := r.Expire(r.now + 30); n != 1000 || r.table.oldest() != 0 {
		t.Fatalf("%d lost, want 1000", n)
	}
}

// Pieces that touch count as one: in order there may be any number of
// fragments, and of those that do not touch 64.
func TestFragmentsOfADatagram(t *testing.T) {
	m := newMessage(false, packet.UDP, 8*400)
	r := newRig(t, Options{})
	parts := m.cut(8)
	r.Decide(r.pass("first", parts[0]).Datagram, 0, true)
	for _, b := range parts[1:] {
		r.pass("in order", b)
	}

	m.id++
	parts = m.cut(8)
	r.Decide(r.pass("first", parts[0]).Datagram, 0, true)
	for i := 1; i < 64; i++ {
		r.pass("with gaps", parts[2*i])
	}
	r.drop("one gap more", parts[2*64], packet.FragmentLimit)
	r.drop("what would fit", parts[1], packet.FragmentLimit)

	m.id++
	parts = m.cut(8)
	for i := 1; i <= 64; i++ {
		r.held("early", parts[i])
	}
	r.want("one more", parts[65], Drop, packet.FragmentLimit, 64)
	r.drop("first", parts[0], packet.FragmentLimit)
	r.now += 30
	if n := r.Expire(r.now); n != 0 {
		t.Fatalf("%d lost again", n)
	}
}

// One host's flood of datagrams takes from that host only (RFC 4787, REQ-14a).
func TestFloodOfDatagramsHurtsItsHostOnly(t *testing.T) {
	r := newRig(t, Options{Datagrams: 64, HostShare: 8, SideShare: 2})
	victim, flood := newMessage(false, packet.UDP, 96), newMessage(false, packet.UDP, 96)
	victim.src, flood.src = 1, 2
	r.Decide(r.pass("first", victim.part(0, 48, true)).Datagram, 0, true)
	for i := range 5000 {
		flood.id = uint32(i)
		got, _ := r.take(lan, flood.part(0, 48, true))
		r.Decide(got.Datagram, 0, i%2 == 0)
		if got.Lost != 0 || got.Action != Pass {
			t.Fatalf("%+v", got)
		}
	}
	if n := len(r.table.inUse(t)); n != 1+8 {
		t.Fatalf("%d datagrams, want 9", n)
	}
	r.pass("of the victim", victim.part(48, 96, false))
	for i := 5000 - 8; i < 5000; i++ { // the flood's newest are there
		flood.id = uint32(i)
		if r.table.lookup(t, lan, flood.part(48, 96, false)) == 0 {
			t.Fatalf("%d is gone", i)
		}
	}
	// Invented sources are a flood of their side.
	for i := range 5000 {
		flood.src, flood.id = uint8(10+i%200), uint32(i)
		r.take(1, flood.part(0, 48, true))
	}
	if n := len(r.table.inUse(t)); n != 1+8+32 {
		t.Fatalf("%d datagrams, want 41", n)
	}
	victim.id++
	r.held("of the victim", victim.part(48, 96, false))
}

// So does its flood of fragments without a first.
func TestFloodOfHeldBytesHurtsItsHostOnly(t *testing.T) {
	r := newRig(t, Options{Bytes: 512 * 64, HostShare: 8, SideShare: 2})
	flood, victim := newMessage(false, packet.UDP, 2000), newMessage(false, packet.UDP, 2000)
	flood.src = 66
	held := 0
	for i := range 1000 {
		flood.id = uint32(i)
		switch got, _ := r.take(lan, flood.part(48, 48+1000, true)); got.Action {
		case Held:
			held++
		case Drop:
			if got.Reason != packet.FragmentLimit || got.Lost != 0 {
				t.Fatalf("%+v", got)
			}
		}
	}
	if held != 4 { // of two blocks each
		t.Fatalf("%d held, want 4", held)
	}
	r.held("of the victim", victim.part(48, 1048, true))

	held = 0
	for i := range 1000 {
		flood.src, flood.id = uint8(100+i%100), uint32(i)
		if got, _ := r.take(1, flood.part(48, 48+1000, true)); got.Action == Held {
			held++
		}
	}
	if held != 16 {
		t.Fatalf("%d held of a side, want 16", held)
	}
	victim.id++
	r.held("of the victim", victim.part(48, 1048, true))
}

// A datagram that cannot be held as a whole gives back what was.
func TestTooLargeToHold(t *testing.T) {
	r := newRig(t, Options{Bytes: 512 * 64, HostShare: 8})
	m := newMessage(false, packet.UDP, 8000)
	for i := range 8 {
		r.held("early", m.part(48+i*400, 448+i*400, true))
	}
	r.want("the ninth", m.part(4000, 4400, true), Drop, packet.FragmentLimit, 8)
	r.drop("first", m.part(0, 48, true), packet.FragmentLimit)
	m.id++
	for i := range 8 {
		r.held("of another", m.part(48+i*400, 448+i*400, true))
	}
}

// What makes room for a new datagram is counted as such.
func TestDisplacedIsCounted(t *testing.T) {
	r := newRig(t, Options{Datagrams: 8, HostShare: 4})
	m := newMessage(false, packet.UDP, 240)
	r.held("early", m.part(48, 96, true))
	r.held("early", m.part(144, 192, true))
	m.id++
	r.held("early", m.part(48, 96, true))
	m.id++
	r.want("first of a third", m.part(0, 48, true), Pass, packet.FragmentLimit, 2)
	m.id++
	r.want("later of a fourth", m.part(48, 96, true), Held, packet.FragmentLimit, 1)
}

// The whole table gives way from its oldest, and a decision about a datagram
// that had to go is about none.
func TestFullTable(t *testing.T) {
	r := newRig(t, Options{Datagrams: 4, HostShare: 1, SideShare: 1})
	m := newMessage(true, packet.UDP, 96)
	d := r.pass("first", m.part(0, 48, true)).Datagram
	for i := range 4 {
		m.src++
		r.take(uint32(i), m.part(0, 48, true))
	}
	if r.Decide(d, 1, true) != 0 || r.Decide(d, 1, false) != 0 {
		t.Fatal("something was lost")
	}
	m.src = 5
	if r.table.lookup(t, lan, m.part(48, 96, false)) != 0 {
		t.Fatal("the oldest is still there")
	}
	if n := len(r.table.inUse(t)); n != 4 {
		t.Fatalf("%d datagrams", n)
	}
}

// A million datagrams, each with one fragment, of one host and then of many,
// first ones, later ones and contradictions: nothing is allocated for them.
func TestMemoryIsBounded(t *testing.T) {
	r := newRig(t, Options{})
	m := newMessage(false, packet.UDP, 240)
	m6 := newMessage(true, packet.UDP, 240)
	kinds := [][]byte{m.part(0, 48, true), m.part(48, 240, false), m6.part(0, 48, true), m6.part(48, 240, false)}
	views := make([]*packet.View, len(kinds))
	for i, b := range kinds {
		views[i] = decode(t, b)
	}
	r.pass("the first of all", kinds[0])
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	taken, lost := [3]int{}, 0
	for i := range 1_000_000 {
		k := i % len(kinds)
		b, v := kinds[k], *views[k]
		if v.Version == 4 {
			b[4], b[5] = byte(i>>10), byte(i>>2)
		} else {
			b[44], b[45], b[46], b[47] = byte(i>>24), byte(i>>16), byte(i>>8), byte(i)
		}
		if i > 500_000 {
			v.Src.Lo ^= uint64(i >> 2 & 0xffff)
		}
		got := r.Take(uint32(i>>18), b, &v, r.now+uint32(i/100_000))
		taken[got.Action]++
		lost += got.Lost
		if got.Action == Pass && k == 0 {
			lost += r.Decide(got.Datagram, 0, false)
		}
	}
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 64<<10 {
		t.Errorf("%d bytes allocated", grown)
	}
	if taken[Held] == 0 || taken[Pass] == 0 || taken[Drop] == 0 || lost == 0 {
		t.Errorf("an idle run: %v, %d lost", taken, lost)
	}
	lost += r.Expire(r.now + 100)
	if lost != taken[Held] || r.table.oldest() != 0 {
		t.Errorf("%d were held, %d lost", taken[Held], lost)
	}
	t.Logf("pass, held, drop: %v; %d lost", taken, lost)
}
