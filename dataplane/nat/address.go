package nat

import "turnout/classifier/packet"

// addresses gives each address a number of 32 bits, so that an entry is small
// and one for both families. The number of an IPv4 address is the address; an
// IPv6 address is numbered while somebody uses it. Which of both a number is,
// its holder knows.
type addresses struct {
	list   slab[packet.Addr]
	uses   []uint32 // of each; of a free one, the next free one
	free   uint32
	used   int
	index  index
	secret secret
}

func (s *addresses) init(a *arena, list slab[packet.Addr], key secret) {
	s.list, s.secret = list, key
	s.uses = array[uint32](a, len(list.records))
	s.index = newIndex(a, func(i uint32) uint64 { return s.hash(*s.list.at(i)) })
}

func (s *addresses) hash(a packet.Addr) uint64 {
	return fold(fold(a.Hi^s.secret[0], a.Lo^s.secret[1])^s.secret[2], s.secret[3])
}

// number returns the number of an address, false when it has none: nobody uses
// it.
func (s *addresses) number(a packet.Addr) (uint32, bool) {
	if a.Is4() {
		return a.V4(), true
	}
	i := s.find(a, s.hash(a))
	return i, i != 0
}

func (s *addresses) find(a packet.Addr, h uint64) uint32 {
	for at := uint32(0); ; at++ {
		var i uint32
		if i, at = s.index.candidate(h, at); i == 0 || *s.list.at(i) == a {
			return i
		}
	}
}

// take returns the number of an address for one more user, who releases it;
// false when there is no memory for it.
func (s *addresses) take(a packet.Addr) (uint32, bool) {
	if a.Is4() {
		return a.V4(), true
	}
	h := s.hash(a)
	i := s.find(a, h)
	if i == 0 {
		if i = s.free; i != 0 {
			s.free = s.uses[i]
		} else if i = s.list.extend(); i == 0 {
			return 0, false
		}
		*s.list.at(i), s.uses[i] = a, 0
		s.index.add(i, h)
		s.used++
	}
	s.uses[i]++
	return i, true
}

// release undoes one take, or share, of a number of an IPv6 address.
func (s *addresses) release(i uint32) {
	if s.uses[i]--; s.uses[i] == 0 {
		s.index.remove(i, s.hash(*s.list.at(i)))
		s.uses[i], s.free = s.free, i
		s.used--
	}
}

// of returns the address that has a number.
func (s *addresses) of(n uint32, six bool) packet.Addr {
	if !six {
		return packet.Addr4(n)
	}
	return *s.list.at(n)
}
