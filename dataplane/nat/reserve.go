package nat

import "turnout/classifier/packet"

// A Reservation keeps ports First to Last of a protocol, TCP or UDP, from
// being given to flows: they belong to a forward or to a socket of our own.
type Reservation struct {
	Proto       uint8
	First, Last uint16
}

// Reserve replaces the reservations at a tunnel's address. Flows that have such
// a port already keep it, and so do the later ones of a near endpoint whose
// mapping it is.
func (t *Table) Reserve(tunnel uint16, addr packet.Addr, list []Reservation) {
	var tcp, udp portSet
	for _, r := range list {
		s := &tcp
		if r.Proto == packet.UDP {
			s = &udp
		}
		for p := uint32(r.First); p <= uint32(r.Last); p++ {
			s.set(uint16(p))
		}
	}

	t.mu.Lock()
	defer t.mu.Unlock()
	k := poolKey{tunnel, addr}
	at := t.poolAt(k)
	at.tcp = nil
	if tcp != (portSet{}) {
		at.tcp = &tcp
	}
	if udp != (portSet{}) || at.udp != nil {
		t.portsOf(at, packet.UDP).reserved = udp
	}
	t.dropPool(k)
}

func (p *pool) reserves() bool { return p.tcp != nil || p.udp != nil && p.udp.reserved != portSet{} }

func (p *pool) reservesTCP(port uint16) bool { return p.tcp != nil && p.tcp.has(port) }
