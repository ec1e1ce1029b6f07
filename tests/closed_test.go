package tests

import (
	"context"
	"sync"
	"testing"
	"time"

	"turnout/tests/netlab"
)

// busy keeps a host talking until stop is called: bulk TCP, datagrams, pings and
// new connections, to every address.
func busy(r *run) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var w sync.WaitGroup
	for i := range 4 {
		for _, f := range everyProtocol(i) {
			f.Wait = 200 * time.Millisecond
			w.Go(func() {
				for ctx.Err() == nil {
					r.Hosts[0].Probe(f) // what comes of it, the watcher sees
				}
			})
		}
	}
	w.Go(func() {
		for ctx.Err() == nil {
			f := netlab.Flow{Proto: "tcp", Dst: netlab.Internet[0], Port: 80, Wait: time.Second}
			r.Hosts[0].Upload(f, 16<<20, 1, 2*time.Second)
		}
	})
	return func() { cancel(); w.Wait() }
}

// The router is killed while traffic runs: nothing of the LAN may leave by the
// uplink. The next start takes over what was left behind.
func TestKilledRouterLeavesTheLANClosed(t *testing.T) {
	for _, layout := range []netlab.Layout{netlab.TwoLegs, netlab.Stick} {
		t.Run(layout.String(), func(t *testing.T) {
			t.Parallel()
			r := world{Options: netlab.Options{Layout: layout}, Peer: byTunnel}.up(t)
			watch := r.watch(t)
			stop := busy(r)
			time.Sleep(time.Second)
			if seen := watch.Seen(); seen.WireGuard < 50 {
				t.Errorf("only %d WireGuard packets before the kill: the test proves nothing", seen.WireGuard)
			}
			r.Daemon.Kill()
			time.Sleep(5 * time.Second)
			stop()
			if err := watch.Leaks(); err != nil {
				t.Errorf("after kill -9: %v", err)
			}
			again := time.Now()
			r.up(t)
			flow := netlab.Flow{Proto: "tcp", Dst: netlab.Internet[0], Port: 443}
			if err := r.arrives(r.Hosts[0], flow, "sweden"); err != nil {
				t.Error(err)
			}
			if took := time.Since(again); took > 2*time.Second {
				t.Errorf("traffic flows %v after the new start, want 2 s at most", took)
			}
			if err := watch.Leaks(); err != nil {
				t.Errorf("after the new start: %v", err)
			}
		})
	}
}

// The positive control: the same watcher sees traffic that policy lets go
// direct, and sees it end when the router is killed.
func TestKilledRouterEndsDirectTraffic(t *testing.T) {
	t.Parallel()
	r := world{Default: netlab.Direct}.up(t)
	watch := r.watch(t)
	stop := busy(r)
	defer stop()
	time.Sleep(time.Second)
	if watch.Leaks() == nil {
		t.Fatal("the watcher does not see direct traffic")
	}
	r.Daemon.Kill()
	// Direct flows that the kernel carries end when their lease does.
	time.Sleep(time.Second)
	after := r.watch(t)
	time.Sleep(5 * time.Second)
	if err := after.Leaks(); err != nil {
		t.Errorf("after kill -9: %v", err)
	}
}
