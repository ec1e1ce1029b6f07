package nat

import (
	"slices"

	"turnout/classifier/packet"
)

// eventOperator keeps, drops one or drops some flows.
func (s *player) eventOperator() {
	t := s.tuple()
	f := s.m.byLAN(t)
	g := Flow{LAN: t.lan, Remote: t.remote, LANPort: t.lanPort, RemotePort: t.remotePort, Proto: t.proto, Near: t.near}
	switch s.rng.IntN(8) {
	case 0:
		lan, port := s.lan(), modelPorts[s.rng.IntN(len(modelPorts))]
		n := s.DropIf(func(f Flow) bool { return f.LAN == lan && f.LANPort == port })
		s.same("dropped", n, s.m.drop(func(f *modelFlow) bool { return f.lan == lan && f.lanPort == port }))
	case 1, 2:
		s.same("dropped", s.Drop(g), f != nil)
		if f != nil {
			s.m.dropOne(f)
		}
	default:
		p := Pin{Entry: s.rng.Int32N(9), By: uint8(s.rng.IntN(3)), Generation: uint8(s.rng.IntN(9))}
		s.Keep(g, p)
		if f != nil {
			f.pin.Entry, f.pin.By, f.pin.Generation = p.Entry, p.By, p.Generation
		}
	}
}

// eventExit takes an exit away, with its ports. A port rests with the exit of
// the flow that had it last; where two exits share ports the table knows which.
func (s *player) eventExit() {
	exit := uint16(s.rng.IntN(6))
	n := s.m.drop(func(f *modelFlow) bool { return f.pin.Exit == exit })
	s.same("dropped", s.DropExit(exit), n)
	left := s.rests()
	s.m.rests = slices.DeleteFunc(s.m.rests, func(r modelRest) bool {
		_, there := left[r.modelEndpoint]
		switch {
		case r.pool == 2 && (exit == 2 || exit == 5):
			return !there
		}
		return r.pool == exit
	})
}

// reserve replaces the reserved ports of two tunnels: always those of forwards,
// and at times some that flows would like.
func (s *player) reserve() {
	s.m.reserved = map[modelPort]bool{}
	for _, pool := range []uint16{2, 3} {
		var list []Reservation
		for _, proto := range []uint8{packet.UDP, packet.TCP} {
			list = append(list, Reservation{proto, 6000, 6001})
			if s.rng.IntN(3) == 0 {
				first := modelPorts[s.rng.IntN(len(modelPorts))]
				list = append(list, Reservation{proto, first, max(first, first+1)})
			}
		}
		s.Reserve(pool, v4.ext1, list)
		for _, r := range list {
			for p := uint32(r.First); p <= uint32(r.Last); p++ {
				s.m.reserved[modelPort{pool, r.Proto, uint16(p)}] = true
			}
		}
	}
}
