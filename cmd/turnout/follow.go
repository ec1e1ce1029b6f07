package main

import (
	"context"
	"time"

	"turnout/dataplane/host"
)

const (
	// settle lets the changes of one event come together: a lease brings an
	// address, then routes.
	settle = 100 * time.Millisecond
	// again is the pause before the kernel is asked anew for its news.
	again = time.Second
)

// follow keeps the router fitting the host's addresses and routes until ctx
// ends.
func (r *router) follow(ctx context.Context) {
	for ctx.Err() == nil {
		changed, err := host.Changes(ctx)
		if err != nil {
			r.opt.Log.Warn("cannot follow changes of the host; trying again", "err", err)
		} else {
			for range changed {
				wait(ctx, settle)
				r.adapt(ctx)
			}
		}
		wait(ctx, again)
	}
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// adapt makes what is in force fit what the host has now. What cannot be read,
// such as a LAN interface that is gone, changes nothing: its hosts stay captured.
func (r *router) adapt(ctx context.Context) {
	found, err := lookAround(r.cfg.Load())
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		r.opt.Log.Warn("the host has changed; the router stays as it is", "err", err)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped || found.same(r.around) {
		return
	}
	if _, err := r.setHost(r.cfg.Load(), found); err != nil {
		r.opt.Log.Error("the host has changed and cannot be followed", "err", err)
		return
	}
	r.engine.Swap(r.plan(r.cfg.Load(), r.engine.Plan().Table, found))
	r.around = found
	r.opt.Log.Info("followed a change of the host", "uplinks", found.uplinks, "lan", found.prefixes())
}

// now returns the surroundings in force.
func (r *router) now() surroundings {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.around
}
