package nat

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// An arena hands out zeroed memory of the kernel's. The table lives there and
// not in Go's heap: a large array costs only the pages that were touched, an
// index that was outgrown goes back at once, and the garbage collector, which
// paces itself by the size of the heap, does not see a million flows.
type arena struct {
	regions map[*byte][]byte
}

func newArena() *arena { return &arena{regions: map[*byte][]byte{}} }

// get returns n bytes. It panics, as make does, when the kernel has none.
func (a *arena) get(n int) []byte {
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		panic("nat: no memory for the flow table: " + err.Error())
	}
	a.own(b)
	return b
}

// own makes b, a mapping, one that close unmaps.
func (a *arena) own(b []byte) { a.regions[&b[0]] = b }

// close gives everything back.
func (a *arena) close() {
	for _, b := range a.regions {
		unix.Munmap(b)
	}
	clear(a.regions)
}

// array returns n records of an arena's memory. T holds no pointers.
func array[T any](a *arena, n int) []T {
	var t T
	return recordsOf[T](a.get(n*int(unsafe.Sizeof(t))), n)
}

// recordsOf takes the first bytes of b for n records of T, which holds no
// pointers. b is as aligned as T wants: mappings begin at a page.
func recordsOf[T any](b []byte, n int) []T {
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), n)
}

// discard gives the memory of an array back.
func discard[T any](a *arena, s []T) {
	first := (*byte)(unsafe.Pointer(unsafe.SliceData(s)))
	if b := a.regions[first]; b != nil {
		unix.Munmap(b)
		delete(a.regions, first)
	}
}
