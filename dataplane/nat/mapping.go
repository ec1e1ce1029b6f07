package nat

// A mapping gives one near endpoint one external port towards every remote
// (RFC 4787, REQ-1), for as long as a flow uses it. Only UDP and ICMP echo have
// them. There is no record of one: its flows are chained through the bytes that
// TCP has for tracking, and the port's owner in the portTable is the first of
// the chain.
//
// A near endpoint finds its mapping at the port that it has itself, where most
// have it, or else by the index byMapping of those that got another port.

// mappingOf returns the first flow, or the resting entry, of the mapping of
// e's near endpoint; 0 when it has none.
func (t *Table) mappingOf(b *binding, p *portTable, e *entry) uint32 {
	if i := p.owner[e.lanPort]; i != 0 && t.sameEndpoint(b, i, e) {
		return i
	}
	h := t.mappingHash(b, e)
	for at := uint32(0); ; at++ {
		var i uint32
		if i, at = t.byMapping.candidate(h, at); i == 0 || t.sameEndpoint(b, i, e) {
			return i
		}
	}
}

func (t *Table) mappingHash(b *binding, e *entry) uint64 {
	return t.secret.hash(e.lan, b.ports.number, ports(e.lanPort, b.near), e.sideTag(0))
}

// sameEndpoint reports whether mapped entry i is of the near endpoint, the pool
// and the protocol of e at binding b.
func (t *Table) sameEndpoint(b *binding, i uint32, e *entry) bool {
	o := t.flows.at(i)
	ob := &t.bindings.list[o.binding()]
	return o.lan == e.lan && o.lanPort == e.lanPort && o.proto == e.proto && o.six() == e.six() &&
		ob.near == b.near && ob.ports == b.ports
}

// port chooses the external port of e's near endpoint: that of its mapping, or
// one that nobody has. Nothing changes until link.
func (t *Table) port(b *binding, p *portTable, e *entry) (uint16, bool) {
	if i := t.mappingOf(b, p, e); i != 0 {
		o := t.flows.at(i)
		if o.state != resting || !p.reserved.has(o.port) {
			return o.port, true
		}
	}
	return p.pick(e.proto, e.lanPort)
}

// link adds flow i to the mapping that its port is of, a new one if need be.
func (t *Table) link(i uint32) {
	e := t.flows.at(i)
	b := &t.bindings.list[e.binding()]
	p := t.portsOf(b.ports, e.proto)
	if r := t.mappingOf(b, p, e); r != 0 && t.flows.at(r).state == resting {
		t.forget(r)
	}
	first := p.owner[e.port]
	c := e.chain()
	if first == 0 {
		*c = [2]uint32{}
		p.used.set(e.port)
		p.owner[e.port] = i
		if e.port != e.lanPort {
			t.byMapping.add(i, t.mappingHash(b, e))
		}
		return
	}
	f := t.flows.at(first).chain()
	c[chainPrev], c[chainNext] = first, f[chainNext]
	if next := f[chainNext]; next != 0 {
		t.flows.at(next).chain()[chainPrev] = i
	}
	f[chainNext] = i
}

// unlink takes flow i out of its mapping, unless it is the last one; then it
// returns true.
func (t *Table) unlink(i uint32) bool {
	e := t.flows.at(i)
	c := e.chain()
	prev, next := c[chainPrev], c[chainNext]
	if prev == 0 && next == 0 {
		return true
	}
	if next != 0 {
		t.flows.at(next).chain()[chainPrev] = prev
	}
	if prev != 0 {
		t.flows.at(prev).chain()[chainNext] = next
		return false
	}
	b := &t.bindings.list[e.binding()]
	t.portsOf(b.ports, e.proto).owner[e.port] = next
	if e.port != e.lanPort {
		t.byMapping.replace(i, next, t.mappingHash(b, e))
	}
	return false
}

// rest makes entry i, the last of its mapping and no flow any more, keep its
// port from all but its own near endpoint for a while: what is still on its way
// to the old one must not reach a new one (RFC 6888, REQ-8).
func (t *Table) rest(i uint32) {
	e := t.flows.at(i)
	tag := e.tag
	e.withdraw()
	if tag&tagSix != 0 {
		t.addrs.release(e.remote)
		t.addrs.release(e.far)
	}
	e.remote, e.far, e.state, e.touched = 0, 0, resting, t.now
	e.publish(tag)
	t.enqueue(i)
	if t.resting++; t.resting > t.max {
		t.forget(t.queues[resting].head)
	}
}

// forget ends the rest of entry i.
func (t *Table) forget(i uint32) {
	t.dequeue(i)
	t.resting--
	t.giveBack(i, t.flows.at(i).lan)
}

// giveBack frees the port of entry i, the last of its mapping, and the entry.
func (t *Table) giveBack(i uint32, numbers ...uint32) {
	e := t.flows.at(i)
	b := &t.bindings.list[e.binding()]
	p := t.portsOf(b.ports, e.proto)
	p.used.clear(e.port)
	p.owner[e.port] = 0
	if e.port != e.lanPort {
		t.byMapping.remove(i, t.mappingHash(b, e))
	}
	t.free(i, numbers...)
}

// free makes entry i one that the next flow may have, and releases numbers of
// it.
func (t *Table) free(i uint32, numbers ...uint32) {
	e := t.flows.at(i)
	tag := e.tag
	e.withdraw()
	t.bindings.list[tag&tagBinding].entries--
	if tag&tagSix != 0 {
		for _, n := range numbers {
			t.addrs.release(n)
		}
	}
	*e = entry{next: t.vacant}
	t.vacant = i
}
