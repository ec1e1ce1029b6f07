package peers

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// DefaultDir is where wg(8) looks for devices of other processes.
const DefaultDir = "/var/run/wireguard"

// Bounds of one client: wg(8) needs milliseconds, and sends a few hundred
// bytes for each peer of a configuration that is refused anyway.
const (
	clientTime  = 5 * time.Second
	clientBytes = 1 << 20
)

// maxSocketPath is the longest path of a unix socket, unix(7): sun_path has
// 108 bytes, the last one zero.
const maxSocketPath = 107

// A listener answers wg(8) for one device: get operations by what get writes,
// set operations by a refusal.
type listener struct {
	ln   *net.UnixListener
	path string
	made os.FileInfo // the socket's file, to remove no other
	get  func(io.Writer) error

	mu      sync.Mutex
	clients map[net.Conn]bool // nil: closed
	busy    sync.WaitGroup
}

// listenUAPI makes the socket dir/name.sock, mode 0600: who can connect reads
// the private key. A socket that nobody answers on any more is replaced.
func listenUAPI(dir, name string) (*listener, error) {
	path := filepath.Join(dir, name+".sock")
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("the socket path %s has %d bytes and the kernel allows %d; choose a shorter tunnel name",
			path, len(path), maxSocketPath)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("making the folder of WireGuard's sockets: %w", err)
	}
	// Linux gives the file the mode of the unbound socket, less the umask.
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		return errors.Join(c.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) }), err)
	}}
	ln, err := lc.Listen(context.Background(), "unix", path)
	if errors.Is(err, syscall.EADDRINUSE) {
		if err = removeStale(path); err == nil {
			ln, err = lc.Listen(context.Background(), "unix", path)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("opening the socket that \"wg show %s\" reads: %w", name, err)
	}
	l := &listener{ln: ln.(*net.UnixListener), path: path, clients: make(map[net.Conn]bool)}
	l.ln.SetUnlinkOnClose(false)
	if l.made, err = os.Lstat(path); err != nil {
		l.ln.Close()
		return nil, fmt.Errorf("opening the socket that \"wg show %s\" reads: %w", name, err)
	}
	return l, nil
}

// removeStale removes the socket at path if no process listens on it.
func removeStale(path string) error {
	fi, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if fi.Mode().Type() != os.ModeSocket {
		return fmt.Errorf("%s exists and is no socket; move it away", path)
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		c.Close()
		return fmt.Errorf("another process answers on %s: a WireGuard device of this name runs already; stop it or rename the tunnel", path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return err
	}
	return os.Remove(path)
}

// serve answers until close.
func (l *listener) serve(get func(io.Writer) error) {
	l.get = get
	l.busy.Go(func() {
		for {
			c, err := l.ln.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil { // out of file descriptors, most likely
				time.Sleep(100 * time.Millisecond)
				continue
			}
			if l.enter(c) {
				l.busy.Go(func() { l.answer(c) })
			}
		}
	})
}

func (l *listener) enter(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.clients == nil {
		c.Close()
		return false
	}
	l.clients[c] = true
	return true
}

func (l *listener) leave(c net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.clients, c)
	c.Close()
}

// answer serves one client: operations, each ended by an empty line.
func (l *listener) answer(c net.Conn) {
	defer l.leave(c)
	c.SetDeadline(time.Now().Add(clientTime))
	r := bufio.NewReader(io.LimitReader(c, clientBytes))
	for {
		op, err := r.ReadString('\n')
		if err != nil {
			return
		}
		op = strings.TrimSuffix(op, "\n")
		if op == "" || skipOperation(r) != nil {
			return
		}
		if _, err := c.Write(l.reply(op)); err != nil {
			return
		}
	}
}

// skipOperation reads up to the empty line. What a set operation says stays
// unread in the sense that matters, but wg(8) wants it taken.
func skipOperation(r *bufio.Reader) error {
	for start := true; ; {
		part, err := r.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
		if start && len(part) == 1 {
			return nil
		}
		start = err == nil
	}
}

// reply answers in memory, because get holds the device's locks.
func (l *listener) reply(op string) []byte {
	var b bytes.Buffer
	errno := syscall.Errno(0)
	switch op {
	case "get=1":
		if l.get(&b) != nil {
			b.Reset()
			errno = unix.EIO
		}
	case "set=1":
		errno = unix.EPERM
	default:
		errno = unix.EINVAL
	}
	// Negative, as the kernel returns errors and wg(8) expects them.
	fmt.Fprintf(&b, "errno=%d\n\n", -int(errno))
	return b.Bytes()
}

// close ends serve and its clients and removes the socket's file, unless
// another process has put its own there.
func (l *listener) close() {
	if fi, err := os.Lstat(l.path); err == nil && os.SameFile(fi, l.made) {
		os.Remove(l.path)
	}
	l.ln.Close()
	l.mu.Lock()
	for c := range l.clients {
		c.Close()
	}
	l.clients = nil
	l.mu.Unlock()
	l.busy.Wait()
}
