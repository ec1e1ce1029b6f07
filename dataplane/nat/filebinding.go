package nat

import "turnout/classifier/packet"

// A bindingRecord is a binding in the file. The numbers of tunnels mean nothing
// to the next process; their names do.
type bindingRecord struct {
	addr                         packet.Addr
	near, exit, pool             uint16
	flags                        uint16
	nearName, exitName, poolName tunnelName
}

const (
	flagMasquerade = 1 << 0
	flagFullCone   = 1 << 1
)

// A tunnelName is filled up with zeros; all zeros is no name.
type tunnelName [64]byte

func nameOf(s string) (n tunnelName) {
	if len(s) <= len(n) {
		copy(n[:], s)
	}
	return n
}

// Names replaces the exits' names that flows are kept under. It comes before the
// first flow that is pinned to a new exit; for an exit that has flows the name
// stays, until DropExit.
func (t *Table) Names(exits []ExitName) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.file == nil {
		return
	}
	t.file.names = make(map[uint16]ExitName, len(exits))
	for _, x := range exits {
		t.file.names[x.Exit] = x
	}
}

// record writes binding number n to the file, before any flow names it; false
// when the file cannot grow. Without a file there is nothing to do.
func (f *file) record(n uint16, b *binding) bool {
	if f == nil {
		return true
	}
	for uint32(n) >= f.bindings.ready {
		if !f.bindings.grow() {
			return false
		}
	}
	r := bindingRecord{addr: b.addr, near: b.near, exit: b.exit, pool: b.pool}
	if b.masquerade {
		r.flags |= flagMasquerade
	}
	if b.fullCone {
		r.flags |= flagFullCone
	}
	r.nearName, r.exitName, r.poolName = f.name(b.near), f.name(b.exit), f.name(b.pool)
	*f.bindings.at(uint32(n)) = r
	return true
}

func (f *file) name(exit uint16) tunnelName { return nameOf(f.names[exit].Name) }

// tunnels finds what a name of the process before means now.
type tunnels map[tunnelName]ExitName

func newTunnels(exits []ExitName) tunnels {
	m := tunnels{}
	for _, x := range exits {
		if n := nameOf(x.Name); n != (tunnelName{}) {
			m[n] = x
		}
	}
	return m
}

// find returns the tunnel that has a name now; Direct (and the LAN, which has
// the same number) and Hairpin are always there.
func (m tunnels) find(number uint16, name tunnelName) (ExitName, bool) {
	if number == Direct || number == Hairpin {
		return ExitName{Exit: number}, true
	}
	x, ok := m[name]
	return x, ok
}

// place returns where flows of a recorded binding belong now; false when one of
// its tunnels is gone, or has another address.
func (m tunnels) place(r *bindingRecord) (near uint16, p Pin, ok bool) {
	n, ok1 := m.find(r.near, r.nearName)
	exit, ok2 := m.find(r.exit, r.exitName)
	pool, ok3 := m.find(r.pool, r.poolName)
	if !ok1 || !ok2 || !ok3 {
		return 0, p, false
	}
	p = Pin{Exit: exit.Exit}
	if r.flags&flagMasquerade == 0 {
		return n.Exit, p, true
	}
	p.Masquerade, p.FullCone, p.Addr, p.Pool = true, r.flags&flagFullCone != 0, r.addr, pool.Exit
	own := pool.Addr6
	if r.addr.Is4() {
		own = pool.Addr4
	}
	return n.Exit, p, own == r.addr && own != packet.Addr{}
}
