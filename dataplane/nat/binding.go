package nat

import "turnout/classifier/packet"

// A binding is one way that flows take: from a near side to an exit, with an
// external address or with addresses as they are. Flows name it by a number.
type binding struct {
	bindingKey
	entries uint32 // that name it, resting ones too
	ext     uint32 // the number of addr
	ports   *pool  // at addr; nil without masquerade
}

type bindingKey struct {
	near, exit, pool     uint16
	masquerade, fullCone bool
	addr                 packet.Addr
}

// bindings holds all of them. Number 0 is never used.
type bindings struct {
	list  []binding
	byKey map[bindingKey]uint16
	free  []uint16
	hint  [256]uint16 // by the low bits of the exit: the binding it had last
	pools map[poolKey]*pool
	named uint32 // pools so far
	cones int    // bindings that are full cones
}

const maxBindings = 1 << 16

func newBindings() bindings {
	return bindings{list: make([]binding, 1), byKey: map[bindingKey]uint16{}, pools: map[poolKey]*pool{}}
}

func keyOf(near uint16, p Pin) bindingKey {
	k := bindingKey{near: near, exit: p.Exit}
	if p.Masquerade {
		k.masquerade, k.fullCone, k.addr, k.pool = true, p.FullCone, p.Addr, p.Pool
	}
	if k.pool == 0 {
		k.pool = p.Exit
	}
	return k
}

// bindingOf returns the number of p's binding, making it when it is new; 0 when
// there can be no more.
func (t *Table) bindingOf(near uint16, p Pin) uint16 {
	s := &t.bindings
	k := keyOf(near, p)
	hint := &s.hint[p.Exit%256]
	if b := &s.list[*hint]; *hint != 0 && b.bindingKey == k {
		return *hint
	}
	n, ok := s.byKey[k]
	if !ok {
		n = t.newBinding(k)
	}
	*hint = n
	return n
}

func (t *Table) newBinding(k bindingKey) uint16 {
	s := &t.bindings
	b := binding{bindingKey: k}
	if k.masquerade {
		var ok bool
		if b.ext, ok = t.addrs.take(k.addr); !ok {
			return 0
		}
	}
	n := s.number()
	if n == 0 || !t.file.record(n, &b) {
		t.dropAddr(&b)
		return 0
	}
	if k.masquerade {
		b.ports = t.poolAt(poolKey{k.pool, k.addr})
		b.ports.bindings++
	}
	if k.fullCone {
		s.cones++
	}
	s.free = s.free[:len(s.free)-1]
	s.list[n] = b
	s.byKey[k] = n
	return n
}

// number returns the number for a new binding, which it may be or not; 0 when
// there are no more.
func (s *bindings) number() uint16 {
	if len(s.free) == 0 {
		if len(s.list) == maxBindings {
			return 0
		}
		s.free = append(s.free, uint16(len(s.list)))
		s.list = append(s.list, binding{})
	}
	return s.free[len(s.free)-1]
}

func (t *Table) dropAddr(b *binding) {
	if b.masquerade && !b.addr.Is4() {
		t.addrs.release(b.ext)
	}
}

// dropIdle forgets the bindings of an exit that no entry names, and the pools
// that nobody needs any more.
func (t *Table) dropIdle(exit uint16) {
	s := &t.bindings
	for k, n := range s.byKey {
		b := &s.list[n]
		if k.exit != exit || b.entries != 0 {
			continue
		}
		t.dropAddr(b)
		if k.fullCone {
			s.cones--
		}
		if b.ports != nil {
			b.ports.bindings--
			t.dropPool(poolKey{k.pool, k.addr})
		}
		delete(s.byKey, k)
		*b = binding{}
		s.free = append(s.free, n)
		if s.hint[exit%256] == n {
			s.hint[exit%256] = 0
		}
	}
}
