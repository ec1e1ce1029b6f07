package peers

import (
	"net"
	"sync"
	"sync/atomic"

	"golang.zx2c4.com/wireguard/conn"
)

// A via is the conn.Bind of a tunnel without sockets: its datagrams go by a
// Transport. It is to that what a bind is to the sockets; a mark it has none.
type via struct {
	common
	under Transport
	lost  *atomic.Uint64 // received and dropped, for want of room

	mu   sync.Mutex
	in   *inbox // nil: closed
	shut bool   // for good
}

var _ carrier = (*via)(nil)

// Open implements conn.Bind.
func (v *via) Open(port uint16) ([]conn.ReceiveFunc, uint16, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.shut {
		return nil, 0, net.ErrClosed
	}
	if v.in != nil {
		return nil, 0, conn.ErrBindAlreadyOpen
	}
	in := newInbox(v.lost)
	port, err := v.under.Open(port, in.put)
	if err != nil {
		return nil, 0, err
	}
	v.in = in
	r := &viaReceiver{in: in, lent: newLoan(v.held)}
	return []conn.ReceiveFunc{r.receive}, port, nil
}

// Close implements conn.Bind; closing twice is fine.
func (v *via) Close() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.in == nil {
		return nil
	}
	close(v.in.closed)
	v.in = nil
	return v.under.Close()
}

// shutdown implements carrier.
func (v *via) shutdown() {
	v.mu.Lock()
	v.shut = true
	v.mu.Unlock()
	v.Close()
}

// SetMark implements conn.Bind: there is nothing to mark.
func (*via) SetMark(uint32) error { return nil }

// Send implements conn.Bind.
func (v *via) Send(pkts [][]byte, ep conn.Endpoint) error {
	e, ok := ep.(*endpoint)
	if !ok {
		return conn.ErrWrongEndpointType
	}
	data := v.begin(pkts)
	err := v.under.Send(pkts, e.addr)
	v.end(data)
	return err
}

// A viaReceiver takes datagrams from an inbox for one goroutine.
type viaReceiver struct {
	in   *inbox
	lent loan
}

// receive is a conn.ReceiveFunc. It ends with net.ErrClosed when the via is
// closed and with nothing else.
func (r *viaReceiver) receive(bufs [][]byte, sizes []int, eps []conn.Endpoint) (int, error) {
	r.lent.settle(bufs)
	for {
		select {
		case <-r.in.closed:
			return 0, net.ErrClosed
		default:
		}
		if n := r.in.take(bufs, sizes, eps); n > 0 {
			r.lent.lend(bufs, sizes[:n])
			return n, nil
		}
		select {
		case <-r.in.wake:
		case <-r.in.closed:
		}
	}
}
