package nat

import (
	"sync"

	"turnout/classifier/packet"
)

// Options of a Table.
type Options struct {
	// MaxFlows bounds the table; 0 means 262,144. Memory is taken as flows
	// come, about 130 bytes each, and kept. At most 16,777,215.
	MaxFlows int
	// MaxPerHost bounds the flows of one near host; 0 means a quarter of
	// MaxFlows, but 65,536 where the table holds as many.
	MaxPerHost int
	// NewPerHost bounds the flows that one near host may start in a second; 0:
	// as many as it likes.
	NewPerHost int
}

const defaultMaxFlows = 1 << 18

// A Table holds all flows of the router. Its methods may be called from any
// goroutine.
type Table struct {
	mu  sync.Mutex
	now Tick // the latest time that any caller brought
	max int
	n   int

	secret   secret
	flows    slab[entry]
	free     uint32
	byNear   index
	byFar    index
	queues   [numStates]queue
	bindings bindings
	mappings mappings

	probes int // of TCP ports, left in this tick
}

// New returns an empty table.
func New(o Options) *Table {
	t := &Table{max: o.MaxFlows, secret: newSecret(), flows: newSlab[entry](), bindings: newBindings()}
	if t.max <= 0 {
		t.max = defaultMaxFlows
	}
	t.max = min(t.max, recordMask)
	t.byNear = newIndex(func(i uint32) uint64 { return t.nearHash(t.flows.at(i)) })
	t.byFar = newIndex(func(i uint32) uint64 { return t.farHash(t.flows.at(i)) })
	t.mappings.init(t.secret)
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

// findNear returns the living flow of a packet from a near side, 0 for none.
func (t *Table) findNear(near uint16, lan, remote packet.Addr, p uint32, proto uint8) uint32 {
	h := t.secret.hash(lan, remote, p, sideTag(near, proto))
	for at := uint32(0); ; at++ {
		var i uint32
		i, at = t.byNear.candidate(h, at)
		if i == 0 {
			return 0
		}
		e := t.flows.at(i)
		if e.lan == lan && e.remote == remote && ports(e.lanPort, e.remotePort) == p && e.proto == proto &&
			t.bindings.list[e.binding].near == near {
			return t.alive(i)
		}
	}
}

// findFar returns the living flow of a packet from an exit, 0 for none.
func (t *Table) findFar(exit uint16, ext, far packet.Addr, p uint32, proto uint8) uint32 {
	h := t.secret.hash(ext, far, p, sideTag(exit, proto))
	for at := uint32(0); ; at++ {
		var i uint32
		i, at = t.byFar.candidate(h, at)
		if i == 0 {
			return 0
		}
		e := t.flows.at(i)
		if e.far != far || ports(e.port, e.farPort) != p || e.proto != proto {
			continue
		}
		if b := &t.bindings.list[e.binding]; b.exit == exit && b.external(e) == ext {
			return t.alive(i)
		}
	}
}

// alive returns i, or 0 after removing a flow that has outlived its timer.
func (t *Table) alive(i uint32) uint32 {
	e := t.flows.at(i)
	if t.now-e.touched < timers[e.state].normal {
		return i
	}
	t.remove(i)
	return 0
}

// insert enters e, whose keys must be new, and counts it at its binding.
func (t *Table) insert(e *entry) {
	i := t.free
	if i != 0 {
		t.free = t.flows.at(i).next
	} else {
		i = t.flows.extend()
	}
	*t.flows.at(i) = *e
	t.byNear.add(i, t.nearHash(e))
	t.byFar.add(i, t.farHash(e))
	t.enqueue(i)
	t.bindings.list[e.binding].flows++
	t.n++
}

// remove forgets flow i and gives back its port.
func (t *Table) remove(i uint32) {
	e := t.flows.at(i)
	t.byNear.remove(i, t.nearHash(e))
	t.byFar.remove(i, t.farHash(e))
	t.dequeue(i)
	b := &t.bindings.list[e.binding]
	b.flows--
	if e.mapped(b) {
		t.mappings.release(b, e)
	}
	*e = entry{next: t.free}
	t.free = i
	t.n--
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
			if t.flows.at(i).binding != 0 {
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
			if e.binding != 0 && t.now-e.touched < timers[e.state].normal {
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

// DropExit forgets all flows of an exit, with their mappings, and returns how
// many there were. No flow may be opened there meanwhile.
func (t *Table) DropExit(exit uint16) int {
	n := 0
	t.walk(func(i uint32) {
		if t.bindings.list[t.flows.at(i).binding].exit == exit {
			t.remove(i)
			n++
		}
	})
	t.mu.Lock()
	t.bindings.dropIdle(exit)
	t.mu.Unlock()
	return n
}
