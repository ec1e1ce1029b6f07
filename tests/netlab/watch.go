package netlab

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// A Watcher sees every packet that leaves the gateway by its uplink and sorts
// them: WireGuard to a configured server, what the gateway says for itself
// (ARP, neighbour discovery), on a stick what goes to the LAN, and leaks.
type Watcher struct {
	fd    int
	lab   *Lab
	stop  chan struct{}
	ended chan struct{}
	once  sync.Once

	mu     sync.Mutex
	seen   Seen
	drops  uint32
	closed bool
	marked uint64 // the highest mark that was seen
}

// Seen is what a Watcher counted.
type Seen struct {
	WireGuard int
	Own       int      // ARP, neighbour discovery, closed ports of tunnels
	ToLAN     int      // on a stick only
	Leaks     int      // everything else
	Samples   []string // the first of them, in words
}

// samples bounds how many leaks are described.
const samples = 20

// WatchUplink starts to watch. The caller closes the watcher, or its lab does.
func (l *Lab) WatchUplink() (*Watcher, error) {
	w := &Watcher{lab: l, stop: make(chan struct{}), ended: make(chan struct{})}
	err := l.Gateway.Do(func() (err error) {
		w.fd, err = openTap(UplinkInterface)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("watch the uplink: %w", err)
	}
	go w.run()
	l.Gateway.OnClose(func() { w.Close() })
	return w, nil
}

// openTap opens a packet socket for all that leaves by an interface. ETH_P_ALL is
// the only type that sees outgoing packets.
func openTap(dev string) (int, error) {
	ifi, err := net.InterfaceByName(dev)
	if err != nil {
		return -1, err
	}
	// Protocol 0 receives nothing until bind, when the filter is in place.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	err = errors.Join(
		attach(fd, outgoing),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000}),
	)
	// Not allowed in a user namespace, where the default size must do.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20) != nil {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 64<<20)
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: ifi.Index})
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// outgoing keeps the first 128 bytes of what leaves, and nothing that arrives.
var outgoing = []bpf.Instruction{
	bpf.LoadExtension{Num: bpf.ExtType},
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.PACKET_OUTGOING, SkipTrue: 1},
	bpf.RetConstant{Val: 128},
	bpf.RetConstant{Val: 0},
}

func attach(fd int, program []bpf.Instruction) error {
	raw, err := bpf.Assemble(program)
	if err != nil {
		return err
	}
	filter := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		filter[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
}

func (w *Watcher) run() {
	defer close(w.ended)
	buf := make([]byte, 256)
	for {
		n, _, err := unix.Recvfrom(w.fd, buf, 0)
		switch {
		case err == nil:
			w.note(buf[:n])
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
			select {
			case <-w.stop:
				return
			default:
			}
		case errors.Is(err, unix.ENETDOWN): // the interface went down; it may come back
		default:
			return
		}
	}
}

func (w *Watcher) note(frame []byte) {
	kind, words := w.lab.sort(frame)
	w.mu.Lock()
	defer w.mu.Unlock()
	if n, ok := readMark(frame); ok {
		w.marked = max(w.marked, n)
		return
	}
	switch kind {
	case isWireGuard:
		w.seen.WireGuard++
	case isOwn:
		w.seen.Own++
	case isToLAN:
		w.seen.ToLAN++
	default:
		w.seen.Leaks++
		if len(w.seen.Samples) < samples {
			w.seen.Samples = append(w.seen.Samples, words)
		}
	}
}

// Seen returns the counts so far.
func (w *Watcher) Seen() Seen {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.seen
	s.Samples = append([]string(nil), s.Samples...)
	return s
}

// Leaks returns an error that describes what left and should not have, or that
// the kernel lost packets before the watcher saw them, which voids the run.
func (w *Watcher) Leaks() error {
	if err := errors.Join(w.catchUp(), w.lost()); err != nil {
		return err
	}
	if s := w.Seen(); s.Leaks > 0 {
		return fmt.Errorf("%d packets of the LAN left by the uplink:\n  %s", s.Leaks, strings.Join(s.Samples, "\n  "))
	}
	return nil
}

// lost reads, and resets, the kernel's own count of what the socket missed.
func (w *Watcher) lost() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed {
		st, err := unix.GetsockoptTpacketStats(w.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
		if err != nil {
			return fmt.Errorf("read the watcher's losses: %w", err)
		}
		w.drops += st.Drops
	}
	if w.drops > 0 {
		return fmt.Errorf("the watcher missed %d packets, the run proves nothing", w.drops)
	}
	return nil
}

// Close ends the watching; what was counted stays readable.
func (w *Watcher) Close() {
	w.once.Do(func() {
		close(w.stop)
		<-w.ended
		w.lost() // for who asks later
		w.mu.Lock()
		defer w.mu.Unlock()
		w.closed = true
		unix.Close(w.fd)
	})
}

func htons(v uint16) uint16 { return v<<8 | v>>8 }
