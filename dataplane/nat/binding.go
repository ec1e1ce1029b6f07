package nat

import "turnout/classifier/packet"

// A binding is one way that flows take: from a near side to an exit, with an
// external address or with addresses as they are. Flows name it by a number.
type binding struct {
	bindingKey
	flows uint32
	ports *pool // at addr; nil without masquerade
}

type bindingKey struct {
	near, exit, pool     uint16
	masquerade, fullCone bool
	addr                 packet.Addr
}

// A pool holds the ports in use at one external address of a tunnel. Flows that
// leave by the tunnel share it with those that only use its address.
type pool struct {
	number    uint16 // of the pool, for mappings
	flows     uint32
	udp, icmp *portSet // made at the first use
}

type poolKey struct {
	exit uint16
	addr packet.Addr
}

// bindings holds all of them. Number 0 is never used.
type bindings struct {
	list  []binding
	byKey map[bindingKey]uint16
	free  []uint16
	hint  [256]uint16 // by the low bits of the exit: the binding it had last
	pools map[poolKey]*pool
	named uint16 // pools so far
}

const maxBindings = 1 << 16

func newBindings() bindings {
	return bindings{list: make([]binding, 1), byKey: map[bindingKey]uint16{}, pools: map[poolKey]*pool{}}
}

// get returns the number of p's binding, making it when it is new; 0 when
// there can be no more.
func (s *bindings) get(near uint16, p Pin) uint16 {
	k := bindingKey{near: near, exit: p.Exit}
	if p.Masquerade {
		k.masquerade, k.fullCone, k.addr, k.pool = true, p.FullCone, p.Addr, p.Pool
	}
	if k.pool == 0 {
		k.pool = p.Exit
	}
	hint := &s.hint[p.Exit%256]
	if b := &s.list[*hint]; *hint != 0 && b.bindingKey == k {
		return *hint
	}
	if n, ok := s.byKey[k]; ok {
		*hint = n
		return n
	}
	n := uint16(len(s.list))
	switch {
	case len(s.free) > 0:
		n = s.free[len(s.free)-1]
		s.free = s.free[:len(s.free)-1]
	case len(s.list) == maxBindings:
		return 0
	default:
		s.list = append(s.list, binding{})
	}
	s.list[n] = binding{bindingKey: k}
	if k.masquerade {
		s.list[n].ports = s.pool(poolKey{k.pool, k.addr})
	}
	s.byKey[k] = n
	return n
}

func (s *bindings) pool(k poolKey) *pool {
	p := s.pools[k]
	if p == nil {
		s.named++
		p = &pool{number: s.named}
		s.pools[k] = p
	}
	return p
}

// dropIdle forgets the bindings of an exit that carry no flow.
func (s *bindings) dropIdle(exit uint16) {
	for k, n := range s.byKey {
		if k.exit == exit && s.list[n].flows == 0 {
			delete(s.byKey, k)
			s.list[n] = binding{}
			s.free = append(s.free, n)
			if s.hint[exit%256] == n {
				s.hint[exit%256] = 0
			}
		}
	}
}

// of returns the set of ports in use for a protocol whose ports are never
// shared between near endpoints; nil for the others, and without a pool.
func (b *pool) of(proto uint8) *portSet {
	if b == nil {
		return nil
	}
	switch proto {
	case packet.UDP:
		if b.udp == nil {
			b.udp = &portSet{1} // port 0 is not a port
		}
		return b.udp
	case packet.ICMP, packet.ICMPv6:
		if b.icmp == nil {
			b.icmp = &portSet{}
		}
		return b.icmp
	}
	return nil
}
