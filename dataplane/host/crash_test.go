package host

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A killed process takes its TUN device and that device's routes along. What
// is left must close the LAN, either layer alone; the next Set must adopt it,
// and the Restore after it must find the way back to before the first Set.
func TestCrash(t *testing.T) {
	layers := map[string]func(g *node){
		"both layers": func(*node) {},
		"route only":  func(g *node) { g.run("nft", "delete", "table", "inet", "turnout") },
		"guard only": func(g *node) {
			g.ip("route del unreachable default table 7077 metric 4278198272")
		},
		"guard only, rules gone": func(g *node) {
			g.ip("rule flush")
			g.ip("rule add priority 32766 lookup main")
			g.ip("rule add priority 32767 lookup default")
		},
		"links ignored when down": func(g *node) {
			g.setSysctl(conf4+"/all/ignore_routes_with_linkdown", "1")
			g.run("nft", "delete", "table", "inet", "turnout")
		},
	}
	for name, cut := range layers {
		t.Run(name, func(t *testing.T) {
			layouts(t, func(t *testing.T, stick bool) {
				w := newWorld(t, stick)
				w.serve()
				w.gateway.setSysctl(conf4+"/"+w.uplink+"/rp_filter", "1")
				before := w.snapshot()
				p := w.startProcess()
				w.set(w.spec())
				watch := w.gateway.watch(w.uplink)
				w.works() // the positive control
				if len(watch.leaks()) == 0 {
					t.Fatal("the watcher did not see direct traffic: it sees nothing")
				}
				p.kill()
				cut(w.gateway)
				watch = w.gateway.watch(w.uplink)
				w.closed()
				if seen := watch.leaks(); len(seen) > 0 {
					t.Errorf("%d packets left by the uplink, first % x", len(seen), seen[0])
				}
				p = w.startProcess()
				if st := w.set(w.spec()); !st.Adopted {
					t.Error("the second Set did not see that it adopts")
				}
				w.works()
				w.restore(false)
				p.kill()
				if strings.HasPrefix(name, "links") {
					w.gateway.setSysctl(conf4+"/all/ignore_routes_with_linkdown", "0")
				}
				wantEqual(t, "after the crash, Set and Restore", w.snapshot(), before)
			})
		})
	}
}

// Between the crash and Restore no daemon need run.
func TestRestoreAfterCrash(t *testing.T) {
	w := newWorld(t, false)
	before := w.snapshot()
	p := w.startProcess()
	w.set(w.spec())
	p.kill()
	w.restore(false)
	wantEqual(t, "after the crash and Restore", w.snapshot(), before)
}

// The second Set may want something else than the first one left.
func TestAdoptWithAnotherSpec(t *testing.T) {
	w := newWorld(t, false)
	before := w.snapshot()
	p := w.startProcess()
	w.set(w.spec())
	p.kill()
	p = w.startProcess()
	s := w.spec()
	s.Table, s.Priority = 7078, 6000
	w.set(s)
	if rules := w.gateway.ip("rule"); strings.Contains(rules, "5005:") || !strings.Contains(rules, "6005:") {
		t.Errorf("rules after adoption:\n%s", rules)
	}
	if routes := w.gateway.ip("route show table all"); strings.Contains(routes, "table 7077") {
		t.Errorf("routes after adoption:\n%s", routes)
	}
	w.restore(false)
	p.kill()
	wantEqual(t, "after Restore", w.snapshot(), before)
}

// Saved values of an earlier boot say nothing about this one.
func TestStateOfAnotherBoot(t *testing.T) {
	w := newWorld(t, false)
	w.startProcess()
	w.set(w.spec())
	name := filepath.Join(w.runDir, stateFile)
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode of the state file: %v, %v", info.Mode(), err)
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(b), strings.TrimSpace(string(boot)), "another boot")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	w.restore(false)
	if got := w.gateway.sysctl(ipForward); got != "1" {
		t.Errorf("ip_forward was put back to %s by a value of another boot", got)
	}
	if rules := w.gateway.ip("rule"); strings.Contains(rules, "turnout0") {
		t.Errorf("rules left:\n%s", rules)
	}
}

func TestUnreadableState(t *testing.T) {
	for _, text := range []string{"", "{", `{"version": 99}`, "null "} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, stateFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := Restore(dir, false); err == nil || !strings.Contains(err.Error(), stateFile) {
			t.Errorf("Restore from %q: %v", text, err)
		}
	}
}
