package nat

// A queue holds the flows of one state, the longest silent at the head. All
// flows of a state have the same timer and a flow goes to the tail when it is
// touched, so that the queue is at once the order of expiry and of sacrifice.
type queue struct{ head, tail uint32 }

func (t *Table) enqueue(i uint32) {
	e := t.flows.at(i)
	q := &t.queues[e.state]
	e.prev, e.next = q.tail, 0
	if q.tail != 0 {
		t.flows.at(q.tail).next = i
	} else {
		q.head = i
	}
	q.tail = i
}

func (t *Table) dequeue(i uint32) {
	e := t.flows.at(i)
	q := &t.queues[e.state]
	if e.prev != 0 {
		t.flows.at(e.prev).next = e.next
	} else {
		q.head = e.next
	}
	if e.next != 0 {
		t.flows.at(e.next).prev = e.prev
	} else {
		q.tail = e.prev
	}
}

// touch starts the timer of flow i anew. Only the first packet in a tick has
// work to do.
func (t *Table) touch(i uint32) {
	if e := t.flows.at(i); e.touched != t.now {
		t.become(i, e.state)
	}
}

// become moves flow i to a state and starts the timer of it.
func (t *Table) become(i uint32, s State) {
	t.dequeue(i)
	e := t.flows.at(i)
	e.state, e.touched = s, t.now
	t.enqueue(i)
}

// Expire forgets the flows whose timers have run out and returns how many. It
// is to be called about once a second; what it has not yet seen is not found
// by packets either, but still holds its port.
func (t *Table) Expire(now Tick) int {
	for n := 0; ; {
		t.mu.Lock()
		t.advance(now)
		flows, done := t.expire(batch)
		t.mu.Unlock()
		n += flows
		if done {
			return n
		}
	}
}

// expire removes up to limit dead flows and, of that many more, ends the rest
// of ports. It returns how many flows, and whether nothing is left to do. In a
// nearly full table the shorter timers count.
func (t *Table) expire(limit int) (flows int, done bool) {
	pressed := t.n > t.max-t.max/8
	for s := State(0); s < resting; s++ {
		life := timers[s].normal
		if pressed {
			life = timers[s].pressed
		}
		for i := t.queues[s].head; i != 0 && t.now-t.flows.at(i).touched >= life; i = t.queues[s].head {
			if flows == limit {
				return flows, false
			}
			t.remove(i)
			flows++
		}
	}
	for range limit {
		i := t.queues[resting].head
		if i == 0 || t.now-t.flows.at(i).touched < timers[resting].normal {
			return flows, true
		}
		t.forget(i)
	}
	return flows, false
}

// makeRoom sees to it that one more flow fits, and reports whether it does.
func (t *Table) makeRoom() bool {
	if t.n >= t.max && !t.sacrifice() {
		return false
	}
	for t.vacant == 0 && !t.flows.room() { // no memory for as many as there might be
		if i := t.queues[resting].head; i != 0 {
			t.forget(i)
		} else if !t.sacrifice() {
			return false
		}
	}
	return true
}

// sacrifice removes the flow that is worth least, unless all are worth more
// than a new one.
func (t *Table) sacrifice() bool {
	if n, _ := t.expire(1); n > 0 {
		return true
	}
	for _, s := range victims {
		if i := t.queues[s].head; i != 0 {
			t.remove(i)
			return true
		}
	}
	if i := t.silent(); i != 0 {
		t.remove(i)
		return true
	}
	return false
}

// silent returns the established TCP flow that the LAN has not spoken in for
// longest, if neither its far end has: not for a minute. Those that only the
// far end keeps talking in are passed over, a few of them.
func (t *Table) silent() uint32 {
	i := t.queues[TCPUp].head
	for range batch {
		if i == 0 || t.now-t.flows.at(i).touched <= sacred {
			return 0
		}
		e := t.flows.at(i)
		if Tick(uint16(t.now)-e.tcp.spoke) > sacred {
			return i
		}
		i = e.next
	}
	return 0
}
