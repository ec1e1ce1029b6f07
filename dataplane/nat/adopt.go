package nat

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"unsafe"

	"turnout/classifier/packet"
)

// OpenFile returns a table that is kept in a file, with the flows that an
// earlier process of this boot left there: each whose tunnels are there under
// their names, at the same addresses. Their pins have Entry -1, By 0 and
// f.Generation. now is in seconds of CLOCK_BOOTTIME, as every Tick of the table.
//
// A file that is not such a table, or a damaged one, costs flows and is no
// error; Adopted says why. An error means that no new file could be made. The
// old one is replaced at the very end: who is killed before has lost nothing.
func OpenFile(o Options, f File, now Tick) (*Table, Adopted, error) {
	t := newTable(o)
	if err := t.createFile(f); err != nil {
		t.abandon(f)
		return nil, Adopted{}, fmt.Errorf("making the flow table's file: %w", err)
	}
	t.Names(f.Exits)
	t.advance(now)
	a := adoption{Table: t, from: f, tunnels: newTunnels(f.Exits)}
	switch old, err := os.Open(f.Path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		a.result.Ignored = err.Error()
	default:
		a.open(old)
		old.Close()
	}
	if err := os.Rename(aside(f.Path), f.Path); err != nil {
		t.abandon(f)
		return nil, Adopted{}, fmt.Errorf("replacing the flow table's file: %w", err)
	}
	return t, a.result, nil
}

// abandon undoes createFile, as far as it came.
func (t *Table) abandon(f File) {
	t.Close()
	os.Remove(aside(f.Path))
}

// An adoption brings the flows of an old file into a new table.
type adoption struct {
	*Table
	from    File
	tunnels tunnels
	result  Adopted

	old      io.ReaderAt
	head     header
	ways     []way // by the number of a binding
	oldAddrs []packet.Addr
	rests    []entry  // resting ones, until all flows are there
	placed   []uint32 // entries that belong in queues
}

// A way is what an old binding is now.
type way struct {
	near   uint16
	pin    Pin
	open   bool   // its tunnels are there
	number uint16 // of the new binding, once a flow needed it
}

// open adopts what old holds, if that is a regular file.
func (a *adoption) open(old *os.File) {
	info, err := old.Stat()
	switch {
	case err != nil:
		a.result.Ignored = err.Error()
	case !info.Mode().IsRegular():
		a.result.Ignored = "not a regular file"
	default:
		a.read(old, info.Size())
	}
}

// read adopts what is in the size bytes of old.
func (a *adoption) read(old io.ReaderAt, size int64) {
	a.old = old
	if a.result.Ignored = a.readHeader(size); a.result.Ignored != "" {
		return
	}
	records, err := readPart[bindingRecord](a, partBindings)
	if err == nil {
		a.oldAddrs, err = readPart[packet.Addr](a, partAddresses)
	}
	if err != nil {
		a.result.Ignored = err.Error()
		return
	}
	a.ways = make([]way, len(records))
	for i := range records {
		w := &a.ways[i]
		w.near, w.pin, w.open = a.tunnels.place(&records[i])
	}
	if err := a.readEntries(); err != nil {
		a.result.Ignored = err.Error()
	}
	for i := range a.rests {
		a.keepResting(&a.rests[i])
	}
	a.queue()
}

// readHeader says why the file cannot be used, "" if it can.
func (a *adoption) readHeader(size int64) string {
	b := make([]byte, unsafe.Sizeof(header{}))
	if _, err := a.old.ReadAt(b, 0); err != nil {
		return "shorter than its header"
	}
	a.head = recordsOf[header](b, 1)[0]
	h := &a.head
	var boot [bootSize]byte
	copy(boot[:], a.from.Boot)
	switch {
	case string(h.magic[:]) != fileMagic:
		return "not a flow table"
	case h.version != layoutVersion || int64(h.entrySize) != partSize[partEntries] || int64(h.recordSize) != partSize[partBindings]:
		return "a flow table of another version"
	case !bytes.Equal(h.boot[:], boot[:]):
		return "a flow table of another boot"
	}
	for p := range parts {
		if h.ready[p] > h.capacity[p] || h.capacity[p] > recordMask || h.offset(p)+int64(h.ready[p])*partSize[p] > size {
			return "a flow table that was cut off"
		}
	}
	return ""
}

// readPart returns all of a part that had memory.
func readPart[T any](a *adoption, part int) ([]T, error) {
	list := make([]T, a.head.ready[part])
	return list, readRecords(a, part, 0, list)
}

// readRecords reads records of a part, from the given one on.
func readRecords[T any](a *adoption, part int, from uint32, list []T) error {
	if len(list) == 0 {
		return nil
	}
	b := unsafe.Slice((*byte)(unsafe.Pointer(&list[0])), len(list)*int(partSize[part]))
	_, err := a.old.ReadAt(b, a.head.offset(part)+int64(from)*partSize[part])
	if err == io.EOF {
		err = nil // the file ends with them
	}
	return err
}

func (a *adoption) readEntries() error {
	list := make([]entry, chunk)
	for from := uint32(0); from < a.head.ready[partEntries]; from += chunk {
		list = list[:min(chunk, a.head.ready[partEntries]-from)]
		if err := readRecords(a, partEntries, from, list); err != nil {
			return err
		}
		for i := range list {
			if list[i].tag != 0 {
				a.take(&list[i])
			}
		}
	}
	return nil
}

// queue brings the adopted into the order of their queues. What a host begins
// in this second counts from here on.
func (a *adoption) queue() {
	slices.SortStableFunc(a.placed, func(x, y uint32) int {
		return cmp.Compare(a.now-a.flows.at(y).touched, a.now-a.flows.at(x).touched)
	})
	for _, i := range a.placed {
		a.enqueue(i)
	}
	a.hosts.forgetRates()
}
