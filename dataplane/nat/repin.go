package nat

// Keep notes that policy, asked again about flow f, gave the exit that f has,
// and returns the flow with the line and the generation of p. Exit, address and
// translation stay. The table forgets nothing when the flow has ended
// meanwhile.
func (t *Table) Keep(f Flow, p Pin) Flow {
	f.Entry, f.By, f.Generation = p.Entry, p.By, p.Generation
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := t.findNear(f.Near, f.LAN, f.Remote, ports(f.LANPort, f.RemotePort), f.Proto); i != 0 {
		e := t.flows.at(i)
		e.line, e.by, e.generation = p.Entry, p.By, p.Generation
	}
	return f
}

// Drop forgets flow f, with its mapping if no other flow uses it, and reports
// whether it was there.
func (t *Table) Drop(f Flow) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := t.findNear(f.Near, f.LAN, f.Remote, ports(f.LANPort, f.RemotePort), f.Proto)
	if i != 0 {
		t.remove(i)
	}
	return i != 0
}

// DropIf forgets every flow that f says so of, and returns how many. f runs
// without the lock, and may use the table.
func (t *Table) DropIf(f func(Flow) bool) int {
	n := 0
	t.Each(func(g Flow) bool {
		if f(g) && t.Drop(g) {
			n++
		}
		return true
	})
	return n
}
