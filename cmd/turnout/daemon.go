package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"turnout/cmd/internal/control"
	"turnout/conf"
)

// A gateway is a running router, as wire.go builds it.
type gateway interface {
	Status() control.Status
	Explain(control.Query) control.Answer
	ExplainAll(control.Batch) []control.Answer
	Done() <-chan error // a failure that the router cannot live with
	Stop(keepGuard bool) error
}

// A daemon is a gateway with its control socket. It ends in one way: run
// leaves its select, undoes everything, and says how that went.
type daemon struct {
	gateway
	cfg     *conf.Config
	log     *slog.Logger
	started time.Time
	stops   chan bool     // keepGuard of who asks first
	gone    chan struct{} // closed once stopped is set
	stopped error
}

func newDaemon(g gateway, cfg *conf.Config, log *slog.Logger) *daemon {
	return &daemon{gateway: g, cfg: cfg, log: log, started: time.Now(),
		stops: make(chan bool), gone: make(chan struct{})}
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
	if err := runHooks(ctx, d.log, "post_up", d.cfg.Hooks.PostUp); err != nil {
		d.log.Error("hook", "err", err)
	}
	notify("READY=1")
	d.log.Info("ready", "tunnels", len(d.cfg.Tunnels), "lan", d.cfg.LAN.Interfaces)

	var keepGuard bool
	var failure error
	select {
	case <-ctx.Done():
		d.log.Info("stopping", "why", "signal")
	case keepGuard = <-d.stops:
		d.log.Info("stopping", "why", "asked to", "keep_guard", keepGuard)
	case failure = <-d.gateway.Done():
		keepGuard = true
		d.log.Error("stopping; the LAN stays closed until the next up, or down", "err", failure)
	}
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

// tearDown stops the router between its hooks and lets Stop return.
func (d *daemon) tearDown(keepGuard bool) error {
	ctx := context.Background()
	if err := runHooks(ctx, d.log, "pre_down", d.cfg.Hooks.PreDown); err != nil {
		d.log.Error("hook", "err", err)
	}
	d.stopped = d.gateway.Stop(keepGuard)
	if d.stopped != nil {
		d.stopped = fmt.Errorf("undoing what was done to the host: %w", d.stopped)
	}
	if err := runHooks(ctx, d.log, "post_down", d.cfg.Hooks.PostDown); err != nil {
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
	s.Version, s.PID, s.File = buildVersion(), os.Getpid(), d.cfg.File
	s.Started, s.Uptime = d.started, time.Since(d.started).Seconds()
	return s
}
