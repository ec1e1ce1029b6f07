package nat

import "turnout/classifier/packet"

// A pool holds the ports at one external address of a tunnel. Flows that leave
// by the tunnel share it with those that only use its address.
type pool struct {
	number    uint32     // of the pool, for mappings
	bindings  int        // that use it
	udp, icmp *portTable // made at the first use
	tcp       *portSet   // reserved ports; nil for none
}

type poolKey struct {
	exit uint16
	addr packet.Addr
}

// A portTable says who has which port, or ICMP identifier, of one address. A
// port is given to one near endpoint at a time: only protocols whose ports are
// never shared have one.
type portTable struct {
	used     portSet  // by a mapping, or resting after one
	reserved portSet  // not to be given
	owner    []uint32 // by port: the first flow of its mapping, or its resting entry
}

func (t *Table) poolAt(k poolKey) *pool {
	s := &t.bindings
	p := s.pools[k]
	if p == nil {
		s.named++
		p = &pool{number: s.named}
		s.pools[k] = p
	}
	return p
}

// dropPool forgets a pool that has neither bindings nor reservations.
func (t *Table) dropPool(k poolKey) {
	p := t.bindings.pools[k]
	if p.bindings > 0 || p.reserves() {
		return
	}
	for _, pt := range []*portTable{p.udp, p.icmp} {
		if pt != nil {
			discard(t.arena, pt.owner)
		}
	}
	delete(t.bindings.pools, k)
}

// portsOf returns the table of a protocol whose ports are never shared between
// near endpoints; nil for the others, and without a pool.
func (t *Table) portsOf(p *pool, proto uint8) *portTable {
	if p == nil {
		return nil
	}
	switch proto {
	case packet.UDP:
		if p.udp == nil {
			p.udp = &portTable{owner: array[uint32](t.arena, 1<<16)}
			p.udp.used.set(0) // not a port
		}
		return p.udp
	case packet.ICMP, packet.ICMPv6:
		if p.icmp == nil {
			p.icmp = &portTable{owner: array[uint32](t.arena, 1<<16)}
		}
		return p.icmp
	}
	return nil
}
