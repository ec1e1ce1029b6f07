package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket/layers"
	"golang.org/x/sys/unix"
)

// A dyingLog ends what logs to it at the nth step, as a kill would: nothing
// comes after.
type dyingLog struct {
	slog.Handler
	left int
}

var errDied = errors.New("died at a step")

func (d *dyingLog) Enabled(context.Context, slog.Level) bool { return true }
func (d *dyingLog) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "host" {
		if d.left == 0 {
			panic(errDied)
		}
		d.left--
	}
	return nil
}

// setUntil dies before step n of Set; it reports whether there is such a step.
func (w *world) setUntil(s Spec, n int) (died bool) {
	w.t.Helper()
	s.Log = slog.New(&dyingLog{slog.DiscardHandler, n})
	err := w.gateway.do(func() (err error) {
		defer func() {
			if r := recover(); r != nil {
				err = r.(error)
			}
		}()
		_, err = Set(s)
		return err
	})
	if err != nil && !errors.Is(err, errDied) {
		w.t.Fatal(err)
	}
	return err != nil
}

// insideClosed asks every way when the process is gone, and lets a service of
// the gateway answer late: nothing may leave.
func (w *world) insideClosed(late func()) {
	w.t.Helper()
	watch := w.gateway.watch(w.uplink)
	late()
	for _, to := range []string{fmt.Sprintf("%s:%d", gatewayLAN, listenUDP), remote + ":7", tunneled + ":7"} {
		if got, err := w.host.ask(to, 200*time.Millisecond); err == nil {
			w.t.Errorf("%s answered %q without a process", to, got)
		}
	}
	if seen := append(watch.leaks(), watch.matching(about(Inside.String()))...); len(seen) > 0 {
		w.t.Errorf("%d packets left by the uplink, first % x", len(seen), seen[0])
	}
}

// conversations holds one of each kind, and returns what makes the LAN host and
// the gateway go on with theirs.
func (w *world) conversations(f *innerPeer) (goOn func()) {
	w.t.Helper()
	own, theirs := w.gateway.listen(gatewayLAN+":0"), w.host.listen(lanHost+":0")
	from := f.port()
	for _, c := range []*net.UDPConn{own, theirs} {
		f.sendUDP(from, c.LocalAddr().(*net.UDPAddr).AddrPort(), "hello")
	}
	b := make([]byte, 64)
	own.SetReadDeadline(time.Now().Add(patience))
	_, asked, err := own.ReadFromUDPAddrPort(b)
	theirs.SetReadDeadline(time.Now().Add(patience))
	_, heard, err2 := theirs.ReadFromUDPAddrPort(b)
	if err = errors.Join(err, err2); err != nil {
		w.t.Fatal(err)
	}
	return func() {
		own.WriteToUDPAddrPort([]byte("late"), asked)
		theirs.WriteToUDPAddrPort([]byte("late"), heard)
	}
}

func TestInsideCrash(t *testing.T) {
	for name, cut := range map[string]func(w *world){
		"both layers": func(*world) {},
		"route only":  func(w *world) { w.gateway.run("nft", "delete", "table", "inet", "turnout") },
		"guard only, rules gone": func(w *world) {
			w.gateway.ip("rule flush")
			w.gateway.ip("rule add priority 32766 lookup main")
			w.gateway.ip("rule add priority 32767 lookup default")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			layouts(t, func(t *testing.T, stick bool) {
				w := newWorld(t, stick)
				w.serve()
				w.insideServe()
				// Translations live on without our table, in another's hooks.
				w.gateway.nft(`table ip f { chain c { type nat hook postrouting priority srcnat; }; chain d { type nat hook prerouting priority dstnat; }; }`)
				before := w.snapshot()
				f := newInnerPeer(w.startProcess())
				w.set(w.insideSpec())
				goOn := w.conversations(f)
				f.p.kill()
				cut(w)
				w.insideClosed(goOn)
				f = newInnerPeer(w.startProcess())
				w.set(w.insideSpec())
				w.insideWorks(f)
				w.restore(false)
				f.p.kill()
				wantEqual(t, "after the crash, Set and Restore", w.snapshot(), before)
			})
		})
	}
}

// Set dies before each of its steps, on the way from one Spec to another.
func TestInsideCrashInSet(t *testing.T) {
	for name, specs := range map[string][2]func(*world) Spec{
		"switched on":  {(*world).spec, (*world).insideSpec},
		"switched off": {(*world).insideSpec, (*world).spec},
	} {
		steps := 0
		w := newWorld(t, false)
		p := w.startProcess()
		for w.set(specs[0](w)); w.setUntil(specs[1](w), steps); steps++ {
			w.set(specs[0](w))
		}
		p.kill()
		if steps < 8 {
			t.Fatalf("%s: only %d steps", name, steps)
		}
		for n := range steps {
			t.Run(fmt.Sprintf("%s, step %d", name, n), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, false)
				before := w.snapshot()
				f := newInnerPeer(w.startProcess())
				first := specs[0](w)
				w.set(first)
				goOn := func() {}
				if first.usesInside() {
					goOn = w.conversations(f)
				}
				if !w.setUntil(specs[1](w), n) {
					t.Error("there is no such step")
				}
				f.p.kill()
				w.insideClosed(goOn)
				f = newInnerPeer(w.startProcess())
				w.insideServe()
				w.set(w.insideSpec())
				w.insideWorks(f)
				w.restore(false)
				f.p.kill()
				wantEqual(t, "after death, Set and Restore", w.snapshot(), before)
			})
		}
	}
}

// A running router gets it and loses it again.
func TestInsideOnAndOff(t *testing.T) {
	layouts(t, func(t *testing.T, stick bool) {
		w := newWorld(t, stick)
		w.serve()
		before := w.snapshot()
		f := newInnerPeer(w.startProcess())
		w.set(w.spec())
		plain := w.snapshot()
		w.insideServe()
		for range 2 {
			w.set(w.insideSpec())
			w.insideWorks(f)
			goOn := w.conversations(f)
			w.set(w.spec())
			// One chain stays, for what the gateway still has to say.
			watch := w.gateway.watch(w.uplink)
			goOn()
			if seen := watch.matching(about(Inside.String())); len(seen) > 0 {
				t.Errorf("%d packets left by the uplink, first % x", len(seen), seen[0])
			}
			if got, err := w.host.ask(fmt.Sprintf("%s:%d", gatewayLAN, listenUDP), 300*time.Millisecond); err == nil {
				t.Errorf("the process still answered %q", got)
			}
			if flows := w.gateway.run("conntrack", "-L"); strings.Contains(flows, Inside.String()) {
				t.Errorf("conntrack still knows:\n%s", flows)
			}
			w.works()
		}
		w.gateway.run("nft", "delete", "chain", "inet", "turnout", "inside")
		w.gateway.run("nft", "flush", "set", "inet", "turnout", "inbound")
		wantEqual(t, "switched off", w.snapshot(), plain)
		w.restore(false)
		f.p.kill()
		wantEqual(t, "after Restore", w.snapshot(), before)
	})
}

// After Restore, with and without the guard, no old translation leads a LAN
// host's packets away.
func TestInsideIsForgotten(t *testing.T) {
	for _, keepGuard := range []bool{false, true} {
		w := newWorld(t, false)
		w.gateway.setSysctl(ipForward, "1")
		w.gateway.nft(`table ip f { chain c { type nat hook postrouting priority srcnat; }; chain d { type nat hook prerouting priority dstnat; }; }`)
		f := newInnerPeer(w.startProcess())
		w.set(w.insideSpec())
		theirs := w.host.listen(lanHost + ":55")
		from := f.port()
		f.sendUDP(from, port(lanHost, 55), "hello")
		theirs.SetReadDeadline(time.Now().Add(patience))
		_, heard, err := theirs.ReadFromUDPAddrPort(make([]byte, 64))
		if err != nil {
			t.Fatal(err)
		}
		watch := w.gateway.watch(w.uplink)
		w.restore(keepGuard)
		theirs.WriteToUDPAddrPort([]byte("late"), heard)
		if seen := watch.matching(about(Inside.String())); len(seen) > 0 {
			t.Errorf("%d packets left by the uplink, first % x", len(seen), seen[0])
		}
	}
}

// Whoever sends to or from the address outright is not heard, and the process
// itself is not heard but on the LAN.
func TestInsidePretenders(t *testing.T) {
	layouts(t, func(t *testing.T, stick bool) {
		w := newWorld(t, stick)
		f := newInnerPeer(w.startProcess())
		s := w.insideSpec()
		s.Listen = append(s.Listen, Port{unix.IPPROTO_UDP, 6000, 65535})
		w.set(s)
		inside := Inside.String()
		own := w.gateway.listen(gatewayLAN + ":55")
		w.internet.ip("route add " + inside + " via " + w.public())
		w.internet.ip("route replace " + lanHost + " via " + w.public())
		watch := w.gateway.watch(w.uplink)
		for _, n := range []*node{w.host, w.internet} {
			s := w.sender(n)
			for range 3 {
				s.udp(lanHost+":9007", inside+":40001", 64)
				s.udp(remote+":9007", inside+":6000", 64)
				s.udp(inside+":40001", w.public()+":55", 64)
				s.udp(inside+":40001", lanHost+":9007", 64)
			}
		}
		if w.uplink == "lan0" {
			// On a stick the world comes by the LAN's interface; a listed port
			// is not listed for it.
			listed := w.gateway.listen(gatewayLAN + ":6000")
			w.sender(w.internet).udp(remote+":9007", gatewayLAN+":6000", 64)
			listed.SetReadDeadline(time.Now().Add(patience))
			if _, _, err := listed.ReadFromUDPAddrPort(make([]byte, 64)); err != nil {
				t.Errorf("the gateway's own service was told nothing by the world: %v", err)
			}
		}
		for _, to := range []string{remote, tunneled} {
			f.sendUDP(f.port(), port(to, 7), "out?")
			f.send(f.port(), port(to, 0), 64, echoRequest(1))
		}
		f.send(f.port(), netip.AddrPortFrom(Inside, 7), 64, udp(f.port(), f.port()))
		if seen := append(watch.matching(about(inside)), watch.leaks()...); len(seen) > 0 {
			t.Errorf("%d packets left by the uplink, first % x", len(seen), seen[0])
		}
		select {
		case packet := <-f.heard:
			t.Errorf("the process was told %v", packet)
		default:
		}
		own.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		if _, from, err := own.ReadFromUDPAddrPort(make([]byte, 64)); err == nil {
			t.Errorf("the gateway's own service was told something by %s", from)
		}
	})
}

// What the process says to the LAN is said as the gateway, and there, or not at all.
func TestInsideOnTheLANOnly(t *testing.T) {
	w := newWorld(t, false)
	f := newInnerPeer(w.startProcess())
	w.set(w.insideSpec())
	// An answer to nothing: conntrack does not translate it.
	lan := w.gateway.watch("lan0")
	f.sendTCP(f.port(), port(lanHost, 7), &layers.TCP{SYN: true, ACK: true}, "")
	if seen := lan.matching(about(Inside.String())); len(seen) > 0 {
		t.Errorf("%d packets of %s on the LAN, first % x", len(seen), Inside, seen[0])
	}
	// With the LAN's route gone, main leads its prefix elsewhere.
	watch := w.gateway.watch("wan0")
	w.gateway.ip("link set lan0 down")
	f.sendUDP(f.port(), port(lanHost, 7), "out?")
	if seen := watch.matching(about(lanHost)); len(seen) > 0 {
		t.Errorf("%d packets for the LAN left by the uplink, first % x", len(seen), seen[0])
	}
}

func TestInsideSpecs(t *testing.T) {
	w := newWorld(t, false)
	w.startProcess()
	refused := func(what, want string, change func(s *Spec)) {
		t.Helper()
		s := w.insideSpec()
		change(&s)
		err := w.gateway.do(func() error { _, err := Set(s); return err })
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q in it", what, err, want)
		}
	}
	for _, p := range []Port{{6, 0, 5}, {6, 5, 4}, {1, 5, 5}} {
		refused("a port", "cannot be listened at", func(s *Spec) { s.Listen = []Port{p} })
	}
	refused("a network", "192.0.0.0/24 contains 192.0.0.6", func(s *Spec) { s.Local = []netip.Prefix{netip.MustParsePrefix("192.0.0.0/24")} })
	w.gateway.ip("addr add 192.0.0.6/32 dev lo")
	refused("the address itself", "the host has it", func(*Spec) {})
	if err := w.gateway.do(func() error { _, err := Set(w.spec()); return err }); err != nil {
		t.Errorf("a plain Spec minds the address: %v", err)
	}
}

func TestInsideAsDrawn(t *testing.T) {
	w := newWorld(t, false)
	w.startProcess()
	s := w.insideSpec()
	want, err := os.ReadFile("testdata/inside.nft")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := os.ReadFile("testdata/inside.rules")
	if err != nil {
		t.Fatal(err)
	}
	list := []string{"-s", "list", "table", "inet", "turnout"}
	clean := newNode(t)
	clean.nft(string(want))
	for _, when := range []string{"after Set", "after Set again"} {
		w.set(s)
		wantEqual(t, "the table "+when, w.gateway.run("nft", list...), clean.run("nft", list...))
		wantEqual(t, "the rules "+when, trim("$ ip -4 rule\n"+w.gateway.ip("-4 rule")+"$ ip route show table 7077\n"+w.gateway.ip("route show table 7077")), string(rules))
	}
	w.gateway.nft("flush ruleset\n" + w.gateway.run("nft", "list", "ruleset"))
}
