package fragment

import (
	"hash/maphash"

	"turnout/classifier/packet"
)

// A table is what a Tracker and a Reassembler have in common: datagrams, found
// by what their fragments have in common, and the fragments held for them. Its
// memory is of a fixed size and free of pointers.
type table struct {
	limits
	seed      maphash.Seed // so that nobody outside can choose datagrams that fall into one chain
	index     slots        // of datagrams
	datagrams []datagram
	spans     []span // a fixed number for each datagram
	owners    slots  // of accounts
	accounts  []account
	arena     arena
	now       uint32
	unclaimed int // held fragments whose time was over before anybody asked
}

// limits are what each level of accounts may have, and each datagram.
type limits struct {
	datagrams, blocks [levels]uint32
	fragments         int
	life              uint32
}

// A key is the same in all fragments of a datagram, and in no other datagram
// of its time (RFC 791, 3.2).
type key struct {
	src, dst packet.Addr
	side     uint32
	id       uint32
	proto    uint32 // 0 for IPv6, whose fragments may differ in it
}

type datagram struct {
	key      key
	accounts [levels]uint32
	links    [levels]link
	since    uint32
	turn     uint32 // counts the datagrams that had this record before
	held     uint32 // the held fragment of the lowest offset
	pieces   pieces
	first    first
	count    uint16 // fragments held
	id       uint16 // the new identification, 0: it keeps its own
	accepted bool
	refused  packet.Reason // OK: it is not
}

// first is what only a datagram's first fragment says.
type first struct {
	src, dst         uint16
	typ, code, proto uint8
}

// fill makes v, of a later fragment, say it too.
func (f first) fill(v *packet.View) {
	v.SrcPort, v.DstPort, v.Type, v.Code, v.Proto = f.src, f.dst, f.typ, f.code, f.proto
}

// open makes the memory, at the first fragment: most routers never see one.
func (t *table) open() {
	if t.datagrams != nil {
		return
	}
	n := int(t.limits.datagrams[everybody])
	t.seed = maphash.MakeSeed()
	t.index, t.datagrams = newSlots(n), make([]datagram, n+1)
	t.spans = make([]span, n*t.fragments)
	// A host and a side for each datagram, and for one more that waits for
	// another to make room, and everybody.
	accounts := 2*(n+1) + 1
	t.owners, t.accounts = newSlots(accounts), make([]account, accounts+1)
	t.arena = newArena(int(t.limits.blocks[everybody]))
}

// visit returns the datagram of fragment f, a new one if need be, and how many
// held fragments of another had to make room for it.
func (t *table) visit(side uint32, v *packet.View, f *part, now uint32) (i uint32, lost int) {
	t.open()
	t.now = max(t.now, now)
	k := key{src: v.Src, dst: v.Dst, side: side, id: f.id}
	if v.Version == 4 {
		k.proto = uint32(v.Proto)
	}
	h := maphash.Comparable(t.seed, k)
	for i = t.index.first(h); i != 0; i = t.index.next[i] {
		if t.datagrams[i].key != k {
			continue
		}
		if !t.old(i) {
			return i, 0
		}
		t.unclaimed += t.remove(i)
		break
	}
	return t.create(k, h)
}

func (t *table) old(i uint32) bool { return t.now-t.datagrams[i].since >= t.life }

// create enters a new datagram. Where an account is full its oldest gives way:
// most likely all of it has passed. One host has far fewer datagrams at once
// than there are identifications, so the old ones are also gone before a fast
// sender comes round to the same numbers again (RFC 4963).
func (t *table) create(k key, h uint64) (i uint32, lost int) {
	var accounts [levels]uint32
	for level := byHost; level >= everybody; level-- {
		owner := accountKey{level: uint32(level)}
		if level >= bySide {
			owner.side = k.side
		}
		if level == byHost {
			owner.addr = k.src
		}
		number := t.charge(owner)
		if a := &t.accounts[number]; a.datagrams > t.limits.datagrams[level] {
			lost += t.remove(a.oldest)
		}
		accounts[level] = number
	}
	i = t.index.add(h)
	t.datagrams[i] = datagram{key: k, accounts: accounts, since: t.now, turn: t.datagrams[i].turn}
	t.enter(i)
	return i, lost
}

// remove forgets datagram i and returns how many held fragments went with it.
func (t *table) remove(i uint32) (lost int) {
	lost = t.drop(i)
	t.leave(i)
	d := &t.datagrams[i]
	t.index.remove(i, maphash.Comparable(t.seed, d.key))
	d.turn++ // who still has a handle has nothing
	return lost
}

// note adds part f to what was seen of datagram i.
func (t *table) note(i uint32, f *part) packet.Reason {
	return t.datagrams[i].pieces.add(t.spansOf(i), f)
}

// whole reports whether all of datagram i was seen.
func (t *table) whole(i uint32) bool { return t.datagrams[i].pieces.whole(t.spansOf(i)) }

func (t *table) spansOf(i uint32) []span {
	return t.spans[int(i-1)*t.fragments : int(i)*t.fragments]
}

// refuse drops what is held of datagram i, and with it all that comes later.
func (t *table) refuse(i uint32, why packet.Reason) (lost int) {
	t.datagrams[i].refused = why
	return t.drop(i)
}

// expire forgets up to some datagrams whose time is over. It returns how many
// held fragments went with them, and whether there may be more.
func (t *table) expire(now uint32, some int) (lost int, more bool) {
	t.now = max(t.now, now)
	lost, t.unclaimed = t.unclaimed, 0
	for range some {
		i := t.oldest()
		if i == 0 || !t.old(i) {
			return lost, false
		}
		lost += t.remove(i)
	}
	return lost, true
}

// oldest returns the datagram that has been here longest, 0 if there is none.
func (t *table) oldest() uint32 {
	if t.datagrams == nil {
		return 0
	}
	i, _ := t.find(accountKey{level: everybody})
	if i == 0 {
		return 0
	}
	return t.accounts[i].oldest
}
