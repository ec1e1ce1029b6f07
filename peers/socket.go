package peers

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Sizes of the kernel's queues for one socket, in bytes. A burst that arrives
// while the process waits for a CPU must fit the first. The second is small:
// what waits there waits in no queue that knows about fairness.
const (
	receiveQueue = 7 << 20
	sendQueue    = 1 << 20
)

const noLimit = 1 << 16 // larger than any datagram

// A socket is one UDP socket of one family. Its options never change but for
// the mark and what it learns about the path.
type socket struct {
	conn *net.UDPConn
	raw  syscall.RawConn
	port uint16

	// Packets of at most segmentMax bytes may leave in groups, UDP_SEGMENT:
	// 0 when the kernel or the uplink cannot do it at all, less than noLimit
	// after the path's MTU refused a group, until segmentRetry.
	segmentMax   atomic.Int32
	segmentRetry atomic.Int64 // unix nanoseconds
}

// offload says which directions may hand groups of datagrams to the kernel.
type offload struct{ send, receive bool }

// listen opens a socket for "udp4" or "udp6" on port, 0 meaning any.
func listen(network string, port uint16, mark uint32, use offload) (*socket, error) {
	s := new(socket)
	control := func(_, _ string, c syscall.RawConn) error {
		if mark != 0 {
			if err := setMark(c, mark); err != nil {
				return err
			}
		}
		return c.Control(func(fd uintptr) { s.setOptions(int(fd), use) })
	}
	lc := net.ListenConfig{Control: control}
	pc, err := lc.ListenPacket(context.Background(), network, ":"+strconv.Itoa(int(port)))
	if err != nil {
		return nil, err
	}
	s.conn = pc.(*net.UDPConn)
	s.port = uint16(s.conn.LocalAddr().(*net.UDPAddr).Port)
	if s.raw, err = s.conn.SyscallConn(); err != nil {
		s.conn.Close()
		return nil, fmt.Errorf("using a %s socket: %w", network, err)
	}
	return s, nil
}

// setOptions asks for what makes things faster. Nothing here is needed, so
// nothing here fails.
func (s *socket) setOptions(fd int, use offload) {
	for _, o := range []struct{ plain, force, size int }{
		{unix.SO_RCVBUF, unix.SO_RCVBUFFORCE, receiveQueue},
		{unix.SO_SNDBUF, unix.SO_SNDBUFFORCE, sendQueue},
	} {
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, o.force, o.size) != nil {
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, o.plain, o.size)
		}
	}
	if use.send {
		if _, err := unix.GetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_SEGMENT); err == nil {
			s.segmentMax.Store(noLimit)
		}
	}
	if use.receive {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_GRO, 1)
	}
}

// segmentLimit returns the size up to which packets may leave in groups.
func (s *socket) segmentLimit() int {
	n := s.segmentMax.Load()
	if n > 0 && n < noLimit && time.Now().UnixNano() > s.segmentRetry.Load() {
		s.segmentMax.Store(noLimit)
		return noLimit
	}
	return int(n)
}

// refused notes that a group of packets of size bytes failed with err while
// the same packets went out one by one.
func (s *socket) refused(size int, err syscall.Errno) {
	if err == unix.EIO || err == unix.EOPNOTSUPP {
		// The way out has no checksum offload, or IPsec on it.
		s.segmentMax.Store(0)
		return
	}
	// The kernel fragments a single datagram that is larger than the path's
	// MTU, but not the members of a group. MTUs change: ask again later.
	s.segmentMax.Store(int32(size - 1))
	s.segmentRetry.Store(time.Now().Add(time.Minute).UnixNano())
}
