package netlab

import (
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if status, played := Child(); played {
		os.Exit(status)
	}
	if NeedsUserNS() {
		if status, err := EnterUserNS(os.Args); err == nil {
			os.Exit(status)
		}
	}
	os.Exit(m.Run())
}

// lab makes a world and, in it, a gateway that only the kernel plays: plain
// forwarding with masquerade, so that the lab is tested without the product.
func lab(t *testing.T, o Options) *Lab {
	t.Helper()
	if err := Possible(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	o.Self = []string{exe}
	l, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// forward lets the gateway's kernel route the LAN to the uplink, as a router
// without a masquerade; the lab's router learns the way back.
func forward(t *testing.T, l *Lab) {
	t.Helper()
	if err := l.Gateway.Sysctl("net.ipv4.ip_forward", "1"); err != nil {
		t.Fatal(err)
	}
	if l.Options.Layout == TwoLegs {
		if err := l.Router.Route(LAN, l.UplinkAddr(), "up0"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFarEndsSayWhoTheyAre(t *testing.T) {
	for _, layout := range []Layout{TwoLegs, Stick} {
		t.Run(layout.String(), func(t *testing.T) {
			t.Parallel()
			l := lab(t, Options{Layout: layout, Hosts: 2})
			forward(t, l)
			for _, f := range []Flow{
				{Proto: "tcp", Dst: Internet[0], Port: 443},
				{Proto: "udp", Dst: Internet[1], Port: 53, DSCP: 46},
				{Proto: "icmp", Dst: Internet[3]},
			} {
				h := l.Hosts[1]
				r, err := h.Probe(f)
				if err != nil {
					t.Fatalf("%v: %v", f, err)
				}
				if r.Exit != Direct || r.Seen != h.Addr {
					t.Errorf("%v arrives at %q from %v, want %q from %v", f, r.Exit, r.Seen, Direct, h.Addr)
				}
			}
		})
	}
}

// The servers work with a plain client too, and answer as themselves.
func TestPlainTunnelsReachTheirServers(t *testing.T) {
	t.Parallel()
	l := lab(t, Options{})
	for i, s := range l.Servers {
		dev := "t" + s.Name
		if err := l.PlainTunnel(s, dev); err != nil {
			t.Fatal(err)
		}
		if err := l.Gateway.Route(host(Internet[i]), netip.Addr{}, dev); err != nil {
			t.Fatal(err)
		}
		self := &Host{Node: l.Gateway.Node, Addr: s.Client, lab: l}
		r, err := self.Probe(Flow{Proto: "tcp", Dst: Internet[i], Port: 443})
		if err != nil || r.Exit != s.Name || r.Seen != s.Client {
			t.Errorf("through the tunnel to %s: %+v, %v", s.Name, r, err)
		}
	}
}

func TestProbeTellsDropFromReject(t *testing.T) {
	t.Parallel()
	l := lab(t, Options{})
	h := l.Hosts[0]
	// The gateway does not forward: silence.
	flow := Flow{Proto: "tcp", Dst: Internet[0], Port: 443, Wait: 300 * time.Millisecond}
	if r, err := h.Probe(flow); err != nil || r.Exit != Drop {
		t.Errorf("without forwarding: %+v, %v; want a drop", r, err)
	}
	// A port where nobody listens: refused.
	forward(t, l)
	flow.Port = 9
	if r, err := h.Probe(flow); err != nil || r.Exit != Reject {
		t.Errorf("a closed port: %+v, %v; want a rejection", r, err)
	}
	for _, proto := range []string{"udp", "icmp"} {
		nowhere := Flow{Proto: proto, Dst: netip.MustParseAddr("192.0.2.250"), Port: 9, Wait: 300 * time.Millisecond}
		r, err := h.Probe(nowhere)
		if err == nil && (r.Exit == Direct || l.Server(r.Exit) != nil) {
			t.Errorf("%s to nobody arrives at %+v", proto, r)
		}
	}
}

func TestBulkComparesChecksums(t *testing.T) {
	t.Parallel()
	l := lab(t, Options{})
	forward(t, l)
	f := Flow{Proto: "tcp", Dst: Internet[0], Port: 80}
	if err := errors.Join(
		l.Hosts[0].Upload(f, 8<<20, 1, 20*time.Second),
		l.Hosts[0].Download(f, 8<<20, 2, 20*time.Second),
	); err != nil {
		t.Error(err)
	}
}

// The positive control: a gateway that leaks is seen to leak.
func TestWatcherSeesALeak(t *testing.T) {
	for _, layout := range []Layout{TwoLegs, Stick} {
		t.Run(layout.String(), func(t *testing.T) {
			t.Parallel()
			l := lab(t, Options{Layout: layout})
			w, err := l.WatchUplink()
			if err != nil {
				t.Fatal(err)
			}
			flow := Flow{Proto: "udp", Dst: Internet[0], Port: 53, Wait: 200 * time.Millisecond}
			if _, err := l.Hosts[0].Probe(flow); err != nil {
				t.Fatal(err)
			}
			if err := w.Leaks(); err != nil {
				t.Fatalf("before the gateway forwards: %v", err)
			}
			forward(t, l)
			if _, err := l.Hosts[0].Probe(flow); err != nil {
				t.Fatal(err)
			}
			err = w.Leaks()
			if err == nil || !strings.Contains(err.Error(), "192.168.77.10") {
				t.Errorf("the watcher says %v, want a leak of 192.168.77.10", err)
			}
		})
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	l := lab(t, Options{})
	dir := l.Dir
	if out, err := l.Servers[0].Run("sh", "-c", "ls /run/wireguard"); err != nil || !strings.Contains(out, "wg0.sock") {
		t.Errorf("the server's own /run: %q, %v", out, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the lab's folder %s is still there (%v)", dir, err)
	}
	if _, err := l.Gateway.Run("true"); err == nil {
		t.Error("a closed node still runs commands")
	}
}
