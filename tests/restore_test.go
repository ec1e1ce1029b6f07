package tests

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"turnout/tests/netlab"
)

// However the router ends, the host is byte for byte what it was.
func TestHostIsRestored(t *testing.T) {
	for _, layout := range []netlab.Layout{netlab.TwoLegs, netlab.Stick} {
		for _, end := range []struct {
			name string
			do   func(*testing.T, *run)
		}{
			{"SIGTERM", func(t *testing.T, r *run) {
				if status, err := r.Daemon.Stop(); err != nil || status != 0 {
					t.Errorf("the daemon ends with status %d, %v", status, err)
				}
			}},
			{"down", down},
			{"down after kill -9", func(t *testing.T, r *run) {
				r.Daemon.Kill()
				down(t, r)
			}},
			{"down after kill -9 and a new up", func(t *testing.T, r *run) {
				r.Daemon.Kill()
				r.up(t)
				down(t, r)
			}},
		} {
			t.Run(fmt.Sprintf("%v, %s", layout, end.name), func(t *testing.T) {
				t.Parallel()
				r := world{Options: netlab.Options{Layout: layout, IPv6: true}, Peer: byTunnel}.build(t)
				before := snapshot(t, r.Gateway.Node)
				r.up(t)
				if snapshot(t, r.Gateway.Node) == before {
					t.Error("up changes nothing: the snapshot is blind")
				}
				if err := all(everyProtocol(0), func(f netlab.Flow) error { return r.arrives(r.Hosts[0], f, "sweden") }); err != nil {
					t.Error(err)
				}
				end.do(t, r)
				same(t, "after "+end.name, before, snapshot(t, r.Gateway.Node))
			})
		}
	}
}

// The log may end before the router does, as in "turnout up FILE 2>&1 | tee",
// where Ctrl-C ends both.
func TestHostIsRestoredWithoutALog(t *testing.T) {
	t.Parallel()
	r := world{}.build(t)
	before := snapshot(t, r.Gateway.Node)
	log, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(turnout(t), "up", r.File, "--run-dir", r.RunDir(), "--state-dir", r.StateDir())
	cmd.Stderr = w
	err = r.Gateway.Start(cmd)
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(log); lines.Scan() && !strings.Contains(lines.Text(), "msg=ready"); {
	}
	log.Close()
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Errorf("the daemon ends with %v", err)
	}
	same(t, "after SIGTERM", before, snapshot(t, r.Gateway.Node))
}

// down runs the verb and waits for the daemon to be gone.
func down(t *testing.T, r *run) {
	t.Helper()
	_, stderr, status, err := r.Gateway.Turnout("down", "--run-dir", r.RunDir())
	if err != nil || status != 0 {
		t.Errorf("turnout down: status %d, %v: %s", status, err, stderr)
	}
	if _, err := r.Daemon.Wait(5 * time.Second); err != nil {
		t.Error(err)
	}
}

func TestSecondUpRefuses(t *testing.T) {
	t.Parallel()
	r := world{}.up(t)
	before := snapshot(t, r.Gateway.Node)
	second, err := r.Gateway.StartUp(r.File)
	if err != nil {
		t.Fatal(err)
	}
	status, err := second.Wait(5 * time.Second)
	if err != nil || status != 1 {
		t.Errorf("the second up ends with status %d, %v; want 1", status, err)
	}
	if said := second.Log(); !strings.Contains(said, "already") {
		t.Errorf("the second up does not say that one runs already:\n%s", said)
	}
	same(t, "after a second up", before, snapshot(t, r.Gateway.Node))
	if err := r.arrives(r.Hosts[0], everyProtocol(0)[0], "sweden"); err != nil {
		t.Errorf("after a second up: %v", err)
	}
}

// place is where an error stands: a file of the configuration and, when
// it is not about all of it, a line.
var place = regexp.MustCompile(`\.(toml|conf):([0-9]+:)? `)

// A configuration that is wrong, in each of the ways that conf knows, is refused
// before anything is touched.
func TestBadConfigurationTouchesNothing(t *testing.T) {
	t.Parallel()
	r := world{}.build(t)
	before := snapshot(t, r.Gateway.Node)
	var files []string
	for _, pattern := range []string{"*.toml", "*.conf"} {
		list, err := filepath.Glob(filepath.Join("..", "conf", "testdata", "bad", pattern))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, list...)
	}
	if len(files) < 30 {
		t.Fatalf("only %d bad configurations", len(files))
	}
	for _, file := range files {
		d, err := r.Gateway.StartUp(file, "--lan", r.LANInterface())
		if err != nil {
			t.Fatal(err)
		}
		status, err := d.Wait(5 * time.Second)
		if err != nil || status != 2 {
			t.Errorf("%s ends with status %d, %v; want 2. It said:\n%s", file, status, err, d.Log())
		}
		if !place.MatchString(d.Log()) {
			t.Errorf("%s: the error does not say where:\n%s", file, d.Log())
		}
	}
	same(t, "after bad configurations", before, snapshot(t, r.Gateway.Node))
}
