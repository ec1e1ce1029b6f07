package peers

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Sending, in order: plan groups a batch into messages, write hands them to
// the kernel, and a message that fails is tried once more packet by packet if
// it was a group. A message that still fails is lost alone; the rest goes on,
// because a firewall or an MTU may refuse one and take the next.

// batchSize is the number of packets that move at once, in either direction.
const batchSize = 128

// The kernel's bounds of one group: UDP_MAX_SEGMENTS of Linux 4.18 to 6.8
// (later ones allow more), and the payload of one IP packet.
const (
	maxSegments = 64
	maxPayload4 = 65535 - 20 - 8
	maxPayload6 = 65535 - 8
)

// A sendBuffer holds what sendmmsg(2) reads besides the packets.
type sendBuffer struct {
	msgs [batchSize]mmsghdr
	iovs [batchSize]unix.Iovec
	ctls [batchSize]groupSize

	todo  []mmsghdr // of msgs, not sent yet
	n     int       // the result of the last call
	errno syscall.Errno
	call  func(fd uintptr) bool // write's closure, made once
}

var sendBuffers = sync.Pool{New: func() any {
	b := new(sendBuffer)
	for i := range b.ctls {
		b.ctls[i].hdr.Level = unix.SOL_UDP
		b.ctls[i].hdr.Type = unix.UDP_SEGMENT
		b.ctls[i].hdr.SetLen(unix.CmsgLen(2))
	}
	b.call = b.sendmmsg
	return b
}}

// send sends pkts to e and returns the first error. pkts are borrowed until
// it returns. It waits while the socket's queue is full; closing the socket
// ends the wait.
func (s *socket) send(pkts [][]byte, e *endpoint) error {
	var first error
	for len(pkts) > 0 {
		n := min(len(pkts), batchSize)
		if err := s.sendBatch(pkts[:n], e, s.segmentLimit()); err != nil && first == nil {
			first = fmt.Errorf("sending to %v: %w", e.addr, err)
		}
		pkts = pkts[n:]
	}
	return first
}

func (s *socket) sendBatch(pkts [][]byte, e *endpoint, limit int) (first error) {
	b := sendBuffers.Get().(*sendBuffer)
	defer b.release(len(pkts))
	b.plan(pkts, e, limit)
	at := 0 // of the first packet of b.todo
	for len(b.todo) > 0 {
		n, err := b.write(s.raw)
		for i := range n {
			at += int(b.todo[i].hdr.Iovlen)
		}
		b.todo = b.todo[n:]
		if err == nil {
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		group := pkts[at:][:b.todo[0].hdr.Iovlen]
		at += len(group)
		b.todo = b.todo[1:]
		if err = s.retry(group, e, err); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// retry sends one by one what failed with err as a group, if a group it was
// and err may come from that.
func (s *socket) retry(group [][]byte, e *endpoint, err error) error {
	var errno syscall.Errno
	if len(group) < 2 || !errors.As(err, &errno) {
		return err
	}
	switch errno {
	case unix.EIO, unix.EINVAL, unix.EMSGSIZE, unix.EOPNOTSUPP:
	default:
		return err
	}
	if err := s.sendBatch(group, e, 0); err != nil {
		return err
	}
	s.refused(len(group[0]), errno)
	return nil
}

// plan lays out messages for pkts; those of at most limit bytes in groups.
func (b *sendBuffer) plan(pkts [][]byte, e *endpoint, limit int) {
	most := maxPayload6
	if e.len == unix.SizeofSockaddrInet4 {
		most = maxPayload4
	}
	count := 0
	for i := 0; i < len(pkts); count++ {
		n := 1
		if len(pkts[i]) <= limit {
			n = group(pkts[i:], most)
		}
		for j := i; j < i+n; j++ {
			b.iovs[j].Base = unsafe.SliceData(pkts[j])
			b.iovs[j].SetLen(len(pkts[j]))
		}
		h := &b.msgs[count].hdr
		h.Name, h.Namelen = &e.name[0], e.len
		h.Iov = &b.iovs[i]
		h.SetIovlen(n)
		h.Control = nil
		h.SetControllen(0)
		if n > 1 {
			c := &b.ctls[count]
			binary.NativeEndian.PutUint16(c.size[:], uint16(len(pkts[i])))
			h.Control = (*byte)(unsafe.Pointer(c))
			h.SetControllen(segmentSpace)
		}
		i += n
	}
	b.todo = b.msgs[:count]
}

// group returns how many of the leading packets can leave as one message of
// at most most bytes: all have the first one's length but the last, which may
// be shorter.
func group(pkts [][]byte, most int) int {
	size := len(pkts[0])
	total, n := size, 1
	for n < len(pkts) && n < maxSegments {
		l := len(pkts[n])
		if l > size || total+l > most {
			break
		}
		total += l
		n++
		if l < size {
			break
		}
	}
	return n
}

// write sends the first messages of todo and returns how many went. An error
// is about the message after those.
func (b *sendBuffer) write(c syscall.RawConn) (int, error) {
	b.n, b.errno = 0, 0
	if err := c.Write(b.call); err != nil {
		return 0, err
	}
	if b.errno != 0 {
		return 0, b.errno
	}
	return b.n, nil
}

func (b *sendBuffer) sendmmsg(fd uintptr) bool {
	for {
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, fd,
			uintptr(unsafe.Pointer(&b.todo[0])), uintptr(len(b.todo)), 0, 0, 0)
		switch errno {
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return false
		case 0:
			b.n, b.errno = int(n), 0
		default:
			b.n, b.errno = 0, errno
		}
		return true
	}
}

// release forgets the packets, which are 64 KiB each to the collector.
func (b *sendBuffer) release(n int) {
	clear(b.iovs[:n])
	b.todo = nil
	sendBuffers.Put(b)
}
