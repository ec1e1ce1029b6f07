package classifier

import (
	"net/netip"

	"turnout/classifier/packet"
)

// A span is the addresses from lo to hi, both included, of one family.
type span struct{ lo, hi packet.Addr }

// spanOf returns the addresses of a prefix.
func spanOf(p netip.Prefix) span {
	p = p.Masked()
	s := span{lo: packet.AddrFrom(p.Addr())}
	s.hi = s.lo
	host := p.Addr().BitLen() - p.Bits()
	if host >= 64 {
		s.hi.Hi |= 1<<(host-64) - 1 // 1<<64 is 0 in Go, and 0-1 all ones
		s.hi.Lo = ^uint64(0)
	} else {
		s.hi.Lo |= 1<<host - 1
	}
	return s
}

// everySpan returns all addresses of a family.
func everySpan(v4 bool) span { return spanOf(everything(v4)) }

// next and prev return the neighbour of an address; the highest and the lowest
// of all are each other's.
func next(a packet.Addr) packet.Addr {
	a.Lo++
	if a.Lo == 0 {
		a.Hi++
	}
	return a
}

func prev(a packet.Addr) packet.Addr {
	if a.Lo == 0 {
		a.Hi--
	}
	a.Lo--
	return a
}
