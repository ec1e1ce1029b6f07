package tests

import (
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"turnout/tests/netlab"
)

// transfers is how many connections each way are under way when the router is
// killed, and size the bytes of each, sent over at least paceTime.
const (
	transfers    = 250
	transferSize = 256 << 10
	paceSteps    = 32
	paceTime     = 4 * time.Second
)

// slowly passes a reader on in steps, so that the transfer lasts paceTime.
type slowly struct{ io.Reader }

func (s slowly) Read(p []byte) (int, error) {
	time.Sleep(paceTime / paceSteps)
	return s.Reader.Read(p[:min(len(p), transferSize/paceSteps)])
}

// slow makes a transfer of a host, up or down, and tells when it has begun.
func slow(h *netlab.Host, f netlab.Flow, up bool, seed uint64, begun *sync.WaitGroup) error {
	conn, err := h.Dial(f)
	begun.Done()
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	if up {
		return netlab.Sink(conn, slowly{netlab.Source(transferSize, seed)})
	}
	conn.SetReadBuffer(transferSize / paceSteps) // behind a small window the far end waits
	return netlab.Fetch(conn, slowly{conn}, transferSize, seed)
}

// Established connections outlive the process: the next one adopts the flow
// table, and the far ends learn where it is before the LAN speaks.
func TestConnectionsOutliveTheRouter(t *testing.T) {
	t.Parallel()
	r := world{}.up(t)
	watch := r.watch(t)
	for _, far := range r.Fars() {
		// The ends of the lab give up soon; this is what the kernel does elsewhere.
		if err := errors.Join(far.Sysctl("net.ipv4.tcp_orphan_retries", "8"), far.Sysctl("net.ipv4.tcp_retries2", "15")); err != nil {
			t.Fatal(err)
		}
	}
	var mu sync.Mutex
	failed := map[string][]error{}
	var begun, ended sync.WaitGroup
	for i := range 2 * transfers {
		kind := [...]string{"upload", "download"}[i%2]
		begun.Add(1)
		ended.Go(func() {
			f := netlab.Flow{Proto: "tcp", Dst: netlab.Internet[i%4], Port: 80, Wait: 10 * time.Second}
			if err := slow(r.Hosts[0], f, i%2 == 0, uint64(i), &begun); err != nil {
				mu.Lock()
				failed[kind] = append(failed[kind], err)
				mu.Unlock()
			}
		})
	}
	begun.Wait()
	time.Sleep(paceTime / 4)
	r.Daemon.Kill()
	time.Sleep(300 * time.Millisecond) // as long as a service manager takes to notice
	r.up(t)
	ended.Wait()
	for kind, errs := range failed {
		t.Logf("%d of %d %ss failed, first: %v", len(errs), transfers, kind, errs[0])
		if len(errs) > transfers/100 {
			t.Errorf("%d of %d %ss did not finish; at most 1 in 100 may not", len(errs), transfers, kind)
		}
	}
	if len(failed) > 0 {
		t.Logf("not forwarded by the second run: %v", dropsOf(t, r))
	}
	if !strings.Contains(r.Daemon.Log(), "adopted") {
		t.Error("the second run does not say that it has adopted flows")
	}
	if err := watch.Leaks(); err != nil {
		t.Error(err)
	}
}
