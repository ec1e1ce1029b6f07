package peers

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.zx2c4.com/wireguard/conn"
)

// A bind is the conn.Bind of one tunnel: a UDP socket for each family on one
// port. Differences from wireguard-go's own: both sockets are marked before
// they are bound, each direction's offload can be switched off, a received
// packet allocates nothing, a fault ends no receiver, and the sent data
// messages are counted.
type bind struct {
	common
	use offload

	v4, v6 atomic.Pointer[socket] // nil: closed, or the host lacks the family

	mu   sync.Mutex // guards what follows, and Open against Close
	mark uint32
	shut bool // for good
}

var _ carrier = (*bind)(nil)

// newBind prepares a bind whose sockets will carry mark, 0 meaning none.
func newBind(c common, mark uint32, use offload) *bind {
	major, minor := kernelRelease()
	use.send = use.send && sendOffloadWorks(major, minor)
	use.receive = use.receive && receiveOffloadWorks(major, minor)
	return &bind{common: c, mark: mark, use: use}
}

// Open implements conn.Bind. Port 0 finds one that is free in both families.
func (b *bind) Open(port uint16) ([]conn.ReceiveFunc, uint16, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.shut {
		return nil, 0, net.ErrClosed
	}
	if b.v4.Load() != nil || b.v6.Load() != nil {
		return nil, 0, conn.ErrBindAlreadyOpen
	}
	s4, s6, err := b.openPair(port)
	for tries := 0; port == 0 && errors.Is(err, syscall.EADDRINUSE) && tries < 100; tries++ {
		s4, s6, err = b.openPair(0)
	}
	if errors.Is(err, syscall.EADDRINUSE) {
		err = portInUse(port, err)
	}
	if err != nil {
		return nil, 0, err
	}
	var fns []conn.ReceiveFunc
	for _, s := range []*socket{s4, s6} {
		if s != nil {
			fns = append(fns, newReceiver(s, b.log, b.held).receive)
			port = s.port
		}
	}
	b.v4.Store(s4)
	b.v6.Store(s6)
	return fns, port, nil
}

func portInUse(port uint16, err error) error {
	return fmt.Errorf("UDP port %d is in use by another program; stop it or choose another ListenPort: %w", port, err)
}

// openPair opens a socket of each family that the host has.
func (b *bind) openPair(port uint16) (s4, s6 *socket, err error) {
	s4, err = listen("udp4", port, b.mark, b.use)
	if err != nil && !errors.Is(err, syscall.EAFNOSUPPORT) {
		return nil, nil, err
	}
	if s4 != nil {
		port = s4.port
	}
	s6, err = listen("udp6", port, b.mark, b.use)
	if errors.Is(err, syscall.EAFNOSUPPORT) && s4 != nil {
		return s4, nil, nil
	}
	if err != nil {
		if s4 != nil {
			s4.conn.Close()
		}
		return nil, nil, err
	}
	return s4, s6, nil
}

// Close implements conn.Bind; closing twice is fine.
func (b *bind) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var errs [2]error
	for i, p := range []*atomic.Pointer[socket]{&b.v4, &b.v6} {
		if s := p.Swap(nil); s != nil {
			errs[i] = s.conn.Close()
		}
	}
	return errors.Join(errs[:]...)
}

// shutdown implements carrier: a closed socket ends every wait.
func (b *bind) shutdown() {
	b.mu.Lock()
	b.shut = true
	b.mu.Unlock()
	b.Close()
}

// SetMark implements conn.Bind, for open sockets and for those to come.
func (b *bind) SetMark(mark uint32) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mark = mark
	for _, p := range []*atomic.Pointer[socket]{&b.v4, &b.v6} {
		if s := p.Load(); s != nil {
			if err := setMark(s.raw, mark); err != nil {
				return err
			}
		}
	}
	return nil
}

// Send implements conn.Bind.
func (b *bind) Send(pkts [][]byte, ep conn.Endpoint) error {
	e, ok := ep.(*endpoint)
	if !ok {
		return conn.ErrWrongEndpointType
	}
	data := b.begin(pkts)
	var err error
	if s := b.socket(e); s != nil {
		err = s.send(pkts, e)
	} else {
		err = fmt.Errorf("sending to %v: %w", e.addr, syscall.EAFNOSUPPORT)
	}
	b.end(data)
	return err
}

func (b *bind) socket(e *endpoint) *socket {
	if e.addr.Addr().Is4() {
		return b.v4.Load()
	}
	return b.v6.Load()
}
