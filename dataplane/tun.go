package dataplane

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"turnout/classifier/packet"
	"turnout/dataplane/segment"
)

const (
	tunPath = "/dev/net/tun"
	// tunOffloads are what every kernel takes; tunDatagrams came with 6.2.
	tunOffloads  = unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6 | unix.TUN_F_TSO_ECN
	tunDatagrams = unix.TUN_F_USO4 | unix.TUN_F_USO6
)

// A TUN is the network device that the LAN is routed into. What is read from
// it and written to it is a virtio header of segment.HeaderLen bytes, then an
// IP packet or super-packet.
//
// One goroutine reads; any number of Writers write at the same time without
// waiting for one another. Errors of the system come as syscall.Errno, without
// an allocation: EIO from a write while the interface is down, EBADFD when
// somebody deleted it. After Close it is os.ErrClosed.
type TUN struct {
	// Log gets what happens once in the life of a device; slog.Default unless
	// it is set before the first packet.
	Log *slog.Logger
	// USO says that the kernel gives and takes super-packets of UDP.
	USO bool

	file   *os.File
	conn   syscall.RawConn
	closed atomic.Bool
	index  int

	// What the reader hands to the system. The functions are made once,
	// because a closure that is made for a call is an allocation.
	read struct {
		buf       []byte
		n         int
		err       error
		wait, try func(fd uintptr) bool
	}

	// Super-packets that the kernel refuses although it said it took them,
	// and of which the log was told: a bit for each kind.
	refused, told atomic.Uint32
}

// OpenTUN creates the TUN device of that name, or takes over one that nobody
// holds. A new one is down. It ends with Close or with the process, unless
// somebody made it persistent.
func OpenTUN(name string) (*TUN, error) {
	fd, err := unix.Open(tunPath, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w%s", tunPath, err, openHint(err))
	}
	t := &TUN{Log: slog.Default()}
	link, err := t.attach(fd, name)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	t.index = link.Index
	// Only now, because the poller sees an error on a device without interface.
	t.file = os.NewFile(uintptr(fd), tunPath)
	t.conn, err = t.file.SyscallConn()
	if err == nil {
		err = t.file.SetDeadline(time.Time{}) // fails when the poller does not take it
	}
	if err != nil {
		t.file.Close()
		return nil, fmt.Errorf("polling TUN device %s: %w", name, err)
	}
	t.read.wait = t.readOnce
	t.read.try = func(fd uintptr) bool { t.readOnce(fd); return true }
	if link.Flags&net.FlagUp == 0 {
		t.probe()
	}
	return t, nil
}

// attach makes fd the device of that name, with all offloads that there are.
func (t *TUN) attach(fd int, name string) (*net.Interface, error) {
	req, err := unix.NewIfreq(name)
	if err != nil || name == "" {
		return nil, fmt.Errorf("creating TUN device %q: its name must have 1 to %d bytes", name, unix.IFNAMSIZ-1)
	}
	req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
		return nil, fmt.Errorf("creating TUN device %s: %w%s", name, err, attachHint(err))
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TUNSETVNETHDRSZ, segment.HeaderLen); err != nil {
		return nil, fmt.Errorf("setting the virtio header of TUN device %s: %w", name, err)
	}
	if err := unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, tunOffloads|tunDatagrams); err == nil {
		t.USO = true
	} else if err := unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, tunOffloads); err != nil {
		return nil, fmt.Errorf("setting the offloads of TUN device %s: %w", name, err)
	}
	link, err := net.InterfaceByName(req.Name())
	if err != nil {
		return nil, fmt.Errorf("looking up TUN device %s: %w", name, err)
	}
	return link, nil
}

// openHint says what to do when the kernel's door to TUN devices is shut.
func openHint(err error) string {
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return ": there are no TUN devices; try \"modprobe tun\", and pass " + tunPath + " into a container"
	case errors.Is(err, fs.ErrPermission):
		return ": run as root, or let the process open it"
	}
	return ""
}

// attachHint says what to do when the interface cannot be made.
func attachHint(err error) string {
	switch {
	case errors.Is(err, unix.EBUSY):
		return ": another process holds it; stop that one, or choose another name"
	case errors.Is(err, fs.ErrPermission):
		return ": run as root or with CAP_NET_ADMIN"
	case errors.Is(err, unix.EINVAL):
		return ": an interface of another kind has this name, or it is no name for an interface"
	}
	return ""
}

// Index returns the number that the kernel gave the interface.
func (t *TUN) Index() int { return t.index }

// Name returns the interface's name, which somebody may have changed since, or
// "" when the interface is gone.
func (t *TUN) Name() string {
	req, err := unix.NewIfreq("")
	if err != nil {
		return ""
	}
	err = os.ErrClosed
	t.conn.Control(func(fd uintptr) { err = unix.IoctlIfreq(int(fd), unix.TUNGETIFF, req) })
	if err != nil {
		return ""
	}
	return req.Name()
}

// Read reads one packet into buf and returns its length, virtio header
// included. It asks the system first and waits only when there is nothing. A
// packet that does not fit is cut off. Only one goroutine may read.
func (t *TUN) Read(buf []byte) (int, error) {
	t.read.buf = buf
	if err := t.conn.Read(t.read.wait); err != nil {
		return 0, t.gone()
	}
	return t.read.n, t.read.err
}

// TryRead is Read without waiting: ok is false when there is no packet now,
// and when there is an error.
func (t *TUN) TryRead(buf []byte) (n int, ok bool, err error) {
	t.read.buf = buf
	if err := t.conn.Read(t.read.try); err != nil {
		return 0, false, t.gone()
	}
	if t.read.err == unix.EAGAIN {
		return 0, false, nil
	}
	return t.read.n, t.read.err == nil, t.read.err
}

// readOnce reads what there is, and reports whether that is an answer: it is
// none when there was nothing.
func (t *TUN) readOnce(fd uintptr) bool {
	r := &t.read
	for {
		r.n, r.err = unix.Read(int(fd), r.buf)
		if r.err != unix.EINTR {
			return r.err != unix.EAGAIN
		}
	}
}

// gone says why the poller or the file has given up. The poller does when a
// TUN device has lost its interface.
func (t *TUN) gone() error {
	if t.closed.Load() {
		return os.ErrClosed
	}
	return unix.EBADFD
}

// Close ends the device. A blocked Read returns os.ErrClosed, and so does
// everything after.
func (t *TUN) Close() error {
	t.closed.Store(true)
	return t.file.Close()
}

// probe asks a device that is down whether it takes super-packets: some
// kernels (6.6.44, 6.10.3 and what vendors made of them) refuse a correct one
// with EINVAL. A sound one looks at the packet first and says EIO then. Should
// the device come up meanwhile, nobody takes a packet from itself to itself.
func (t *TUN) probe() {
	pkt := [...]byte{
		0x45, 0, 0, 42, 0, 0, 0x40, 0, 1, packet.TCP, 0x78, 0xb4, 192, 0, 0, 8, 192, 0, 0, 8,
		0, 9, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, packet.ACK, 0, 0, 0, 0, 0, 0, 0, 0}
	h := segment.Header{Flags: segment.NeedsChecksum, GSOType: segment.GSOTCPv4,
		HdrLen: 40, GSOSize: 1, CsumStart: 20, CsumOffset: 16}
	if t.NewWriter().writev(&h, [][]byte{pkt[:]}) == unix.EINVAL {
		t.refused.Store(1<<segment.GSOTCPv4 | 1<<segment.GSOTCPv6 | 1<<segment.GSOUDP)
	}
}

// kind is the bit of h's kind of super-packet, 0 when it is none.
func kind(h *segment.Header) uint32 { return 1 << (h.GSOType &^ segment.GSOECN & 31) &^ 1 }

// tell reports once for each kind that the kernel refuses super-packets.
func (t *TUN) tell(h *segment.Header) {
	if k := kind(h); t.told.Or(k)&k == 0 {
		t.Log.Warn("the kernel refuses super-packets: writing packet by packet, which costs speed; a newer kernel may help",
			"device", t.Name(), "kind", h.GSOType&^segment.GSOECN)
	}
}

// A Writer writes to a TUN device; it belongs to one goroutine at a time. It
// is a segment.Writer.
type Writer struct {
	tun    *TUN
	header [segment.HeaderLen]byte
	vecs   []unix.Iovec // borrowed: during one system call
	err    error
	write  func(fd uintptr) // made once, as TUN.read's
	one    [1][]byte
	again  *recut
}

// recut is what it takes to write a super-packet packet by packet.
type recut struct {
	view         packet.View
	cutter       segment.Cutter
	whole, piece [65535]byte
}

// NewWriter returns a new Writer to t.
func (t *TUN) NewWriter() *Writer {
	w := &Writer{tun: t}
	w.write = w.writeOnce
	return w
}

// WritePacket writes one packet behind the virtio header h.
func (w *Writer) WritePacket(h *segment.Header, pkt []byte) error {
	w.one[0] = pkt
	err := w.WriteVec(h, w.one[:])
	w.one[0] = nil
	return err
}

// WriteVec writes one packet, the concatenation of iov, behind the virtio
// header h; both are borrowed until it returns. It never waits: what the
// kernel does not take is lost, and the error says why. Where the kernel
// refuses super-packets they are cut again and written one by one.
func (w *Writer) WriteVec(h *segment.Header, iov [][]byte) error {
	k := kind(h)
	if w.tun.refused.Load()&k != 0 {
		w.tun.tell(h)
		return w.writeApart(h, iov)
	}
	err := w.writev(h, iov)
	if err != unix.EINVAL || k == 0 {
		return err
	}
	if err = w.writeApart(h, iov); err != unix.EINVAL {
		w.tun.refused.Or(k) // it was the kernel's fault and not the packet's
	}
	return err
}

// writeApart writes the packets of a super-packet one by one, and returns the
// first error.
func (w *Writer) writeApart(h *segment.Header, iov [][]byte) (first error) {
	if w.again == nil {
		w.again = new(recut)
	}
	r, n := w.again, 0
	for _, b := range iov {
		n += copy(r.whole[n:], b)
	}
	if r.view.Decode(r.whole[:n]) != packet.OK || r.cutter.Start(*h, r.whole[:n], &r.view) != packet.OK {
		return unix.EINVAL
	}
	for r.cutter.Left() > 0 {
		n := r.cutter.Next(r.piece[:])
		w.one[0] = r.piece[:n]
		if err := w.writev(&segment.Header{}, w.one[:]); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// writev hands h and iov to the kernel in one call. There is no lock: the
// kernel takes several writes at once, and the file only counts its users.
func (w *Writer) writev(h *segment.Header, iov [][]byte) error {
	h.Encode(w.header[:])
	w.vecs = append(w.vecs[:0], unix.Iovec{Base: &w.header[0], Len: segment.HeaderLen})
	for _, b := range iov {
		v := unix.Iovec{Base: unsafe.SliceData(b)}
		v.SetLen(len(b))
		w.vecs = append(w.vecs, v)
	}
	if w.tun.conn.Control(w.write) != nil {
		w.err = os.ErrClosed
	}
	clear(w.vecs)
	return w.err
}

func (w *Writer) writeOnce(fd uintptr) {
	for {
		_, _, errno := unix.Syscall(unix.SYS_WRITEV, fd,
			uintptr(unsafe.Pointer(unsafe.SliceData(w.vecs))), uintptr(len(w.vecs)))
		if errno == 0 {
			w.err = nil
			return
		}
		if errno != unix.EINTR {
			w.err = errno
			return
		}
	}
}
