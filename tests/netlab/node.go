package netlab

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// A Node is one machine of the lab: a network namespace and a mount namespace
// with an empty /run, held by a thread that never does anything else.
type Node struct {
	Name string

	ns    int // descriptor of the network namespace
	link  *netlink.Handle
	calls chan func()
	once  sync.Once
	quit  chan struct{}
	gone  chan struct{}

	mu      sync.Mutex
	closers []func()
}

// NewNode makes an empty machine: a loopback device that is up, and no other.
func NewNode(name string) (*Node, error) {
	n := &Node{Name: name, ns: -1, calls: make(chan func()), quit: make(chan struct{}), gone: make(chan struct{})}
	ready := make(chan error)
	go n.live(ready)
	if err := <-ready; err != nil {
		return nil, fmt.Errorf("make a namespace for %s: %w", name, err)
	}
	h, err := netlink.NewHandleAt(netns.NsHandle(n.ns), unix.NETLINK_ROUTE)
	if err != nil {
		n.Close()
		return nil, fmt.Errorf("open netlink in %s: %w", name, err)
	}
	n.link = h
	if err := errors.Join(n.settleIPv6(), n.forgetTCP(), n.Up("lo")); err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

// settleIPv6 makes link-local addresses usable at once. With duplicate address
// detection they, and their routes, would appear at some time in the first seconds.
func (n *Node) settleIPv6() error {
	err := errors.Join(n.Sysctl("net.ipv6.conf.all.accept_dad", "0"), n.Sysctl("net.ipv6.conf.default.accept_dad", "0"))
	if errors.Is(err, os.ErrNotExist) {
		return nil // a kernel without IPv6
	}
	return err
}

// forgetTCP lets connections that a test has cut die in seconds. A namespace
// lives as long as a connection that still tries, which by default is a quarter
// of an hour after the last process, and with it all that it holds of the kernel.
func (n *Node) forgetTCP() error {
	return errors.Join(n.Sysctl("net.ipv4.tcp_retries2", "6"), n.Sysctl("net.ipv4.tcp_orphan_retries", "1"))
}

// live is the node's home thread. It ends locked, so that the runtime destroys
// the thread, and the kernel the namespaces and (by their parent-death signal)
// the child processes.
func (n *Node) live(ready chan<- error) {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		// The main thread cannot be destroyed, and /proc/self would show
		// the node. Hold it until another goroutine has found a thread.
		elsewhere := make(chan struct{})
		go func() {
			runtime.LockOSThread()
			close(elsewhere)
			n.run(ready)
		}()
		<-elsewhere
		runtime.UnlockOSThread()
		return
	}
	n.run(ready)
}

func (n *Node) run(ready chan<- error) {
	defer close(n.gone)
	if err := n.enter(); err != nil {
		ready <- err
		return
	}
	ready <- nil
	for {
		select {
		case f := <-n.calls:
			f()
		case <-n.quit:
			return
		}
	}
}

// enter moves the calling thread into new namespaces.
func (n *Node) enter() error {
	if err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := privateRun(); err != nil {
		return err
	}
	fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open the namespace: %w", err)
	}
	n.ns = fd
	return nil
}

// privateRun gives the mount namespace its own /run, so that sockets and state
// files of two machines, or of the real host, never meet.
func privateRun() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	for _, dir := range []string{"/run", "/var/run"} {
		if fi, err := os.Lstat(dir); err != nil || !fi.IsDir() {
			continue // /var/run is a link to /run nearly everywhere
		}
		if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755,size=16m"); err != nil {
			return fmt.Errorf("mount a tmpfs on %s: %w", dir, err)
		}
	}
	return nil
}

// home runs f on the node's own thread: in its network and mount namespaces.
// f must be short, the node has no other thread.
func (n *Node) home(f func()) error {
	done := make(chan struct{})
	select {
	case n.calls <- func() { defer close(done); f() }:
		<-done
		return nil
	case <-n.gone:
		return fmt.Errorf("%s is closed", n.Name)
	}
}

// Do runs f in the node's network namespace, on the calling goroutine. f may
// block, but goroutines that it starts are not in the namespace.
func (n *Node) Do(f func() error) error {
	runtime.LockOSThread()
	before, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("open the thread's namespace: %w", err)
	}
	defer unix.Close(before)
	if err := unix.Setns(n.ns, unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter %s: %w", n.Name, err)
	}
	defer func() {
		// A thread that cannot go back stays locked and dies with its goroutine.
		if unix.Setns(before, unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
	}()
	return f()
}

// OnClose has f called when the node closes, last added first.
func (n *Node) OnClose(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closers = append(n.closers, f)
}

// Close ends what runs in the node and lets its namespaces go. It may be called twice.
func (n *Node) Close() {
	n.once.Do(func() {
		n.mu.Lock()
		closers := n.closers
		n.mu.Unlock()
		for i := len(closers) - 1; i >= 0; i-- {
			closers[i]()
		}
		if n.link != nil {
			n.link.Close()
		}
		close(n.quit)
		<-n.gone
		if n.ns >= 0 {
			unix.Close(n.ns)
		}
	})
}

// NSPath names the network namespace for nsenter --net while this process lives.
func (n *Node) NSPath() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.ns) }
