package nat

import "turnout/classifier/packet"

// tagsKept are the tags that say the same in the next process.
const tagsKept = tagSix | tagIn | tagMapped | tagCone

// take adopts an entry as the process before left it, or counts why not. A
// resting one has to wait for the flows.
func (a *adoption) take(old *entry) {
	n := old.binding()
	if int(n) >= len(a.ways) || n == 0 {
		a.result.Damaged++
		return
	}
	to := &a.ways[n]
	if to.open && to.number == 0 {
		to.number = a.bindingOf(to.near, to.pin)
	}
	switch {
	case !to.open:
		a.result.Homeless++
	case to.number == 0:
		a.result.Crowded++
	case !a.sound(old, &a.bindings.list[to.number]):
		a.result.Damaged++
	case a.outlived(old):
		a.result.Expired++
	case old.state == resting:
		old.tag = old.tag&tagsKept | uint32(to.number)
		a.rests = append(a.rests, *old)
	default:
		a.keep(old, to.number)
	}
}

// sound reports whether an entry that belongs to b is one that the table might
// have made.
func (a *adoption) sound(e *entry, b *binding) bool {
	maps := b.masquerade && (e.proto == packet.UDP || isICMP(e.proto))
	switch {
	case e.tag&^(tagBinding|tagsKept|tagAdopted) != 0,
		e.state >= numStates || !e.state.of(e.proto),
		e.six() == (e.proto == packet.ICMP) && isICMP(e.proto),
		b.masquerade && b.addr.Is4() == e.six(),
		e.is(tagMapped) && (!maps || e.is(tagIn) && !e.is(tagCone)),
		maps && !e.is(tagMapped|tagIn),
		e.is(tagCone) && (!e.is(tagIn) || e.proto != packet.UDP || !b.fullCone),
		e.state == resting && !e.is(tagMapped),
		!knowsPorts(e.proto) && ports(e.lanPort, e.remotePort)|ports(e.port, e.farPort) != 0:
		return false
	}
	return a.known(e.lan, e.six()) && (e.state == resting || a.known(e.remote, e.six()) && a.known(e.far, e.six()))
}

func isICMP(proto uint8) bool { return proto == packet.ICMP || proto == packet.ICMPv6 }

// of reports whether flows of a protocol can be in state s.
func (s State) of(proto uint8) bool {
	switch proto {
	case packet.TCP:
		return s >= TCPOpening && s <= TCPDirect
	case packet.UDP:
		return s <= DNSQuery || s == resting
	case packet.ICMP, packet.ICMPv6:
		return s == ICMPQuery || s == resting
	}
	return s == Other
}

// known reports whether n is the number of an address.
func (a *adoption) known(n uint32, six bool) bool {
	return !six || n != 0 && int(n) < len(a.oldAddrs) && !a.oldAddrs[n].Is4()
}

func (a *adoption) addr(n uint32, six bool) packet.Addr {
	if six {
		return a.oldAddrs[n]
	}
	return packet.Addr4(n)
}

// keep adopts a sound flow.
func (a *adoption) keep(old *entry, binding uint16) {
	e := *old
	e.tag = old.tag&tagsKept | tagAdopted | uint32(binding)
	e.line, e.by, e.generation = -1, 0, a.from.Generation
	if a.now-e.started < a.now-e.touched { // in the future, or torn
		e.started = e.touched
	}
	if e.proto == packet.TCP {
		e.resumed()
	}
	six := old.six()
	if a.n >= a.max || a.vacant == 0 && !a.flows.room() ||
		!a.hold(&e, a.addr(old.lan, six), a.addr(old.remote, six), a.addr(old.far, six)) {
		a.result.Crowded++
		return
	}
	if !a.uniqueNear(&e) || a.unique(&e) != packet.OK || e.is(tagMapped) && !a.fits(&e) {
		a.letGo(&e, e.lan, e.remote, e.far)
		a.result.Damaged++
		return
	}
	a.placed = append(a.placed, a.place(&e))
	a.result.Flows++
}

// fits reports whether e's port is that of its near endpoint's mapping, or
// nobody's.
func (a *adoption) fits(e *entry) bool {
	b := &a.bindings.list[e.binding()]
	p := a.portsOf(b.ports, e.proto)
	if i := a.mappingOf(b, p, e); i != 0 {
		return a.flows.at(i).port == e.port
	}
	return !p.used.has(e.port)
}

// keepResting adopts a resting entry, if its port is nobody's and its endpoint
// has no other.
func (a *adoption) keepResting(old *entry) {
	t := a.Table
	e := entry{lanPort: old.lanPort, port: old.port, tag: old.tag, proto: old.proto, state: resting, touched: old.touched}
	var ok bool
	if e.lan, ok = t.addrs.take(a.addr(old.lan, old.six())); !ok {
		return
	}
	b := &t.bindings.list[e.binding()]
	p := t.portsOf(b.ports, e.proto)
	if t.resting >= t.max || t.vacant == 0 && !t.flows.room() || t.mappingOf(b, p, &e) != 0 || p.used.has(e.port) {
		t.letGo(&e, e.lan)
		return
	}
	i := t.occupy(&e)
	t.link(i)
	t.resting++
	a.placed = append(a.placed, i)
}
