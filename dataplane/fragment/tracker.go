package fragment

import (
	"sync"

	"turnout/classifier/packet"
)

// Options of a Tracker; what is 0 has the value in brackets.
type Options struct {
	Datagrams int // followed at once [16,384]
	Bytes     int // of fragments that wait [4 MiB]
}

// What one host and one side may have of what there is: an eighth and a half.
const (
	hostShare = 8
	sideShare = 2
)

// What becomes of a fragment.
type Outcome uint8

const (
	// First has the numbers of its datagram's flow. Decide must follow, then,
	// if the flow takes it, Release.
	First Outcome = iota
	// Later goes the way of its first. The view has the ports and the ICMP type
	// of that one; HasPorts stays false, since they are not in this packet.
	Later
	// Held was copied and comes back by Release.
	Held
	// Dropped is not to be forwarded, for the reason given.
	Dropped
)

// Counts are fragments that were held and then dropped, by reason.
type Counts struct {
	Overlap uint64 // packet.FragmentOverlap
	Unknown uint64 // packet.FragmentUnknown: the first never came, or was refused
}

// A Tracker follows datagrams in fragments. It is safe for concurrent use,
// but what one side sends has to come in order: Take, Decide and Release of a
// side are for one goroutine at a time.
type Tracker struct {
	mu     sync.Mutex
	most   int
	byKey  map[key]int32 // made at the first fragment
	list   []datagram
	free   int32
	oldest chain // of all
	hosts  map[hostKey]*host
	spare  []*host // records to use again, empty
	sides  map[uint32]*share
	hold   hold
	lents  []*lent // that Release lends
	counts Counts
}

type hostKey struct {
	addr packet.Addr
	side uint32
}

// A share is what somebody has of the tracker.
type share struct {
	datagrams int
	blocks    int32
}

type host struct {
	share
	oldest chain
}

// A chain leads through datagrams by age, the oldest at the head.
type chain struct{ head, tail int32 }

type state uint8

const (
	waiting  state = iota // for the first fragment
	asked                 // about it: Decide follows
	passing               // fragments go on
	refused               // the first went nowhere
	poisoned              // fragments contradict each other
)

type datagram struct {
	key
	extent
	since            uint32
	state            state
	typ, code        uint8
	srcPort, dstPort uint16
	newID            uint16
	held             int32    // the first of those that wait
	links            [2]links // among all, among the host's own
	host             *host
	side             *share
}

type links struct{ prev, next int32 }

const (
	ofAll = iota
	ofHost
)

// New returns an empty tracker.
func New(o Options) *Tracker {
	if o.Datagrams == 0 {
		o.Datagrams = 1 << 14
	}
	if o.Bytes == 0 {
		o.Bytes = 4 << 20
	}
	return &Tracker{most: o.Datagrams, hold: newHold(o.Bytes), sides: map[uint32]*share{}}
}

// Take looks at fragment b of a side, decoded as v, at a time in seconds. id is
// the identification that Decide gave the datagram, with Later.
func (t *Tracker) Take(side uint32, b []byte, v *packet.View, now uint32) (o Outcome, id uint16, why packet.Reason) {
	p, _ := pieceOf(b, v)
	t.mu.Lock()
	defer t.mu.Unlock()
	k := keyOf(side, v)
	i := t.byKey[k]
	if i != 0 && now-t.list[i].since >= life {
		t.remove(i)
		i = 0
	}
	if i == 0 {
		if i = t.begin(k, now); i == 0 {
			return Dropped, 0, packet.FragmentLimit
		}
	}
	d := &t.list[i]
	switch {
	case d.state == poisoned:
		return Dropped, 0, packet.FragmentOverlap
	case !d.add(p):
		t.counts.Overlap += t.dropHeld(d)
		d.state = poisoned
		return Dropped, 0, packet.FragmentOverlap
	case d.state == refused:
		return Dropped, 0, packet.FragmentUnknown
	case v.Frag == packet.First:
		d.state = asked
		d.srcPort, d.dstPort, d.typ, d.code = v.SrcPort, v.DstPort, v.Type, v.Code
		return First, 0, packet.OK
	case d.state == waiting:
		if !t.mayHold(d, len(b)) {
			t.counts.Unknown += t.dropHeld(d)
			d.state = refused // it could not be whole any more
			return Dropped, 0, packet.FragmentLimit
		}
		d.held = t.hold.put(b, v, uint16(p.from), d.held)
		t.charge(d, need(len(b)))
		return Held, 0, packet.OK
	}
	d.inherit(v)
	id = d.newID
	if d.whole() {
		t.remove(i)
	}
	return Later, id, packet.OK
}

// inherit gives v what only the first fragment says.
func (d *datagram) inherit(v *packet.View) {
	v.SrcPort, v.DstPort, v.Type, v.Code = d.srcPort, d.dstPort, d.typ, d.code
}

// Decide tells what becomes of the datagram whose First fragment v was, v being
// as Take had it: ok lets the others follow, with identification id in place of
// their own unless it is 0.
func (t *Tracker) Decide(side uint32, v *packet.View, id uint16, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := t.byKey[keyOf(side, v)]
	if i == 0 {
		return
	}
	d := &t.list[i]
	d.newID, d.state = id, passing
	if !ok {
		t.counts.Unknown += t.dropHeld(d)
		d.state = refused
	}
}

// Release calls f with each fragment that waited for First fragment v, in the
// order of the datagram; v is as Take had it. b and the view are lent to f
// until it returns. No lock is held meanwhile.
func (t *Tracker) Release(side uint32, v *packet.View, f func(b []byte, v *packet.View)) {
	k := keyOf(side, v)
	for l := t.next(k, nil); l != nil; l = t.next(k, l) {
		f(l.data[:l.view.Len], &l.view)
	}
}

// A lent is a fragment that waited, in the hands of who released it.
type lent struct {
	view packet.View
	data [1 << 16]byte
}

// next takes the fragment out that comes first in datagram k, and takes back
// the one before. When there is none left, and nothing is missing, the datagram
// is done.
func (t *Tracker) next(k key, back *lent) *lent {
	t.mu.Lock()
	defer t.mu.Unlock()
	if back != nil {
		t.lents = append(t.lents, back)
	}
	i := t.byKey[k]
	if i == 0 || t.list[i].state != passing {
		return nil
	}
	d := &t.list[i]
	if d.held == 0 {
		if d.whole() {
			t.remove(i)
		}
		return nil
	}
	first := &d.held
	for at := &t.hold.list[d.held].next; *at != 0; at = &t.hold.list[*at].next {
		if t.hold.list[*at].from < t.hold.list[*first].from {
			first = at
		}
	}
	l := t.lend()
	e := &t.hold.list[*first]
	l.view = e.view
	d.inherit(&l.view)
	t.hold.copyTo(l.data[:], *first)
	t.charge(d, -e.blocks)
	*first = t.hold.drop(*first)
	return l
}

func (t *Tracker) lend() *lent {
	n := len(t.lents)
	if n == 0 {
		return new(lent)
	}
	l := t.lents[n-1]
	t.lents = t.lents[:n-1]
	return l
}

// Expire forgets the datagrams whose time is over, to be called about once a
// second, and returns what was dropped after having been held since it was
// called last.
func (t *Tracker) Expire(now uint32) Counts {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := t.oldest.head; i != 0 && now-t.list[i].since >= life; i = t.oldest.head {
		t.remove(i)
	}
	c := t.counts
	t.counts = Counts{}
	return c
}
