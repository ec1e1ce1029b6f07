package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"turnout/classifier"
	"turnout/classifier/packet"
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
	lan     []lanInterface
	engine  *dataplane.Engine
	tunnels []*tunnel
	reloads atomic.Uint64
	near    atomic.Pointer[classifier.Near] // made when a batch is asked about
	cancel  context.CancelFunc
	done    chan error
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
	if r.lan, err = findLAN(cfg); err != nil {
		return nil, err
	}
	uplinks, err := findUplinks(cfg)
	if err != nil {
		return nil, err
	}
	device, err := dataplane.OpenTUN(cfg.Host.TUN)
	if err != nil {
		return nil, err
	}
	device.Log = o.Log
	r.engine = dataplane.New(device, dataplane.Options{Log: o.Log})
	if err := r.setHost(uplinks); err != nil {
		device.Close()
		return nil, errors.Join(err, host.Restore(o.RunDir, false))
	}
	if err := r.openTunnels(uplinks); err != nil {
		r.closeTunnels()
		device.Close()
		return nil, errors.Join(err, host.Restore(o.RunDir, false))
	}
	r.engine.Swap(r.plan(table))
	ctx, r.cancel = context.WithCancel(ctx)
	go func() { r.done <- r.engine.Run(ctx) }()
	return r, nil
}

// setHost makes the host route the LAN into the TUN device.
func (r *router) setHost(uplinks []string) error {
	cfg := r.cfg.Load()
	spec := host.Spec{
		TUN: cfg.Host.TUN, MTU: lanMTU(r.lan),
		Local: cfg.LAN.Local, Uplinks: uplinks,
		Mark: cfg.Host.Mark, Mask: cfg.Host.Mask,
		DirectMark: cfg.Host.DirectMark, DirectMask: cfg.Host.DirectMask,
		Table: cfg.Host.Table, Priority: cfg.Host.Priority,
		AdjustFirewall: cfg.Host.AdjustFirewall,
		RunDir:         r.opt.RunDir, Log: r.opt.Log,
	}
	for _, l := range r.lan {
		spec.LAN = append(spec.LAN, host.LANInterface{Name: l.name, Prefixes: append(l.prefixes(), l.ipv6...)})
	}
	if _, err := host.Set(spec); err != nil {
		return err
	}
	return nil
}

// openTunnels starts a WireGuard device for each tunnel, in listed order.
func (r *router) openTunnels(uplinks []string) error {
	cfg := r.cfg.Load()
	for i := range cfg.Tunnels {
		c := &cfg.Tunnels[i]
		t := &tunnel{conf: c, exit: classifier.FirstNamed + classifier.ExitID(i), mtu: tunnelMTU(c, uplinks)}
		own4, own6 := ownAddresses(c)
		if c.NAT == conf.Masquerade && own4 == (packet.Addr{}) {
			return fmt.Errorf("%s: tunnel %q masquerades but has no IPv4 address: add Address, or nat = \"none\"", c.Pos, c.Name)
		}
		t.path = r.engine.NewTunnel(dataplane.TunnelOptions{
			Name: c.Name, Exit: t.exit, MTU: t.mtu,
			Address4: own4, Address6: own6,
			Masquerade: c.NAT == conf.Masquerade,
		})
		device, err := peers.Open(*c, peers.Options{
			Mark: cfg.Host.Mark, Device: t.path, Sent: t.path.Sent, Log: r.opt.Log,
		})
		if err != nil {
			return fmt.Errorf("starting: %w", err)
		}
		t.device = device
		r.tunnels = append(r.tunnels, t)
	}
	return nil
}

// closeTunnels ends the devices; each closes its end of the data path.
func (r *router) closeTunnels() {
	for _, t := range r.tunnels {
		t.device.Close()
	}
}

// plan is what the data path decides by.
func (r *router) plan(table *classifier.Table) *dataplane.Plan {
	p := dataplane.NewPlan(table)
	p.LANMTU = lanMTU(r.lan)
	for _, l := range r.lan {
		p.LAN = append(p.LAN, l.networks...)
	}
	for _, t := range r.tunnels {
		p.Tunnels[t.exit] = t.path
	}
	return p
}

// Done gives the data path's failure, should it fail.
func (r *router) Done() <-chan error { return r.done }

// Stop ends the router. The host is restored while the data path still runs,
// so that at no moment a packet of the LAN has another way than the one policy
// gave it. With keepGuard the LAN stays closed.
func (r *router) Stop(keepGuard bool) error {
	err := host.Restore(r.opt.RunDir, keepGuard)
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
	return answering.Source{Table: plan.Table, LAN: r.prefixes(), Live: plan.Resolve}
}

func (r *router) prefixes() []netip.Prefix {
	var all []netip.Prefix
	for _, l := range r.lan {
		all = append(all, l.prefixes()...)
	}
	return all
}
