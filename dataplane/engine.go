package dataplane

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"turnout/classifier/packet"
	"turnout/dataplane/answer"
	"turnout/dataplane/fragment"
	"turnout/dataplane/nat"
)

// Engine is the data path of one TUN device.
type Engine struct {
	tun       *TUN
	plan      atomic.Pointer[Plan]
	flows     *nat.Table
	fragments *fragment.Tracker
	ids       *fragment.IDs
	frames    framePool
	log       *slog.Logger

	Direct  Counters // what policy sent out by the uplink
	Dropped Drops    // of the LAN side and of all tunnels together

	// What the gateway answers is limited apart for each side, so that no
	// remote can use up what the LAN's hosts are due.
	toLAN, toTunnels *answer.Limiter

	tick atomic.Uint32 // Now, moved by one goroutine
}

// Options of an Engine.
type Options struct {
	Flows *nat.Table // nil: a new one
	Log   *slog.Logger
}

// New returns an engine for an open TUN device. It owns the device from now on
// and moves packets once Swap gave it a plan and Run was called.
func New(t *TUN, o Options) *Engine {
	if o.Flows == nil {
		o.Flows = nat.New(nat.Options{})
	}
	e := &Engine{
		tun: t, flows: o.Flows, log: o.Log,
		fragments: fragment.New(fragment.Options{}), ids: fragment.NewIDs(),
		toLAN: answer.NewLimiter(), toTunnels: answer.NewLimiter(),
	}
	e.tick.Store(uint32(Now()))
	return e
}

// Now is the clock of the packet path: whole seconds since the machine started,
// time asleep included, so that it means the same to the next process.
func Now() nat.Tick {
	var t unix.Timespec
	unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) // cannot fail with this clock
	return nat.Tick(t.Sec)
}

// NewTunnel makes the virtual device of one exit. It carries packets once a
// plan names it.
func (e *Engine) NewTunnel(o TunnelOptions) *Tunnel { return newTunnel(e, o) }

// Swap publishes a plan, which nothing may change from now on. Flows keep the
// exit that they have for as long as it is there. One goroutine at a time may
// call Swap and Repin.
func (e *Engine) Swap(p *Plan) { e.publish(p, false) }

// Repin publishes a plan, and has each flow ask it at its next packet from the
// LAN. A flow that gets another exit begins anew there: a TCP connection is
// reset.
func (e *Engine) Repin(p *Plan) { e.publish(p, true) }

func (e *Engine) publish(p *Plan, repin bool) {
	p.since = e.now()
	if old := e.plan.Load(); old != nil {
		p.Generation = old.Generation + 1
		p.age = min(old.age, maxAge-1) + 1
		if p.Table == old.Table {
			p.same, p.since = min(old.same, maxAge-1)+1, old.since
		}
	}
	if repin {
		p.age = 0
	}
	e.plan.Store(p)
}

// Plan returns the plan in force. Nothing but Live may be changed in it.
func (e *Engine) Plan() *Plan { return e.plan.Load() }

// Flows returns the flow table.
func (e *Engine) Flows() *nat.Table { return e.flows }

// Run reads the TUN device until ctx ends, which is success, or until the
// device fails.
func (e *Engine) Run(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- e.dispatch() }()
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-ctx.Done():
			e.tun.Close()
			<-done
			return nil
		case <-second.C:
			e.tick.Store(uint32(Now()))
			e.flows.Expire(e.now())
			e.Dropped.lost(packet.FragmentUnknown, e.fragments.Expire(uint32(e.now())))
		}
	}
}

// now is the coarse clock of the packet path: no system call per packet.
func (e *Engine) now() nat.Tick { return nat.Tick(e.tick.Load()) }
