package nat

import "turnout/classifier/packet"

// A binding is one way in which flows leave: an exit with an external address,
// or an exit that keeps addresses as they are. Flows name it by a number; the
// ports in use at its address belong to it.
type binding struct {
	exit       uint16
	masquerade bool
	addr       packet.Addr
	flows      uint32
	udp, icmp  *portSet // made at the first use
}

type bindingKey struct {
	exit       uint16
	masquerade bool
	addr       packet.Addr
}

// bindings holds all of them. Number 0 is never used.
type bindings struct {
	list  []binding
	byKey map[bindingKey]uint16
	free  []uint16
	hint  [256]uint16 // by the low bits of the exit: the binding it had last
}

const maxBindings = 1 << 16

func newBindings() bindings {
	return bindings{list: make([]binding, 1), byKey: map[bindingKey]uint16{}}
}

// get returns the number of p's binding, making it when it is new; 0 when
// there can be no more.
func (s *bindings) get(p Pin) uint16 {
	k := bindingKey{p.Exit, p.Masquerade, p.Addr}
	if !p.Masquerade {
		k.addr = packet.Addr{}
	}
	hint := &s.hint[p.Exit%256]
	if b := &s.list[*hint]; *hint != 0 && b.exit == k.exit && b.masquerade == k.masquerade && b.addr == k.addr {
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
	s.list[n] = binding{exit: k.exit, masquerade: k.masquerade, addr: k.addr}
	s.byKey[k] = n
	return n
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

// ports returns the set of ports in use for a protocol whose ports are never
// shared between LAN endpoints; nil for the others.
func (b *binding) ports(proto uint8) *portSet {
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
