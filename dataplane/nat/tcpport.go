package nat

import "turnout/classifier/packet"

// probesPerTick bounds the search for TCP ports towards remote ends to which
// nearly all are taken: in all some 10 ms of each second.
const probesPerTick = 1 << 18

// patience is how many random ports of each kind are tried, in two rounds,
// before all are looked at one after another. Few at first: parity is a wish,
// not worth a long search (RFC 7857, 8). Random ones: taken ports lie in heaps.
var patience = [...]int{64, 2048}

// tcpPort finds a port at which e differs from every other flow: any port that
// no other connection to the same remote end has. One try nearly always
// suffices; only when all but a few are taken does it look at each.
func (t *Table) tcpPort(at *pool, e *entry) packet.Reason {
	choice := spans(packet.TCP, e.lanPort)
	for _, tries := range patience {
		for _, sp := range choice {
			for range tries {
				if t.tryPort(at, e, sp, sp.random()) {
					return packet.OK
				}
			}
		}
	}
	for _, sp := range choice {
		first, n := uint32(sp.first)*64, uint32(sp.last-sp.first+1)*64
		from := uint32(sp.random()) - first
		for d := uint32(0); d < n && t.probes > 0; d += 2 {
			if t.tryPort(at, e, sp, uint16(first+(from+d)%n)) {
				return packet.OK
			}
		}
	}
	return packet.NoFreePort
}

// tryPort gives e port p if sp has it, or its neighbour of the right parity,
// it is not reserved and no flow looks like that.
func (t *Table) tryPort(at *pool, e *entry, sp span, p uint16) bool {
	if sp.mask>>(p&63)&1 == 0 {
		p ^= 1
	}
	if p == 0 || t.probes <= 0 || at.reservesTCP(p) {
		return false
	}
	t.probes--
	e.port = p
	return t.unique(e) == packet.OK
}
