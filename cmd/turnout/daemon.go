package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"turnout/cmd/internal/control"
	"turnout/conf"
)

// A gateway is a running router, as wire.go builds it.
type gateway interface {
	Status() control.Status
	Explain(control.Query) control.Answer
	ExplainAll(control.Batch) []control.Answer
	Flows(control.Filter, func(control.Flow) bool)
	DropFlows(control.Filter) int
	// Reload changes to the policy of cfg, or goes on as before. Not at once
	// from several goroutines.
	Reload(cfg *conf.Config, repin bool) error
	Done() <-chan error // a failure that the router cannot live with
	Stop(keepGuard bool) error
}

// A daemon is a gateway with its control socket. It ends in one way: run
// leaves its select, undoes everything, and says how that went.
type daemon struct {
	gateway
	log     *slog.Logger
	read    func(file string) (*conf.Config, error) // as up did
	hup     chan os.Signal
	cfg     atomic.Pointer[conf.Config] // in force
	changes sync.Mutex                  // one reload at a time
	started time.Time
	stops   chan bool     // keepGuard of who asks first
	gone    chan struct{} // closed once stopped is set
	stopped error
}

func newDaemon(g gateway, cfg *conf.Config, log *slog.Logger) *daemon {
	d := &daemon{gateway: g, log: log, started: time.Now(), hup: make(chan os.Signal, 1),
		stops: make(chan bool), gone: make(chan struct{})}
	d.read = func(file string) (*conf.Config, error) { return load(file, new(options), conf.ForUp) }
	d.cfg.Store(cfg)
	return d
}

// run serves the control socket in runDir until ctx ends, somebody asks for
// the end, or the router fails. Only in the last case the guard stays: nobody
// wanted the LAN to be without its router.
func (d *daemon) run(ctx context.Context, runDir string) error {
	l, err := control.Listen(runDir)
	if err != nil {
		return errors.Join(err, d.gateway.Stop(false))
	}
	server := control.NewServer(d, d.log)
	go server.Serve(l)
	if err := runHooks(ctx, d.log, "post_up", d.cfg.Load().Hooks.PostUp); err != nil {
		d.log.Error("hook", "err", err)
	}
	notify("READY=1")
	d.log.Info("ready", "tunnels", len(d.cfg.Load().Tunnels), "lan", d.cfg.Load().LAN.Interfaces)

	keepGuard, failure := d.wait(ctx)
	notify("STOPPING=1")
	err = d.tearDown(keepGuard)

	over, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	server.Shutdown(over) // the one who asked gets the answer first
	if failure != nil {
		err = errors.Join(fmt.Errorf("the router failed: %w", failure), err)
	}
	return err
}

// wait returns when it is time to end, and why.
func (d *daemon) wait(ctx context.Context) (keepGuard bool, failure error) {
	for {
		select {
		case <-ctx.Done():
			d.log.Info("stopping", "why", "signal")
			return false, nil
		case keepGuard = <-d.stops:
			d.log.Info("stopping", "why", "asked to", "keep_guard", keepGuard)
			return keepGuard, nil
		case failure = <-d.gateway.Done():
			d.log.Error("stopping; the LAN stays closed until the next up, or down", "err", failure)
			return true, failure
		case <-d.hup:
			d.Reload(control.ReloadRequest{}) // the log has what came of it
		}
	}
}

// tearDown stops the router between its hooks and lets Stop return.
func (d *daemon) tearDown(keepGuard bool) error {
	ctx := context.Background()
	if err := runHooks(ctx, d.log, "pre_down", d.cfg.Load().Hooks.PreDown); err != nil {
		d.log.Error("hook", "err", err)
	}
	d.stopped = d.gateway.Stop(keepGuard)
	if d.stopped != nil {
		d.stopped = fmt.Errorf("undoing what was done to the host: %w", d.stopped)
	}
	if err := runHooks(ctx, d.log, "post_down", d.cfg.Load().Hooks.PostDown); err != nil {
		d.log.Error("hook", "err", err)
	}
	close(d.gone)
	return d.stopped
}

// Stop asks run for the end and waits for it; who comes second waits too.
func (d *daemon) Stop(keepGuard bool) error {
	select {
	case d.stops <- keepGuard:
	case <-d.gone:
	}
	<-d.gone
	return d.stopped
}

// Status adds what the router does not know about its process.
func (d *daemon) Status() control.Status {
	s := d.gateway.Status()
	s.Version, s.PID, s.File = buildVersion(), os.Getpid(), d.cfg.Load().File
	s.Started, s.Uptime = d.started, time.Since(d.started).Seconds()
	return s
}

// DropFlows notes in the log that somebody ends conversations.
func (d *daemon) DropFlows(f control.Filter) int {
	n := d.gateway.DropFlows(f)
	d.log.Info("flows dropped", "count", n, "filter", f)
	return n
}
