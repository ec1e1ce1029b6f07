package nat

import (
	"runtime"
	"sync"

	"turnout/classifier/packet"
)

// Options of a Table.
type Options struct {
	// MaxFlows bounds the table; 0 means 262,144. Memory is taken as flows
	// come, about 126 bytes each, 160 of IPv6, and kept. At most 8,388,607.
	MaxFlows int
	// MaxPerHost bounds the flows of one near host; 0 means a quarter of
	// MaxFlows, but 65,536 where the table holds as many.
	MaxPerHost int
	// NewPerHost bounds the flows that one near host may start in a second; 0:
	// as many as it likes.
	NewPerHost int
}

const (
	defaultMaxFlows = 1 << 18
	// mostFlows leaves numbers for as many resting ports as there are flows.
	mostFlows = recordMask / 2
)

// A Table holds all flows of the router. Its methods may be called from any
// goroutine.
type Table struct {
	mu  sync.Mutex
	now Tick // the latest time that any caller brought
	max int
	n   int

	arena     *arena
	secret    secret
	addrs     addresses
	flows     slab[entry]
	vacant    uint32 // a free entry, which chains the others
	resting   int
	byNear    index
	byFar     index
	byMapping index // of mapped flows whose port is not the near endpoint's
	queues    [numStates]queue
	bindings  bindings
	hosts     hosts
	file      *file // nil: the table ends with the process

	probes int // of TCP ports, left in this tick
}

// New returns an empty table. It panics when the kernel has no memory for it.
func New(o Options) *Table {
	t := newTable(o)
	t.flows = newSlab[entry](t.arena, 2*t.max)
	t.addrs.init(t.arena, newSlab[packet.Addr](t.arena, addressesFor(t.max)), t.secret)
	return t
}

// addressesFor is how many IPv6 addresses a table numbers. Far more flows than
// half have an end in common with another.
func addressesFor(flows int) int { return min(2*flows+maxBindings, recordMask-1) }

// newTable returns a table without flows and addrs.
func newTable(o Options) *Table {
	t := &Table{max: o.MaxFlows, arena: newArena(), secret: newSecret(), bindings: newBindings()}
	if t.max <= 0 {
		t.max = defaultMaxFlows
	}
	t.max = min(t.max, mostFlows)
	runtime.AddCleanup(t, (*arena).close, t.arena)
	t.byNear = newIndex(t.arena, func(i uint32) uint64 { return t.nearHash(t.flows.at(i)) })
	t.byFar = newIndex(t.arena, func(i uint32) uint64 { return t.farHash(t.flows.at(i)) })
	t.byMapping = newIndex(t.arena, func(i uint32) uint64 {
		e := t.flows.at(i)
		return t.mappingHash(&t.bindings.list[e.binding()], e)
	})
	t.hosts.init(t.arena, o, t.max, t.secret)
	return t
}

// Len returns the number of flows, dead ones that nobody noticed included.
func (t *Table) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.n
}

// advance moves the table's time forward; it never goes back when goroutines
// bring theirs out of order.
func (t *Table) advance(now Tick) Tick {
	if int32(now-t.now) > 0 {
		t.now = now
		t.probes = probesPerTick
	}
	return t.now
}

// numbers returns what an entry with these two addresses has in their places,
// and the tag of its side; false when no entry can have them.
func (t *Table) numbers(a, b packet.Addr, side uint16, proto uint8) (x, y, tag uint32, ok bool) {
	tag = sideTag(side, proto)
	if a.Is4() && b.Is4() {
		return a.V4(), b.V4(), tag, true
	}
	if a.Is4() || b.Is4() {
		return 0, 0, 0, false
	}
	if x, ok = t.addrs.number(a); ok {
		y, ok = t.addrs.number(b)
	}
	return x, y, tag | sideSix, ok
}

// findNear returns the living flow of a packet from a near side, 0 for none.
func (t *Table) findNear(near uint16, lan, remote packet.Addr, p uint32, proto uint8) uint32 {
	a, b, tag, ok := t.numbers(lan, remote, near, proto)
	if !ok {
		return 0
	}
	return t.seekNear(a, b, p, tag)
}

func (t *Table) seekNear(lan, remote, p, tag uint32) uint32 {
	h := t.secret.hash(lan, remote, p, tag)
	for at := uint32(0); ; at++ {
		var i uint32
		if i, at = t.byNear.candidate(h, at); i == 0 {
			return 0
		}
		e := t.flows.at(i)
		if e.lan == lan && e.remote == remote && ports(e.lanPort, e.remotePort) == p && t.nearTag(e) == tag {
			return t.alive(i)
		}
	}
}

// findFar returns the living flow of a packet from an exit, 0 for none.
func (t *Table) findFar(exit uint16, ext, far packet.Addr, p uint32, proto uint8) uint32 {
	a, b, tag, ok := t.numbers(ext, far, exit, proto)
	if !ok {
		return 0
	}
	return t.seekFar(a, b, p, tag)
}

func (t *Table) seekFar(ext, far, p, tag uint32) uint32 {
	h := t.secret.hash(ext, far, p, tag)
	for at := uint32(0); ; at++ {
		var i uint32
		if i, at = t.byFar.candidate(h, at); i == 0 {
			return 0
		}
		e := t.flows.at(i)
		if e.far != far || ports(e.port, e.farPort) != p {
			continue
		}
		if b := &t.bindings.list[e.binding()]; b.external(e) == ext && e.sideTag(b.exit) == tag {
			return t.alive(i)
		}
	}
}

// alive returns i, or 0 after removing a flow that has outlived its timer.
func (t *Table) alive(i uint32) uint32 {
	if !t.outlived(t.flows.at(i)) {
		return i
	}
	t.remove(i)
	return 0
}

func (t *Table) outlived(e *entry) bool { return t.now-e.touched >= timers[e.state].normal }

// insert enters e, whose keys must be new and for which there is room.
func (t *Table) insert(e *entry) {
	t.enqueue(t.place(e))
}

// place does the same, but for the queue of e's state.
func (t *Table) place(e *entry) uint32 {
	i := t.occupy(e)
	at := t.flows.at(i)
	t.byNear.add(i, t.nearHash(at))
	t.byFar.add(i, t.farHash(at))
	b := &t.bindings.list[at.binding()]
	t.hosts.add(b.near, at, t.now)
	if at.is(tagMapped) {
		t.link(i)
	}
	t.n++
	return i
}

// occupy copies e to an entry that is free.
func (t *Table) occupy(e *entry) uint32 {
	i := t.vacant
	if i != 0 {
		t.vacant = t.flows.at(i).next
	} else {
		i = t.flows.extend()
	}
	tag := e.tag
	e.tag = 0
	at := t.flows.at(i)
	*at = *e
	at.publish(tag)
	t.bindings.list[at.binding()].entries++
	return i
}

// remove forgets flow i. Its port is free, but the port of a mapping rests.
func (t *Table) remove(i uint32) {
	if t.detach(i) {
		t.rest(i)
	}
}

// detach makes entry i no flow any more. It is free, unless its mapping's port
// is left to it: then detach returns true.
func (t *Table) detach(i uint32) bool {
	e := t.flows.at(i)
	t.byNear.remove(i, t.nearHash(e))
	t.byFar.remove(i, t.farHash(e))
	t.dequeue(i)
	t.hosts.remove(t.bindings.list[e.binding()].near, e)
	t.n--
	if e.is(tagMapped) && t.unlink(i) {
		return true
	}
	t.free(i, e.lan, e.remote, e.far)
	return false
}

// batch is how many flows a long walk handles before it lets others in.
const batch = 256

// walk calls f, under the lock, with every flow that is there all the time;
// flows that come or go meanwhile may be missed.
func (t *Table) walk(f func(i uint32)) {
	for i := uint32(1); ; {
		t.mu.Lock()
		end := min(i+batch, t.flows.next)
		for ; i < end; i++ {
			if t.flows.at(i).tag != 0 {
				f(i)
			}
		}
		done := i == t.flows.next
		t.mu.Unlock()
		if done {
			return
		}
	}
}

// Each calls f with every flow until f returns false. f runs without the
// lock, and may use the table. Flows that come or go meanwhile may be missed.
func (t *Table) Each(f func(Flow) bool) {
	var flows [batch]Flow
	for i := uint32(1); ; {
		n := 0
		t.mu.Lock()
		for ; i < t.flows.next && n < len(flows); i++ {
			e := t.flows.at(i)
			if e.tag != 0 && e.state != resting && !t.outlived(e) {
				t.copy(&flows[n], e)
				n++
			}
		}
		done := i >= t.flows.next
		t.mu.Unlock()
		for _, fl := range flows[:n] {
			if !f(fl) {
				return
			}
		}
		if done {
			return
		}
	}
}

// DropExit forgets all flows of an exit, with their mappings and resting ports,
// and returns how many there were. No flow may be opened there meanwhile.
func (t *Table) DropExit(exit uint16) int {
	n := 0
	t.walk(func(i uint32) {
		e := t.flows.at(i)
		if t.bindings.list[e.binding()].exit != exit {
			return
		}
		if e.state == resting {
			t.forget(i)
			return
		}
		if t.detach(i) {
			t.giveBack(i, e.lan, e.remote, e.far)
		}
		n++
	})
	t.mu.Lock()
	t.dropIdle(exit)
	t.mu.Unlock()
	return n
}
