package fragment

// begin makes the record of a new datagram and returns its number, 0 when there
// is no room. A host with its whole share gives up its own oldest; nobody else
// does.
func (t *Tracker) begin(k key, now uint32) int32 {
	if t.byKey == nil {
		t.byKey, t.hosts = make(map[key]int32), make(map[hostKey]*host)
		t.list = make([]datagram, 1, 64)
	}
	hk := hostKey{k.src, k.side}
	h, side := t.hosts[hk], t.sides[k.side]
	if h != nil && (h.datagrams >= max(1, t.most/hostShare) || len(t.byKey) >= t.most) {
		t.remove(h.oldest.head)
		h = t.hosts[hk] // it may have been the last
	}
	if len(t.byKey) >= t.most || side != nil && side.datagrams >= max(1, t.most/sideShare) {
		return 0
	}
	if h == nil {
		h = t.newHost()
		t.hosts[hk] = h
	}
	if side == nil {
		side = new(share)
		t.sides[k.side] = side
	}
	i := t.free
	if i != 0 {
		t.free = t.list[i].links[ofAll].next
	} else {
		i = int32(len(t.list))
		t.list = append(t.list, datagram{})
	}
	d := &t.list[i]
	d.key, d.since, d.host, d.side = k, now, h, side
	h.datagrams++
	side.datagrams++
	t.byKey[k] = i
	t.link(&t.oldest, ofAll, i)
	t.link(&h.oldest, ofHost, i)
	return i
}

// remove forgets a datagram and drops what it held.
func (t *Tracker) remove(i int32) {
	d := &t.list[i]
	t.counts.Unknown += t.dropHeld(d)
	t.unlink(&t.oldest, ofAll, i)
	t.unlink(&d.host.oldest, ofHost, i)
	d.side.datagrams--
	if d.host.datagrams--; d.host.datagrams == 0 {
		delete(t.hosts, hostKey{d.src, d.key.side})
		t.spare = append(t.spare, d.host)
	}
	delete(t.byKey, d.key)
	// Not the spans: n says how many count.
	d.n, d.pieces, d.end, d.state, d.newID = 0, 0, 0, waiting, 0
	d.host, d.side = nil, nil
	d.links[ofAll].next = t.free
	t.free = i
}

func (t *Tracker) newHost() *host {
	n := len(t.spare)
	if n == 0 {
		return new(host)
	}
	h := t.spare[n-1]
	t.spare = t.spare[:n-1]
	return h
}

// mayHold reports whether n bytes more may wait.
func (t *Tracker) mayHold(d *datagram, n int) bool {
	b, h := need(n), &t.hold
	return h.used+b <= h.most && d.host.blocks+b <= max(1, h.most/hostShare) && d.side.blocks+b <= max(1, h.most/sideShare)
}

func (t *Tracker) charge(d *datagram, blocks int32) {
	d.host.blocks += blocks
	d.side.blocks += blocks
}

// dropHeld drops what waits of a datagram and returns how many fragments.
func (t *Tracker) dropHeld(d *datagram) (n uint64) {
	for d.held != 0 {
		t.charge(d, -t.hold.list[d.held].blocks)
		d.held = t.hold.drop(d.held)
		n++
	}
	return n
}

func (t *Tracker) link(c *chain, of int, i int32) {
	t.list[i].links[of] = links{prev: c.tail}
	if c.tail != 0 {
		t.list[c.tail].links[of].next = i
	} else {
		c.head = i
	}
	c.tail = i
}

func (t *Tracker) unlink(c *chain, of int, i int32) {
	l := t.list[i].links[of]
	if l.prev != 0 {
		t.list[l.prev].links[of].next = l.next
	} else {
		c.head = l.next
	}
	if l.next != 0 {
		t.list[l.next].links[of].prev = l.prev
	} else {
		c.tail = l.prev
	}
}
