package nat

import "turnout/classifier/packet"

// A mapping gives one LAN endpoint one external port towards every remote
// (RFC 4787, REQ-1), for as long as a flow uses it. Only UDP and ICMP echo
// have them.
type mapping struct {
	lan           packet.Addr
	flows         uint32
	next          uint32 // chains free records
	lanPort, port uint16
	pool, near    uint16
	proto         uint8
}

type mappings struct {
	records slab[mapping]
	free    uint32
	index   index
	secret  secret
}

func (m *mappings) init(s secret) {
	m.records = newSlab[mapping]()
	m.secret = s
	m.index = newIndex(func(i uint32) uint64 {
		k := m.records.at(i).key()
		return k.hash(&m.secret)
	})
}

func (r *mapping) key() key { return mappingKey(r.lan, r.lanPort, r.near, r.pool, r.proto) }

func mappingKey(lan packet.Addr, lanPort, near, pool uint16, proto uint8) key {
	return key{lan, packet.Addr{}, ports(lanPort, near), sideTag(pool, proto)}
}

func (m *mappings) find(k *key, h uint64) uint32 {
	for at := uint32(0); ; at++ {
		var i uint32
		if i, at = m.index.candidate(h, at); i == 0 || m.records.at(i).key() == *k {
			return i
		}
	}
}

// take returns the external port of e's near endpoint at binding b, a new one
// when the endpoint has none. Each take needs a release.
func (m *mappings) take(b *binding, e *entry) (uint16, bool) {
	k := mappingKey(e.lan, e.lanPort, b.near, b.ports.number, e.proto)
	h := k.hash(&m.secret)
	if i := m.find(&k, h); i != 0 {
		r := m.records.at(i)
		r.flows++
		return r.port, true
	}
	port, ok := b.ports.of(e.proto).pick(e.proto, e.lanPort)
	if !ok {
		return 0, false
	}
	i := m.free
	if i != 0 {
		m.free = m.records.at(i).next
	} else {
		i = m.records.extend()
	}
	*m.records.at(i) = mapping{lan: e.lan, lanPort: e.lanPort, port: port, pool: b.ports.number, near: b.near, proto: e.proto, flows: 1}
	m.index.add(i, h)
	return port, true
}

// release undoes one take; the last one frees the port.
func (m *mappings) release(b *binding, e *entry) {
	k := mappingKey(e.lan, e.lanPort, b.near, b.ports.number, e.proto)
	h := k.hash(&m.secret)
	i := m.find(&k, h)
	if i == 0 {
		return
	}
	r := m.records.at(i)
	if r.flows--; r.flows > 0 {
		return
	}
	b.ports.of(e.proto).clear(r.port)
	m.index.remove(i, h)
	*r = mapping{next: m.free}
	m.free = i
}
