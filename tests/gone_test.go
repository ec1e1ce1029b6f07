package tests

import (
	"strings"
	"testing"
	"time"

	"turnout/tests/netlab"
)

// Somebody deletes the TUN device: the router says so and ends at once, and the
// LAN stays closed.
func TestDeletedDeviceEndsTheRouter(t *testing.T) {
	t.Parallel()
	r := world{Peer: byTunnel}.up(t)
	watch := r.watch(t)
	begun := time.Now()
	on(t, r.Gateway.Node, "ip", "link", "del", "turnout0")
	status, err := r.Daemon.Wait(10 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begun); status != 1 || took > 4*time.Second {
		t.Errorf("the daemon ended with status %d after %v, want 1 at once", status, took)
	}
	said := r.Daemon.Log()
	if !strings.Contains(said, "somebody deleted") || strings.Contains(said, "did not end") {
		t.Errorf("the daemon does not say what happened:\n%s", said)
	}
	for _, f := range everyProtocol(0) {
		f.Wait = 300 * time.Millisecond
		if got, err := r.Hosts[0].Probe(f); err == nil && got.Exit == netlab.Direct {
			t.Errorf("%v left by the uplink", f)
		}
	}
	if err := watch.Leaks(); err != nil {
		t.Error(err)
	}
}
