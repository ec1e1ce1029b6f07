package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"turnout/cmd/internal/control"
	"turnout/conf"
)

// fakeGateway is a router that routes nothing and remembers how it ended.
type fakeGateway struct {
	done      chan error
	stopErr   error
	mu        sync.Mutex
	stops     []bool // keepGuard of each Stop
	reloads   []string
	reloadErr error
}

func (f *fakeGateway) Status() control.Status {
	return control.Status{TUN: "turnout9", Tunnels: []control.Tunnel{{Name: "sweden"}}}
}

func (f *fakeGateway) Explain(q control.Query) control.Answer {
	return control.Answer{Exit: "direct", By: "default", To: q.To, From: q.To, Proto: "icmp"}
}

func (f *fakeGateway) ExplainAll(b control.Batch) (out []control.Answer) {
	for _, q := range b.Queries {
		out = append(out, f.Explain(q))
	}
	return out
}

func (f *fakeGateway) Flows(filter control.Filter, each func(control.Flow) bool) {
	for _, w := range fakeFlows() {
		if filter.Match(&w) && !each(w) {
			return
		}
	}
}

func (f *fakeGateway) DropFlows(filter control.Filter) (n int) {
	f.Flows(filter, func(control.Flow) bool { n++; return true })
	return n
}

func (f *fakeGateway) Reload(cfg *conf.Config, repin bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reloads = append(f.reloads, fmt.Sprint(cfg.File, " ", repin))
	return f.reloadErr
}

func (f *fakeGateway) Done() <-chan error { return f.done }

func (f *fakeGateway) Stop(keepGuard bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stops = append(f.stops, keepGuard)
	return f.stopErr
}

// buffer is a bytes.Buffer that may be read while the daemon logs to it.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// A trial is a daemon that runs with a fake gateway.
type trial struct {
	*fakeGateway
	dir    string // the run directory, locked
	log    buffer
	cancel context.CancelFunc
	hup    chan os.Signal
	ended  chan error
}

func start(t *testing.T, f *fakeGateway, hooks conf.Hooks) *trial {
	t.Helper()
	r := &trial{fakeGateway: f, dir: t.TempDir(), ended: make(chan error, 1)}
	f.done = make(chan error, 1)
	unlock, err := lock(r.dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r.cancel = cancel
	d := newDaemon(f, &conf.Config{File: "home.toml", Hooks: hooks}, slog.New(slog.NewTextHandler(&r.log, nil)))
	r.hup = d.hup
	go func() {
		defer unlock()
		r.ended <- d.run(ctx, r.dir)
	}()
	t.Cleanup(cancel)
	for end := time.Now().Add(10 * time.Second); !strings.Contains(r.log.String(), "msg=ready"); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never ready: %s", r.log.String())
		}
	}
	return r
}

// end waits for run to return.
func (r *trial) end(t *testing.T) error {
	t.Helper()
	select {
	case err := <-r.ended:
		return err
	case <-time.After(10 * time.Second):
		t.Fatal("the daemon does not end")
		return nil
	}
}

func TestDaemonAnswersAndGoesDown(t *testing.T) {
	states := listenNotify(t)
	order := filepath.Join(t.TempDir(), "order")
	say := [][]string{{"sh", "-c", `echo $TURNOUT_HOOK "$1" >> "$0"`, order, "$HOME; x"}}
	r := start(t, &fakeGateway{}, conf.Hooks{PostUp: say, PreDown: say, PostDown: say})

	status, out, stderr := call("", "status", "--run-dir", r.dir)
	if status != 0 || !strings.Contains(out, "tunnel sweden") || !strings.Contains(out, "from home.toml") || !strings.Contains(out, "process "+pid()) {
		t.Errorf("status: %d, %s%s", status, out, stderr)
	}
	if status, out, _ := call("", "status", "--json", "--run-dir", r.dir); status != 0 || !strings.Contains(out, `"tun": "turnout9"`) {
		t.Errorf("status --json: %d, %s", status, out)
	}
	if status, out, _ := call("", "explain", "--to", "9.9.9.9", "--run-dir", r.dir); status != 0 || !strings.Contains(out, "to 9.9.9.9 -> direct") {
		t.Errorf("explain: %d, %s", status, out)
	}
	if status, _, stderr := call("", "down", "--keep-guard", "--run-dir", r.dir); status != 0 {
		t.Errorf("down: %d, %s", status, stderr)
	}
	if err := r.end(t); err != nil {
		t.Error(err)
	}
	if len(r.stops) != 1 || !r.stops[0] {
		t.Errorf("the router was stopped with keepGuard %v, want once, true", r.stops)
	}
	b, _ := os.ReadFile(order)
	if got, want := string(b), "post_up $HOME; x\npre_down $HOME; x\npost_down $HOME; x\n"; got != want {
		t.Errorf("hooks: %q, want %q", got, want)
	}
	if got := <-states + " " + <-states; got != "READY=1 STOPPING=1" {
		t.Errorf("systemd was told %q", got)
	}
	if status, _, stderr := call("", "status", "--run-dir", r.dir); status != 1 {
		t.Errorf("status after down: %d, %s", status, stderr)
	}
}

func TestDaemonEndsBySignal(t *testing.T) {
	r := start(t, &fakeGateway{}, conf.Hooks{})
	r.cancel()
	if err := r.end(t); err != nil || len(r.stops) != 1 || r.stops[0] {
		t.Errorf("ended with %v, stopped with keepGuard %v; want nil, once, false", err, r.stops)
	}
}

// TestDaemonFailureKeepsGuard: nobody asked for the end, so the LAN stays closed.
func TestDaemonFailureKeepsGuard(t *testing.T) {
	r := start(t, &fakeGateway{}, conf.Hooks{})
	r.done <- errors.New("the TUN device is gone")
	err := r.end(t)
	if err == nil || !strings.Contains(err.Error(), "the TUN device is gone") || len(r.stops) != 1 || !r.stops[0] {
		t.Errorf("ended with %v, stopped with keepGuard %v", err, r.stops)
	}
}

func TestDownTellsWhatFailed(t *testing.T) {
	r := start(t, &fakeGateway{stopErr: errors.New("rule 4200 is stuck")}, conf.Hooks{PreDown: [][]string{{"false"}}})
	status, _, stderr := call("", "down", "--run-dir", r.dir)
	if status != 1 || !strings.Contains(stderr, "rule 4200 is stuck") {
		t.Errorf("down: %d, %s", status, stderr)
	}
	if err := r.end(t); err == nil {
		t.Error("the daemon ends well although its router did not")
	}
	if !strings.Contains(r.log.String(), "pre_down") {
		t.Errorf("the hook that failed is not in the log: %s", r.log.String())
	}
}

// TestTwoStops: both who ask get the one answer.
func TestTwoStops(t *testing.T) {
	r := start(t, &fakeGateway{}, conf.Hooks{PreDown: [][]string{{"sleep", "0.2"}}})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			if err := control.NewClient(r.dir).Stop(context.Background(), false); err != nil && !errors.Is(err, control.ErrNotRunning) {
				t.Errorf("Stop: %v", err)
			}
		})
	}
	wg.Wait()
	if err := r.end(t); err != nil || len(r.stops) != 1 {
		t.Errorf("ended with %v after %d stops", err, len(r.stops))
	}
}

func TestHooks(t *testing.T) {
	var log buffer
	l := slog.New(slog.NewTextHandler(&log, nil))
	err := runHooks(t.Context(), l, "pre_up", [][]string{{"echo", "one"}, {"sh", "-c", "echo two >&2; exit 3"}, {"echo", "three"}})
	if err == nil || !strings.Contains(err.Error(), "pre_up") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("a hook that fails: %v", err)
	}
	if s := log.String(); !strings.Contains(s, "one") || !strings.Contains(s, "two") || strings.Contains(s, "three") {
		t.Errorf("the log has %s; want what the first two said, and no third", s)
	}
	if err := runHooks(t.Context(), l, "pre_up", [][]string{{"/no/such/program"}}); err == nil {
		t.Error("a program that does not exist runs")
	}
}

func TestStatusText(t *testing.T) {
	prefixes := []netip.Prefix{netip.MustParsePrefix("192.168.77.1/24")}
	now := time.Unix(100000, 0)
	var out bytes.Buffer
	printStatus(&out, control.Status{
		Version: "v1.0.0", PID: 321, Uptime: 3723.4, File: "home.toml", TUN: "turnout0", Flows: 12,
		LAN: []control.LAN{{Interface: "eth1", Prefixes: prefixes}},
		Tunnels: []control.Tunnel{{Name: "sweden", Addresses: prefixes, MTU: 1420, ListenPort: 40000, Peers: []control.Peer{
			{PublicKey: "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=", Endpoint: "198.51.100.7:51820", LastHandshake: now.Add(-90 * time.Second), Rx: 1 << 20, Tx: 999},
			{PublicKey: "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08="}}}},
		Exits: []control.Exit{{Name: "direct", Packets: 7, Bytes: 7000}, {Name: "sweden", Packets: 123456, Bytes: 1 << 32, PacketsBack: 9, BytesBack: 1024},
			{Name: "stream", Live: "sweden"}},
		Drops: []control.Drop{{Reason: "no-flow", Text: "nothing on the LAN asked for it", Packets: 4}},
	}, now)
	golden(t, ".", "status.txt", out.String())
}

// listenNotify plays systemd: it returns what the process tells it.
func listenNotify(t *testing.T) <-chan string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	states := make(chan string, 10)
	go func() {
		defer close(states)
		for b := make([]byte, 100); ; {
			n, err := c.Read(b)
			if err != nil {
				return
			}
			states <- string(b[:n])
		}
	}()
	return states
}
