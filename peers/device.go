package peers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"

	"turnout/conf"
)

// Options are what a tunnel gets from its surroundings.
type Options struct {
	// Mark is the firewall mark of the tunnel's sockets and of those that
	// resolve its endpoints' names; 0 is none.
	Mark uint32
	// Transport, if not nil, carries the tunnel's datagrams in place of UDP
	// sockets of the host. Names of endpoints are looked up by the host all
	// the same, and the first IPv4 address that a name has is taken.
	Transport Transport
	// Device carries the inner packets. Open takes it over: it is closed by
	// Close, and by an Open that fails.
	Device tun.Device
	// Sending, if not nil, is told before each send of transport data messages,
	// which takes as long as a full socket does. What is said of Sent holds.
	Sending func()
	// Sent, if not nil, is told after each send how many transport data
	// messages left the device for good, whether or not the network took
	// them. It must not block and not call the Device. Packets that WireGuard
	// itself drops, for want of a session or an endpoint, are never told.
	Sent func(dataMessages int)
	// Dir is the folder of the socket that wg(8) reads; empty: DefaultDir.
	Dir string
	// Log gets the tunnel's lines; nil: nobody.
	Log *slog.Logger
	// NoSendOffload and NoReceiveOffload switch off UDP_SEGMENT and UDP_GRO,
	// for network cards and kernels that do them wrongly.
	NoSendOffload, NoReceiveOffload bool
}

// A Device is one running tunnel.
type Device struct {
	wg     *device.Device
	bind   carrier
	lost   atomic.Uint64 // received and dropped by bind
	log    *logger
	socket *listener
	mark   uint32
	inside bool // of another tunnel, by a Transport
	lookup lookup
	conf   atomic.Pointer[conf.Tunnel]

	mu      sync.Mutex // one change at a time
	closed  bool
	lookups map[conf.PublicKey]context.CancelFunc // running or done
	busy    sync.WaitGroup                        // lookups
}

// Open starts tunnel t. It returns when the sockets, or Options.Transport, are
// open; endpoints that are names are resolved later, as often as it takes.
func Open(t conf.Tunnel, o Options) (*Device, error) {
	return open(t, o, markedLookup(o.Mark))
}

func open(t conf.Tunnel, o Options, find lookup) (*Device, error) {
	log := newLogger(o.Log, t.Name)
	socket, err := listenUAPI(cmp.Or(o.Dir, DefaultDir), t.Name)
	if err != nil {
		o.Device.Close()
		return nil, fmt.Errorf("tunnel %s: %w", t.Name, err)
	}
	d := &Device{
		log:     log,
		socket:  socket,
		mark:    o.Mark,
		inside:  o.Transport != nil,
		lookup:  find,
		lookups: make(map[conf.PublicKey]context.CancelFunc),
	}
	c := common{sending: o.Sending, sent: o.Sent, log: log, held: newWindow()}
	if d.inside {
		d.bind = &via{common: c, under: o.Transport, lost: &d.lost}
	} else {
		d.bind = newBind(c, o.Mark, offload{!o.NoSendOffload, !o.NoReceiveOffload})
	}
	d.wg = device.NewDevice(delivered{o.Device, c.held}, d.bind, log.device())
	d.conf.Store(&t)
	if err := d.start(t); err != nil {
		d.Close()
		return nil, fmt.Errorf("tunnel %s: %w", t.Name, err)
	}
	socket.serve(d.wg.IpcGetOperation)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.resolveNames(conf.Tunnel{}, t)
	return d, nil
}

func (d *Device) start(t conf.Tunnel) error {
	if err := d.wg.IpcSet(setupText(t, d.mark)); err != nil {
		return fmt.Errorf("configuring WireGuard: %w", reason(err))
	}
	if err := d.wg.Up(); err != nil {
		return fmt.Errorf("opening its UDP port: %w", reason(err))
	}
	// The TUN may have brought the device up before us, and failed. A second
	// attempt takes any port.
	if port := d.Status().ListenPort; t.ListenPort != 0 && port != t.ListenPort {
		return portInUse(t.ListenPort, syscall.EADDRINUSE)
	}
	return nil
}

// reason takes wireguard-go's own words off an error of ours.
func reason(err error) error {
	var ipc *device.IPCError
	if errors.As(err, &ipc) && ipc.Unwrap() != nil {
		return ipc.Unwrap()
	}
	return err
}

// Close ends the tunnel and closes its tun.Device. It waits for the tunnel's
// goroutines, which takes no longer than the tun.Device's Read and Write do.
// Closing twice is fine.
func (d *Device) Close() {
	// First of all, or somebody waits in a full socket with a lock we need.
	d.bind.shutdown()
	d.mu.Lock()
	for _, stop := range d.lookups {
		stop()
	}
	first := !d.closed
	d.closed = true
	d.mu.Unlock()
	if first {
		d.socket.close()
	}
	d.busy.Wait()
	d.wg.Close()
}
