package peers

import (
	"encoding/binary"
	"errors"
	"net"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"
)

// reads is the number of messages that one recvmmsg(2) may take. Each may be
// a group of up to 64 KiB of datagrams, UDP_GRO.
const reads = 16

const readSize = 1 << 16

// A receiver takes datagrams from one socket for one goroutine. Messages are
// read into memory of its own and cut into the caller's buffers, as many as
// fit; what does not fit is handed out by the next call.
type receiver struct {
	sock *socket
	log  *logger
	from senders
	lent loan

	msgs  [reads]mmsghdr
	iovs  [reads]unix.Iovec
	names [reads]sockaddr
	ctls  [reads]groupSize
	data  []byte // reads times readSize; pages that no message touched cost nothing

	have, next int // messages read; the first that is not used up
	off        int // bytes of it already handed out

	wait  bool // recvmmsg waits for the first message
	n     int  // the result of the last call
	errno syscall.Errno
	call  func(fd uintptr) bool // recvmmsg as a closure, made once
}

func newReceiver(s *socket, log *logger, w *window) *receiver {
	r := &receiver{sock: s, log: log, lent: newLoan(w), data: make([]byte, reads*readSize)}
	r.call = r.recvmmsg
	for i := range r.msgs {
		r.iovs[i].Base = &r.data[i*readSize]
		r.iovs[i].SetLen(readSize)
		h := &r.msgs[i].hdr
		h.Iov = &r.iovs[i]
		h.SetIovlen(1)
		h.Name = &r.names[i][0]
		h.Control = (*byte)(unsafe.Pointer(&r.ctls[i]))
	}
	return r
}

// receive is a conn.ReceiveFunc. It ends with net.ErrClosed when the socket
// is closed and with nothing else: wireguard-go never calls again after an
// error, and the tunnel would be deaf.
func (r *receiver) receive(bufs [][]byte, sizes []int, eps []conn.Endpoint) (int, error) {
	r.lent.settle(bufs)
	n := 0
	for n < len(bufs) {
		if r.next == r.have {
			// A full read may have left more behind; a batch costs
			// wireguard-go nearly the same however small it is.
			if n > 0 && r.have < reads {
				break
			}
			if err := r.read(n == 0); err != nil {
				return 0, err
			}
			if r.have == 0 {
				break
			}
		}
		n += r.handOut(bufs[n:], sizes[n:], eps[n:])
	}
	r.lent.lend(bufs, sizes[:n])
	return n, nil
}

// handOut cuts the next message into bufs and returns how many it filled.
func (r *receiver) handOut(bufs [][]byte, sizes []int, eps []conn.Endpoint) int {
	m := &r.msgs[r.next]
	pkt := r.data[r.next*readSize:][:m.n]
	size := len(pkt)
	if g := groSize(&m.hdr, &r.ctls[r.next]); g > 0 {
		size = g
	}
	from := r.from.of(&r.names[r.next])
	for n := range bufs {
		seg := pkt[r.off:min(r.off+size, len(pkt))]
		sizes[n] = copy(bufs[n], seg)
		eps[n] = from
		if r.off += len(seg); r.off >= len(pkt) {
			r.next++
			r.off = 0
			return n + 1
		}
	}
	return len(bufs)
}

// groSize returns the length of the datagrams in a group, 0 when the message
// is a single one.
func groSize(h *unix.Msghdr, c *groupSize) int {
	if int(h.Controllen) < unix.CmsgLen(4) || c.hdr.Level != unix.SOL_UDP || c.hdr.Type != unix.UDP_GRO {
		return 0
	}
	return int(int32(binary.NativeEndian.Uint32(c.size[:])))
}

// read fills msgs anew. Without wait it may find nothing.
func (r *receiver) read(wait bool) error {
	r.have, r.next, r.off = 0, 0, 0
	r.wait = wait
	for i := range r.msgs {
		h := &r.msgs[i].hdr
		h.Namelen = uint32(len(sockaddr{}))
		h.SetControllen(groSpace)
	}
	for {
		r.n, r.errno = 0, 0
		if err := r.sock.raw.Read(r.call); err != nil {
			if errors.Is(err, net.ErrClosed) {
				return net.ErrClosed
			}
			r.pause(err)
			continue
		}
		if r.errno != 0 {
			r.pause(r.errno)
			continue
		}
		r.have = r.n
		return nil
	}
}

// pause keeps a fault that does not go away from burning a CPU.
func (r *receiver) pause(err error) {
	r.log.warn("receive", "receiving from the tunnel's socket failed; trying again", "err", err)
	time.Sleep(100 * time.Millisecond)
}

func (r *receiver) recvmmsg(fd uintptr) bool {
	for {
		n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, fd,
			uintptr(unsafe.Pointer(&r.msgs[0])), reads, unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return !r.wait
		case 0:
			r.n = int(n)
		default:
			r.errno = errno
		}
		return true
	}
}
