package nat

import "turnout/classifier/packet"

// A Reservation keeps ports First to Last of a protocol, TCP or UDP, from
// being given to flows: they belong to a forward or to a socket of our own.
type Reservation struct {
	Proto       uint8
	First, Last uint16
}

// Reserve replaces the reservations at a tunnel's address. Flows that have such
// a port already keep it.
func (t *Table) Reserve(pool uint16, addr packet.Addr, list []Reservation) {}
