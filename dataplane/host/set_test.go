package host

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
)

func layouts(t *testing.T, f func(t *testing.T, stick bool)) {
	t.Helper()
	for name, stick := range map[string]bool{"two legs": false, "stick": true} {
		t.Run(name, func(t *testing.T) { t.Parallel(); f(t, stick) })
	}
}

// serve lets the internet answer, so that works can ask.
func (w *world) serve() {
	w.internet.echo(remote + ":7")
	w.internet.tcpServer(remote + ":7")
}

// works asks through the tunnel and, by UDP and TCP, directly.
func (w *world) works() {
	w.t.Helper()
	if got, err := w.host.ask(tunneled+":7", patience); err != nil || got != "where am I?" {
		w.t.Errorf("through the tunnel: %q, %v", got, err)
	}
	for name, ask := range map[string]func() (string, error){
		"UDP": func() (string, error) { return w.host.ask(remote+":7", patience) },
		"TCP": func() (string, error) { return w.host.askTCP(remote + ":7") },
	} {
		got, err := ask()
		if err != nil || !strings.HasPrefix(got, w.public()+":") {
			w.t.Errorf("direct %s: came from %q, want %s; %v", name, got, w.public(), err)
		}
	}
}

// closed asks every way and fails when something answers.
func (w *world) closed() {
	w.t.Helper()
	for _, to := range []string{remote, tunneled} {
		if got, err := w.host.ask(to+":7", 600e6); err == nil {
			w.t.Errorf("%s answered %q while the LAN should be closed", to, got)
		}
	}
}

func TestTunnelAndDirectWork(t *testing.T) {
	layouts(t, func(t *testing.T, stick bool) {
		w := newWorld(t, stick)
		w.serve()
		w.startProcess()
		w.set(w.spec())
		w.works()
	})
}

// The uplink's reverse-path filter meets rule E, and the TUN device carries
// the whole internet's sources: neither may be strict, whatever all says.
func TestReversePathFilter(t *testing.T) {
	for _, stick := range []bool{false, true} {
		for _, all := range []string{"0", "1", "2"} {
			for _, own := range []string{"0", "1", "2"} {
				t.Run(fmt.Sprintf("stick %v, all %s, interfaces %s", stick, all, own), func(t *testing.T) {
					t.Parallel()
					w := newWorld(t, stick)
					w.serve()
					w.gateway.setSysctl(conf4+"/all/rp_filter", all)
					w.gateway.setSysctl(conf4+"/default/rp_filter", own)
					w.gateway.setSysctl(conf4+"/lan0/rp_filter", own)
					w.gateway.setSysctl(conf4+"/"+w.uplink+"/rp_filter", own)
					before := w.snapshot()
					p := w.startProcess()
					w.set(w.spec())
					w.works()
					w.restore(false)
					p.kill()
					wantEqual(t, "after Restore", w.snapshot(), before)
				})
			}
		}
	}
}

func TestTableAndRulesAsDrawn(t *testing.T) {
	w := newWorld(t, false)
	w.gateway.ip("addr add 2001:db8:77::1/64 dev lan0 nodad")
	w.gateway.ip("link add dmz0 type bridge")
	w.gateway.up("dmz0", "10.9.0.1/24")
	w.startProcess()
	s := w.spec()
	s.Local = []netip.Prefix{netip.MustParsePrefix("10.9.0.0/24")}
	want, err := os.ReadFile("testdata/two-legs.nft")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := os.ReadFile("testdata/two-legs.rules")
	if err != nil {
		t.Fatal(err)
	}
	// Versions of nft print differently: let this one print both.
	list := []string{"-s", "list", "table", "inet", "turnout"}
	clean := newNode(t)
	clean.nft(string(want))
	for _, when := range []string{"after Set", "after Set again"} {
		w.set(s)
		wantEqual(t, "the table "+when, w.gateway.run("nft", list...), clean.run("nft", list...))
		got := ""
		for _, line := range []string{"-4 rule", "-6 rule", "route show table 7077"} {
			got += "$ ip " + line + "\n" + w.gateway.ip(line)
		}
		wantEqual(t, "the rules "+when, trim(got), string(rules))
	}
	// What nft prints it must be able to read: administrators save rulesets.
	w.gateway.nft("flush ruleset\n" + w.gateway.run("nft", "list", "ruleset"))
}

// trim removes the blanks that ip leaves at the ends of lines.
func trim(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	return b.String()
}

func TestRestoreIsExact(t *testing.T) {
	for _, forwarding := range []string{"0", "1"} {
		layouts(t, func(t *testing.T, stick bool) {
			w := newWorld(t, stick)
			g := w.gateway
			g.setSysctl(ipForward, forwarding)
			g.ip("link add other0 type bridge")
			g.setSysctl(conf4+"/other0/forwarding", "1") // alone, against the rest
			g.setSysctl(conf4+"/lan0/forwarding", "0")
			g.setSysctl(conf4+"/lan0/accept_redirects", "0")
			g.setSysctl(conf4+"/all/accept_redirects", "0")
			g.ip("rule add priority 4999 from 10.0.0.1 lookup 42")
			g.ip("rule add priority 5004 to 192.168.77.0/24 iif lan0 lookup 42")
			g.nft(foreignFirewall)
			before := w.snapshot()
			p := w.startProcess()
			s := w.spec()
			s.AdjustFirewall = true
			w.set(s)
			w.set(s)
			if got := g.sysctl(ipForward); got != "1" {
				t.Errorf("ip_forward is %s after Set", got)
			}
			w.restore(false)
			p.kill()
			wantEqual(t, "after Restore", w.snapshot(), before)
			w.restore(false) // with nothing to do
			wantEqual(t, "after a second Restore", w.snapshot(), before)
			if files, err := os.ReadDir(w.runDir); err != nil || len(files) > 0 {
				t.Errorf("left in the run directory: %v, %v", files, err)
			}
		})
	}
}

// What someone else changed meanwhile is theirs.
func TestRestoreKeepsWhatOthersSet(t *testing.T) {
	w := newWorld(t, false)
	g := w.gateway
	g.setSysctl(conf4+"/wan0/rp_filter", "1")
	w.startProcess()
	w.set(w.spec())
	g.setSysctl(conf4+"/wan0/rp_filter", "0")
	g.ip("link add new0 type bridge")
	w.restore(false)
	if got := g.sysctl(conf4 + "/wan0/rp_filter"); got != "0" {
		t.Errorf("wan0/rp_filter is %s, want the later 0", got)
	}
	if got := g.sysctl(conf4 + "/new0/forwarding"); got != "0" {
		t.Errorf("new0/forwarding is %s, want 0 as without us", got)
	}
}

func TestKeepGuard(t *testing.T) {
	layouts(t, func(t *testing.T, stick bool) {
		w := newWorld(t, stick)
		w.serve()
		w.gateway.setSysctl(ipForward, "1")
		before := w.snapshot()
		leaks := w.gateway.watch(w.uplink)
		p := w.startProcess()
		w.set(w.spec())
		w.restore(true)
		p.kill()
		w.closed()
		if seen := leaks.leaks(); len(seen) > 0 {
			t.Errorf("%d packets left by the uplink, first % x", len(seen), seen[0])
		}
		w.restore(false)
		wantEqual(t, "after the guard is gone too", w.snapshot(), before)
	})
}

// A failure leaves the host as it was: a fresh one untouched, one that a crash
// left closed still closed.
func TestFailedSet(t *testing.T) {
	w := newWorld(t, false)
	before := w.snapshot()
	err := w.gateway.do(func() error { _, err := Set(w.spec()); return err }) // no TUN device
	if err == nil || !strings.Contains(err.Error(), "turnout0") {
		t.Errorf("Set without a TUN device: %v", err)
	}
	wantEqual(t, "after the failure", w.snapshot(), before)
	p := w.startProcess()
	w.set(w.spec())
	p.kill()
	before = w.snapshot()
	if err := w.gateway.do(func() error { _, err := Set(w.spec()); return err }); err == nil {
		t.Error("Set without a TUN device after a crash: no error")
	}
	wantEqual(t, "after the failure after a crash", w.snapshot(), before)

	s := w.spec()
	s.Uplinks = append(s.Uplinks, "wwan0") // may come later
	w.startProcess()
	w.set(s)
}
