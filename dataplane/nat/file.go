package nat

import (
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"turnout/classifier/packet"
)

/* The flow table in a file, so that it survives the process:
 *
 *	header      one page: whose file this is, how large its parts are
 *	bindings    what the numbers in the entries' tags mean, by names
 *	addresses   what the numbers of IPv6 addresses mean
 *	entries     the flows
 *
 * Everything else, indexes, queues, ports and hosts, follows from these and is
 * made anew. The file is mapped, so that a store is all it takes, and sparse:
 * each part grows by chunks of records, which get their memory before they are
 * used. Where the tmpfs is full the table is full; a page that could not be had
 * would be a SIGBUS.
 */

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
	Crowded  int    // found no room
	Ignored  string // why the file as a whole was not used; "" when it was, or there was none
}

const (
	fileMagic     = "turnout flows\n\x00\x00"
	layoutVersion = 1 // of header, bindingRecord and entry
	headerSize    = 4096
	bootSize      = 64
)

// A header says what the file is.
type header struct {
	magic      [len(fileMagic)]byte
	version    uint32
	entrySize  uint32
	recordSize uint32
	boot       [bootSize]byte
	capacity   [parts]uint32 // records of each part, unused ones too
	ready      [parts]uint32 // of them have memory
}

// The parts of a file behind its header.
const (
	partBindings = iota
	partAddresses
	partEntries
	parts
)

var partSize = [parts]int64{
	int64(unsafe.Sizeof(bindingRecord{})), int64(unsafe.Sizeof(packet.Addr{})), int64(unsafe.Sizeof(entry{})),
}

// chunk is how many records of a part get memory at once: of each part a whole
// number of pages.
const chunk = 1024

// offset is where a part begins; that of parts is where the file ends.
func (h *header) offset(part int) int64 {
	at := int64(headerSize)
	for p := range part {
		at += (int64(h.capacity[p])*partSize[p] + headerSize - 1) &^ (headerSize - 1)
	}
	return at
}

// A file is a table's own.
type file struct {
	*os.File
	head     *header
	bindings slab[bindingRecord]
	names    map[uint16]ExitName
}

// createFile makes the file of table t and puts t's records there. Nobody
// knows it by its right name before rename.
func (t *Table) createFile(f File) (err error) {
	aside := aside(f.Path)
	os.Remove(aside) // of one who died over it
	o, err := os.OpenFile(aside, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	t.file = &file{File: o}
	h := header{version: layoutVersion, entrySize: uint32(partSize[partEntries]), recordSize: uint32(partSize[partBindings])}
	copy(h.magic[:], fileMagic)
	copy(h.boot[:], f.Boot)
	h.capacity = [parts]uint32{maxBindings, uint32(addressesFor(t.max) + 1), uint32(2*t.max + 1)}
	size := h.offset(parts)
	if err := o.Truncate(size); err != nil {
		return err
	}
	if err := allocate(o, 0, headerSize); err != nil {
		return err
	}
	m, err := unix.Mmap(int(o.Fd()), 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("mapping it: %w", err)
	}
	t.arena.own(m)
	t.file.head = &recordsOf[header](m, 1)[0]
	*t.file.head = h
	t.file.bindings = partOf[bindingRecord](t.file, m, partBindings)
	t.flows = partOf[entry](t.file, m, partEntries)
	t.addrs.init(t.arena, partOf[packet.Addr](t.file, m, partAddresses), t.secret)
	return nil
}

func aside(path string) string { return path + ".new" }

// partOf returns a part of file f, mapped at m, as a slab.
func partOf[T any](f *file, m []byte, part int) slab[T] {
	n, at := int(f.head.capacity[part]), f.head.offset(part)
	return slab[T]{
		records: recordsOf[T](m[at:], n),
		next:    1,
		more: func(ready uint32) (uint32, bool) {
			end := min(ready+chunk, uint32(n))
			if end == ready || allocate(f.File, at+int64(ready)*partSize[part], int64(end-ready)*partSize[part]) != nil {
				return ready, false
			}
			atomic.StoreUint32(&f.head.ready[part], end)
			return end, true
		},
	}
}

// allocate sees to it that a range of a file has memory.
func allocate(o *os.File, at, n int64) error {
	for {
		err := unix.Fallocate(int(o.Fd()), 0, at, n)
		if err == nil {
			return nil
		}
		if err != unix.EINTR {
			return fmt.Errorf("getting memory for it: %w", err)
		}
	}
}

// Close gives back the table's memory. Nobody may use it afterwards. Its file
// stays; to remove it is for the caller.
func (t *Table) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.arena.close()
	if t.file != nil {
		t.file.Close()
	}
}
