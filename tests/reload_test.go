package tests

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"turnout/tests/netlab"
)

// change replaces text in the configuration in force.
func (r *run) change(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(r.File)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(b), from, to, 1)
	if text == string(b) {
		t.Fatalf("%s has no %q", r.File, from)
	}
	r.write(t, "turnout.toml", text)
}

// reload runs the verb and wants its exit status.
func (r *run) reload(t *testing.T, status int, args ...string) (stdout, stderr string) {
	t.Helper()
	stdout, stderr, got, err := r.Gateway.Turnout("reload", append(args, "--run-dir", r.RunDir())...)
	if err != nil || got != status {
		t.Fatalf("reload %v: status %d, %v, want %d\n%s%s", args, got, err, status, stdout, stderr)
	}
	return stdout, stderr
}

// asks sends a line or datagram and returns the first word of the answer: over
// UDP who answers, over TCP what was sent.
func asks(c net.Conn) (string, error) {
	c.SetDeadline(time.Now().Add(3 * time.Second))
	if _, err := c.Write([]byte("who\n")); err != nil {
		return "", err
	}
	answer, err := bufio.NewReader(c).ReadString('\n')
	who, _, _ := strings.Cut(answer, " ")
	return who, err
}

// A session is one connection of each kind, from the first packet on.
type session struct{ udp, tcp net.Conn }

func (r *run) session(t *testing.T) session {
	t.Helper()
	udp, err := r.Hosts[0].DialUDP(netlab.Flow{Proto: "udp", Dst: netlab.Internet[0], Port: 443})
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := r.Hosts[0].Dial(netlab.Flow{Proto: "tcp", Dst: netlab.Internet[0], Port: 443, Wait: 3 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { udp.Close(); tcp.Close() })
	if _, err := tcp.Write([]byte("echo\n")); err != nil {
		t.Fatal(err)
	}
	return session{udp, tcp}
}

// through wants the far end of an exit to answer the datagrams, and the
// connection to live: only the far end where it began knows it.
func (s session) through(t *testing.T, exit string) {
	t.Helper()
	if who, err := asks(s.udp); err != nil || who != exit {
		t.Errorf("udp: %q answers (%v), want %s", who, err, exit)
	}
	if word, err := asks(s.tcp); err != nil || strings.TrimSpace(word) != "who" {
		t.Errorf("tcp by %s: %q, %v", exit, word, err)
	}
}

// Flows keep their exit when policy changes under them, new ones follow the
// new policy, and --repin moves all.
func TestReloadKeepsFlows(t *testing.T) {
	t.Parallel()
	r := world{}.up(t)
	watch := r.watch(t)
	old := r.session(t)
	old.through(t, "sweden")

	r.change(t, `default = "sweden"`, `default = "japan"`)
	stdout, _ := r.reload(t, 0)
	if !strings.Contains(stdout, "is in force") {
		t.Errorf("reload says %q", stdout)
	}
	old.through(t, "sweden")
	middle := r.session(t)
	middle.through(t, "japan")
	if err := all(everyProtocol(1), func(f netlab.Flow) error { return r.arrives(r.Hosts[0], f, "japan") }); err != nil {
		t.Error(err)
	}

	r.reload(t, 0, "--repin")
	if who, err := asks(old.udp); who != "japan" {
		t.Errorf("after --repin %q answers (%v), want japan", who, err)
	}
	begun := time.Now()
	if who, err := asks(old.tcp); !errors.Is(err, syscall.ECONNRESET) || time.Since(begun) > time.Second {
		t.Errorf("after --repin a connection by sweden: %q answers, %v, after %v; want a reset at once", who, err, time.Since(begun))
	}
	middle.through(t, "japan") // who gets the exit it has goes on

	// The signal does the same as the verb.
	r.change(t, `default = "japan"`, `default = "office"`)
	syscall.Kill(r.Daemon.PID(), syscall.SIGHUP)
	for end := time.Now().Add(5 * time.Second); strings.Count(r.Daemon.Log(), "msg=reloaded") < 3; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("SIGHUP does not reload")
		}
	}
	middle.through(t, "japan")
	r.session(t).through(t, "office")
	if err := watch.Leaks(); err != nil {
		t.Error(err)
	}
}

// A rule may name a tunnel that nothing named before: the device carries it.
func TestReloadWidens(t *testing.T) {
	t.Parallel()
	w := world{Default: netlab.Direct, Peer: map[string][]string{"office": {"AllowedIPs = 10.99.0.0/16"}}}
	r := w.up(t)
	r.write(t, "video.txt", "198.51.100.2\n198.51.100.3 # one more\n")
	r.change(t, "[lan]", "[[set]]\nname = \"video\"\nfile = \"video.txt\"\n[[rule]]\nto = \"@video\"\nnot_to = \"198.51.100.3\"\nvia = \"office\"\n[lan]")
	_, stderr := r.reload(t, 0)
	if !strings.Contains(stderr, "tunnel office is widened") {
		t.Errorf("reload does not say that it widens: %q", stderr)
	}
	for dst, exit := range map[int]string{0: netlab.Direct, 1: "office", 2: netlab.Direct, 4: "office"} {
		if err := all(everyProtocol(dst), func(f netlab.Flow) error { return r.arrives(r.Hosts[0], f, exit) }); err != nil {
			t.Error(err)
		}
	}
}

// What cannot be taken over is refused as a whole, and all goes on as before.
func TestReloadRefuses(t *testing.T) {
	t.Parallel()
	r := world{}.up(t)
	s := r.session(t)
	good, err := os.ReadFile(r.File)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ from, to, want string }{
		{`default = "sweden"`, `default = "norway"`, `turnout.toml:1: default = "norway" is no exit`},
		{`default = "sweden"`, `default = "drop`, "is not TOML"},
		{`[lan]`, "[host]\ntable = 99\n[lan]", "[host]: Table differs"},
		{`name = "japan"`, `name = "norway"`, "tunnel norway is new; tunnel japan is gone"},
		{`default = "sweden"`, "default = \"drop\"\n[uplink]\ninterfaces = [\"eth0\"]", "[uplink]: Interfaces differs"},
	} {
		r.change(t, c.from, c.to)
		if _, stderr := r.reload(t, 1); !strings.Contains(stderr, c.want) {
			t.Errorf("%s: %q, want %q", c.to, stderr, c.want)
		}
		r.write(t, "turnout.toml", string(good))
		s.through(t, "sweden")
	}
	if _, stderr := r.reload(t, 1, fmt.Sprint(r.File, ".none")); !strings.Contains(stderr, "no such file") {
		t.Errorf("a file that is not there: %q", stderr)
	}
	r.session(t).through(t, "sweden")
}
