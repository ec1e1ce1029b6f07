package fragment

// room reports whether every account of datagram i may hold a packet of size
// bytes more.
func (t *table) room(i uint32, size int) bool {
	for level, number := range t.datagrams[i].accounts {
		if t.accounts[number].blocks+uint32(blocksOf(size)) > t.limits.blocks[level] {
			return false
		}
	}
	return true
}

// hold keeps a copy of packet b, which is part f of datagram i, and reports
// whether there was room. Nobody else has to make room for it, as in the
// kernel: a datagram that waits is worth more than one that may be noise.
func (t *table) hold(i uint32, f *part, b []byte) bool {
	d := &t.datagrams[i]
	if int(d.count) == t.fragments || !t.room(i, len(b)) {
		return false
	}
	held := t.arena.store(b, f.from)
	for _, number := range d.accounts {
		t.accounts[number].blocks += uint32(blocksOf(len(b)))
	}
	d.count++
	at := &d.held
	for *at != 0 && t.arena.blocks[*at].from < f.from {
		at = &t.arena.blocks[*at].after
	}
	t.arena.blocks[held].after, *at = *at, held
	return true
}

// pop gives up the held fragment of datagram i that has the lowest offset.
// There must be one.
func (t *table) pop(i uint32) {
	d := &t.datagrams[i]
	after := t.arena.blocks[d.held].after
	n := t.arena.release(d.held)
	for _, number := range d.accounts {
		t.accounts[number].blocks -= uint32(n)
	}
	d.held = after
	d.count--
}

// drop gives up all that is held of datagram i and returns how many fragments
// that were.
func (t *table) drop(i uint32) (lost int) {
	for t.datagrams[i].held != 0 {
		t.pop(i)
		lost++
	}
	return lost
}
