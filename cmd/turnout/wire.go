package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"turnout/classifier"
	"turnout/cmd/internal/control"
	answering "turnout/cmd/internal/explain"
	"turnout/conf"
	"turnout/dataplane"
	"turnout/dataplane/host"
	"turnout/peers"
)

// routerOptions are what the command line decides about the router.
type routerOptions struct {
	RunDir, StateDir string
	Log              *slog.Logger
}

// A router is the running product: the host's state, the data path and the
// WireGuard devices, put together. Its methods may be called from any
// goroutine once startRouter returned it.
type router struct {
	cfg     atomic.Pointer[conf.Config]
	opt     routerOptions
	engine  *dataplane.Engine
	tunnels []*tunnel
	reloads atomic.Uint64
	near    atomic.Pointer[classifier.Near] // made when a batch is asked about
	cancel  context.CancelFunc
	done    chan error

	mu      sync.Mutex // of what follows, and one change of the host at a time
	around  surroundings
	stopped bool
}

// A tunnel is a WireGuard device and its end in the data path.
type tunnel struct {
	conf   *conf.Tunnel
	exit   classifier.ExitID
	mtu    int
	path   *dataplane.Tunnel
	device *peers.Device
}

// startRouter builds the router in the order in which a failure leaves the
// least behind, and undoes all of it when a step fails. When it returns, the
// LAN is routed.
func startRouter(ctx context.Context, cfg *conf.Config, o routerOptions) (*router, error) {
	r := &router{opt: o, done: make(chan error, 1)}
	r.cfg.Store(cfg)
	table, err := classifier.Compile(cfg.Policy)
	if err != nil {
		return nil, fmt.Errorf("compiling the policy of %s: %w", cfg.File, err)
	}
	if r.around, err = lookAround(cfg); err != nil {
		return nil, err
	}
	device, err := dataplane.OpenTUN(cfg.Host.TUN)
	if err != nil {
		return nil, err
	}
	device.Log = o.Log
	flows, kept := openFlows(cfg, o)
	r.engine = dataplane.New(device, dataplane.Options{Flows: flows, Log: o.Log})
	adopted, err := r.setHost(cfg, r.around)
	if err != nil {
		device.Close()
		return nil, err // Set has undone what it did
	}
	r.makePaths(r.around.uplinks)
	r.engine.Swap(r.plan(cfg, table, r.around)) // what comes out of a tunnel at once finds it
	if err := r.openTunnels(); err != nil {
		// A LAN that a crash left closed does not open because a start failed.
		err = errors.Join(err, host.Restore(o.RunDir, adopted))
		r.closeTunnels()
		device.Close()
		return nil, err
	}
	r.reserve(cfg)
	r.greet(cfg, kept)
	ctx, r.cancel = context.WithCancel(ctx)
	go func() {
		r.done <- r.engine.Run(ctx)
		close(r.done) // Done's reader may have taken it before Stop looks
	}()
	go r.follow(ctx)
	return r, nil
}

// setHost makes the host route the LAN into the TUN device. It reports whether
// it found the LAN closed by a router that did not end in order.
func (r *router) setHost(cfg *conf.Config, a surroundings) (adopted bool, err error) {
	spec := host.Spec{
		TUN: cfg.Host.TUN, MTU: a.lanMTU(),
		Local: cfg.LAN.Local, Uplinks: a.uplinks,
		Mark: cfg.Host.Mark, Mask: cfg.Host.Mask,
		DirectMark: cfg.Host.DirectMark, DirectMask: cfg.Host.DirectMask,
		Table: cfg.Host.Table, Priority: cfg.Host.Priority,
		AdjustFirewall: cfg.Host.AdjustFirewall,
		Listen:         listening(cfg), UsesInside: usesInside(cfg, a),
		RunDir: r.opt.RunDir, Log: r.opt.Log,
	}
	for _, l := range a.lan {
		spec.LAN = append(spec.LAN, host.LANInterface{Name: l.name, Prefixes: append(l.prefixes(), l.ipv6...)})
	}
	state, err := host.Set(spec)
	if err != nil {
		return false, err
	}
	return state.Adopted, nil
}

// makePaths makes each tunnel's end in the data path, in listed order.
func (r *router) makePaths(uplinks []string) {
	cfg := r.cfg.Load()
	for i := range cfg.Tunnels {
		c := &cfg.Tunnels[i]
		t := &tunnel{conf: c, exit: tunnelExit(i), mtu: tunnelMTU(cfg, i, uplinks)}
		own4, own6 := ownAddresses(c)
		t.path = r.engine.NewTunnel(dataplane.TunnelOptions{
			Name: c.Name, Exit: t.exit, MTU: t.mtu,
			Address4: own4, Address6: own6,
			Masquerade: c.NAT == conf.Masquerade, Peers: len(c.Peers),
		})
		r.tunnels = append(r.tunnels, t)
	}
}

// openTunnels starts a WireGuard device for each tunnel, one that carries
// another before that one.
func (r *router) openTunnels() error {
	cfg := r.cfg.Load()
	for _, i := range carriersFirst(cfg.Tunnels) {
		t := r.tunnels[i]
		o := peers.Options{
			Mark: cfg.Host.Mark, Device: t.path, Sending: t.path.Sending, Sent: t.path.Sent, Log: r.opt.Log,
		}
		if via := t.conf.Via; via >= 0 {
			o.Transport = r.tunnels[via].path.Conduit()
		}
		device, err := peers.Open(*t.conf, o)
		if err != nil {
			return fmt.Errorf("starting: %w", err)
		}
		t.device = device
	}
	return nil
}

// carriersFirst lists the tunnels, each after the one that it goes by. There is
// no cycle: conf refuses those.
func carriersFirst(tunnels []conf.Tunnel) (order []int) {
	done := make([]bool, len(tunnels))
	var add func(i int)
	add = func(i int) {
		if i < 0 || done[i] {
			return
		}
		done[i] = true
		add(tunnels[i].Via)
		order = append(order, i)
	}
	for i := range tunnels {
		add(i)
	}
	return order
}

// tunnelExit is the exit of the i-th tunnel.
func tunnelExit(i int) classifier.ExitID { return classifier.FirstNamed + classifier.ExitID(i) }

// closeTunnels ends the devices; each closes its end of the data path.
func (r *router) closeTunnels() {
	for _, t := range r.tunnels {
		if t.device != nil {
			t.device.Close()
		}
	}
}

// plan is what the data path decides by.
func (r *router) plan(cfg *conf.Config, table *classifier.Table, a surroundings) *dataplane.Plan {
	p := dataplane.NewPlan(table)
	for _, l := range a.lan {
		p.LAN = append(p.LAN, l.networks...)
	}
	for _, t := range r.tunnels {
		p.Tunnels[t.exit] = t.path
	}
	setGates(p, cfg)
	return p
}

// Done gives the data path's failure, should it fail.
func (r *router) Done() <-chan error { return r.done }

// Stop ends the router. The host is restored while the data path still runs,
// so that at no moment a packet of the LAN has another way than the one policy
// gave it. With keepGuard the LAN stays closed.
func (r *router) Stop(keepGuard bool) error {
	r.mu.Lock()
	r.stopped = true
	err := host.Restore(r.opt.RunDir, keepGuard)
	r.mu.Unlock()
	r.cancel()
	r.closeTunnels()
	select {
	case <-r.done:
	case <-time.After(5 * time.Second):
		err = errors.Join(err, errors.New("stopping the data path: it did not end within 5 s"))
	}
	return err
}

// Explain answers with the live table.
func (r *router) Explain(q control.Query) control.Answer { return r.source().Explain(q) }

// ExplainAll answers a batch with one live table.
func (r *router) ExplainAll(b control.Batch) []control.Answer {
	s := r.source()
	if s.Near = r.near.Load(); s.Near == nil || s.Near.Table() != s.Table {
		s.Near = classifier.NewNear(s.Table) // once for each policy, or twice
		r.near.Store(s.Near)
	}
	return s.ExplainAll(b)
}

func (r *router) source() answering.Source {
	plan := r.engine.Plan()
	return answering.Source{Table: plan.Table, LAN: r.now().prefixes(), Local: r.cfg.Load().LAN.Local, Live: plan.Resolve}
}
