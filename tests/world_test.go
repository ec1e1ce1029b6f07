package tests

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"turnout/tests/netlab"
)

// A world is what a test plays in: a lab and the policy of its gateway.
type world struct {
	netlab.Options
	Default string              // exit; "sweden" if empty
	Head    string              // top-level tables and keys of turnout.toml beside [lan] and [[tunnel]]
	Tunnel  map[string]string   // further keys of a [[tunnel]]
	Peer    map[string][]string // further lines of a provider's [Peer]
	Link    map[string]string   // further lines of a provider's [Interface]
	Before  func(*testing.T, *netlab.Lab)
}

// A run is a world whose gateway is up.
type run struct {
	*netlab.Lab
	File   string
	Daemon *netlab.Daemon
}

// build makes the lab and writes the configuration, and starts nothing.
func (w world) build(t *testing.T) *run {
	t.Helper()
	need(t)
	w.Binary = turnout(t)
	w.Self = []string{w.Binary, "demo"}
	if _, err := exec.LookPath("wg"); err == nil && w.Configure == nil {
		w.Configure = configureByTool
	}
	lab, err := netlab.New(w.Options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lab.Close(); err != nil {
			t.Error(err)
		}
	})
	if w.Before != nil {
		w.Before(t, lab)
	}
	r := &run{Lab: lab}
	for _, s := range lab.Servers {
		text := s.WGQuick(w.Peer[s.Name]...)
		text = strings.Replace(text, "[Peer]", w.Link[s.Name]+"\n[Peer]", 1)
		r.write(t, s.Name+".conf", text)
	}
	r.File = r.write(t, "turnout.toml", w.toml(lab))
	return r
}

// up builds the world and brings its gateway up.
func (w world) up(t *testing.T) *run {
	t.Helper()
	r := w.build(t)
	r.up(t)
	return r
}

func (w world) toml(lab *netlab.Lab) string {
	if w.Default == "" {
		w.Default = "sweden"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "default = %q\n[lan]\ninterfaces = [%q]\n", w.Default, lab.LANInterface())
	for _, s := range lab.Servers {
		fmt.Fprintf(&b, "[[tunnel]]\nname = %q\nconfig = %q\n%s\n", s.Name, s.Name+".conf", w.Tunnel[s.Name])
	}
	return b.String() + w.Head
}

// configureByTool sets a server up as its administrator would.
func configureByTool(s *netlab.Server) error {
	_, err := s.Feed(s.SetConf(), "wg", "setconf", "wg0", "/dev/stdin")
	return err
}

// up starts the daemon and fails the test if it does not become ready.
func (r *run) up(t *testing.T, args ...string) {
	t.Helper()
	d, err := r.Gateway.Up(r.File, args...)
	if err != nil {
		t.Fatal(err)
	}
	r.Daemon = d
	t.Cleanup(func() {
		if strings.Contains(d.Log(), "DATA RACE") || strings.Contains(d.Log(), "panic:") {
			t.Error("the daemon has raced or panicked")
		}
		if t.Failed() {
			t.Logf("the daemon said:\n%s", d.Log())
		}
	})
}

func (r *run) write(t *testing.T, name, text string) string {
	t.Helper()
	path, err := r.Gateway.Write(name, text)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// on runs a command in a node and fails the test if it fails.
func on(t *testing.T, n *netlab.Node, name string, args ...string) string {
	t.Helper()
	out, err := n.Run(name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// nft loads a ruleset into a node.
func nft(t *testing.T, n *netlab.Node, rules string) {
	t.Helper()
	if _, err := n.Feed(rules, "nft", "-f", "-"); err != nil {
		t.Fatal(err)
	}
}

func (r *run) watch(t *testing.T) *netlab.Watcher {
	t.Helper()
	w, err := r.WatchUplink()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

// arrives plays a flow of a host and checks exit and masquerade.
func (r *run) arrives(h *netlab.Host, f netlab.Flow, exit string) error {
	got, err := h.Probe(f)
	if err != nil {
		return fmt.Errorf("%v of %s: %w", f, h.Name, err)
	}
	if got.Exit != exit {
		return fmt.Errorf("%v of %s takes exit %q (%s), want %q", f, h.Name, got.Exit, got.Detail, exit)
	}
	want := got.Seen
	if s := r.Server(exit); s != nil {
		want = s.Client
	} else if exit == netlab.Direct {
		want = r.UplinkAddr()
	}
	if got.Seen != want {
		return fmt.Errorf("%v of %s arrives at %s from %v, want %v", f, h.Name, exit, got.Seen, want)
	}
	return nil
}

// all checks several things at once and joins what went wrong.
func all[T any](items []T, f func(T) error) error {
	errs := make(chan error, len(items))
	for _, it := range items {
		go func() { errs <- f(it) }()
	}
	var joined []error
	for range items {
		joined = append(joined, <-errs)
	}
	return errors.Join(joined...)
}

// everyProtocol is one flow of each kind to an address.
func everyProtocol(i int) []netlab.Flow {
	return []netlab.Flow{
		{Proto: "tcp", Dst: netlab.Internet[i], Port: 443},
		{Proto: "udp", Dst: netlab.Internet[i], Port: 443},
		{Proto: "icmp", Dst: netlab.Internet[i]},
	}
}
