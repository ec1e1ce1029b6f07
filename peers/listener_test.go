package peers

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"turnout/conf"
)

// runDir is a folder to be mounted over /run, and the folder of sockets in it.
func runDir(t *testing.T) (run, dir string) {
	t.Helper()
	run = t.TempDir()
	dir = filepath.Join(run, "wireguard")
	return run, dir
}

// wg runs the real wg(8) in a mount namespace where run is /run, so that
// tests at the same time do not meet in /var/run/wireguard.
func wg(t *testing.T, run, stdin string, args ...string) (out string, err error) {
	t.Helper()
	needRoot(t)
	if _, err := exec.LookPath("wg"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("this test needs wireguard-tools")
		}
		t.Skip("this test needs wireguard-tools")
	}
	ctx, stop := context.WithTimeout(context.Background(), 10*time.Second)
	defer stop()
	script := `mount --bind "$0" /run && exec wg "$@"`
	c := exec.CommandContext(ctx, "unshare", append([]string{"-m", "--", "sh", "-c", script, run}, args...)...)
	c.Stdin = strings.NewReader(stdin)
	b, err := c.CombinedOutput()
	return string(b), err
}

func TestWGShow(t *testing.T) {
	run, dir := runDir(t)
	a, b := openPair(t, "127.0.0.1", Options{Dir: dir})
	shakeHands(t, a, b)
	out, err := wg(t, run, "", "show", b.conf.Name)
	if err != nil {
		t.Fatal(err, out)
	}
	for _, want := range []string{
		"public key: " + b.conf.PrivateKey.Public().String(),
		"private key: (hidden)",
		"peer: " + a.conf.PrivateKey.Public().String(),
		"preshared key: (hidden)",
		"endpoint: 127.0.0.1:",
		"allowed ips: 10.0.0.0/8",
		"latest handshake: ",
		"transfer: ",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("wg show lacks %q:\n%s", want, out)
		}
	}
	if out, err := wg(t, run, "", "show", "interfaces"); err != nil || !strings.Contains(out, a.conf.Name) {
		t.Errorf("wg show interfaces: %s (%v)", out, err)
	}
	fi, err := os.Stat(filepath.Join(dir, a.conf.Name+".sock"))
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("the socket is %v (%v)", fi.Mode(), err)
	}
	a.Close()
	if _, err := os.Stat(filepath.Join(dir, a.conf.Name+".sock")); !os.IsNotExist(err) {
		t.Errorf("Close left the socket: %v", err)
	}
}

// A name longer than a network interface's works as well.
func TestWGShowLongName(t *testing.T) {
	run, dir := runDir(t)
	name := strings.Repeat("long.name+", 4)
	openEnd(t, conf.Tunnel{Name: name, PrivateKey: newKey(t)}, Options{Dir: dir})
	out, err := wg(t, run, "", "show", name)
	if err != nil || !strings.Contains(out, "interface: "+name[:15]) {
		t.Errorf("wg show %s: %v\n%s", name, err, out)
	}
}

func TestWGSetIsRefused(t *testing.T) {
	run, dir := runDir(t)
	a := openEnd(t, conf.Tunnel{Name: uniqueName(), PrivateKey: newKey(t)}, Options{Dir: dir})
	before := a.Status()
	peer := newKey(t).Public().String()
	out, err := wg(t, run, "", "set", a.conf.Name, "listen-port", "1", "peer", peer, "allowed-ips", "0.0.0.0/0")
	if err == nil || !strings.Contains(out, "Operation not permitted") {
		t.Errorf("wg set: %v, %q", err, out)
	}
	var large strings.Builder
	for range 500 {
		large.WriteString("[Peer]\nPublicKey = " + newKey(t).Public().String() + "\nAllowedIPs = 10.0.0.0/8\n")
	}
	out, err = wg(t, run, large.String(), "setconf", a.conf.Name, "/dev/stdin")
	if err == nil || !strings.Contains(out, "Operation not permitted") {
		t.Errorf("wg setconf: %v, %q", err, out)
	}
	out, err = wg(t, run, "", "show", a.conf.Name, "peers")
	if err != nil || out != "" || a.Status().ListenPort != before.ListenPort {
		t.Errorf("wg set changed something: %q, %v", out, err)
	}
}

func TestSocketOfAnother(t *testing.T) {
	dir := t.TempDir()
	a := openEnd(t, conf.Tunnel{Name: uniqueName(), PrivateKey: newKey(t)}, Options{Dir: dir})
	tun := newTUN()
	_, err := Open(a.conf, Options{Device: tun, Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "another process answers") || !strings.Contains(err.Error(), a.conf.Name) {
		t.Errorf("a second device of the name: %v", err)
	}
	<-tun.Closed()
	if got := ask(t, dir, a.conf.Name, "get=1\n\n"); !strings.Contains(got, "listen_port=") {
		t.Errorf("the first device was disturbed: %q", got)
	}
}

func TestStaleSocket(t *testing.T) {
	dir, name := t.TempDir(), uniqueName()
	path := filepath.Join(dir, name+".sock")
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	ln.Close()
	a := openEnd(t, conf.Tunnel{Name: name, PrivateKey: newKey(t)}, Options{Dir: dir})
	if got := ask(t, dir, name, "get=1\n\n"); !strings.HasSuffix(got, "errno=0\n\n") {
		t.Errorf("answer %q", got)
	}

	// What another process has put there since is not ours to remove.
	os.Remove(path)
	os.WriteFile(path, nil, 0o600)
	a.Close()
	if _, err := os.Stat(path); err != nil {
		t.Errorf("Close removed a foreign file: %v", err)
	}
	tun := newTUN()
	if _, err := Open(a.conf, Options{Device: tun, Dir: dir}); err == nil || !strings.Contains(err.Error(), "is no socket") {
		t.Errorf("a file in the socket's place: %v", err)
	}
}

func TestSocketPathTooLong(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("d", 100))
	_, err := Open(conf.Tunnel{Name: "x", PrivateKey: newKey(t)}, Options{Device: newTUN(), Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "the kernel allows 107") {
		t.Errorf("error %v", err)
	}
}

// ask sends text to a device's socket and returns all that comes back.
func ask(t *testing.T, dir, name, text string) string {
	t.Helper()
	c, err := net.Dial("unix", filepath.Join(dir, name+".sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	go func() {
		io.Copy(c, strings.NewReader(text))
		c.(*net.UnixConn).CloseWrite()
	}()
	b, _ := io.ReadAll(c)
	return string(b)
}

func TestOddClients(t *testing.T) {
	dir := t.TempDir()
	a := openEnd(t, conf.Tunnel{Name: uniqueName(), PrivateKey: newKey(t)}, Options{Dir: dir})
	for _, c := range []struct{ text, want string }{
		{"", ""},
		{"\n", ""},
		{"get=1", ""},
		{"get=1\n", ""},
		{"get=2\n\n", "errno=-22\n\n"},
		{"hello\n\n", "errno=-22\n\n"},
		{"set=1\nlisten_port=1\n\n", "errno=-1\n\n"},
		{"set=1\n\nset=1\n\n", "errno=-1\n\nerrno=-1\n\n"},
		{"set=1\n" + strings.Repeat("x", 100000) + "\n\n", "errno=-1\n\n"},
		{strings.Repeat("x", 3*clientBytes), ""},
		{"set=1\n" + strings.Repeat("y\n", clientBytes), ""},
	} {
		if got := ask(t, dir, a.conf.Name, c.text); got != c.want {
			t.Errorf("%.20q of %d bytes: %q, not %q", c.text, len(c.text), got, c.want)
		}
	}
	// A client that only holds on delays nobody.
	idle, err := net.Dial("unix", filepath.Join(dir, a.conf.Name+".sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	idle.Write([]byte("set=1\n"))
	if got := ask(t, dir, a.conf.Name, "get=1\n\n"); !strings.Contains(got, "private_key=") {
		t.Errorf("answer %q", got)
	}
	start := time.Now()
	a.Close()
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("Close waited %v for a client", d)
	}
}

func FuzzAnswer(f *testing.F) {
	for _, s := range []string{"get=1\n\n", "set=1\nprivate_key=00\n\n", "\n\n", "get=1\n\x00\n\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		l := &listener{clients: make(map[net.Conn]bool), get: func(w io.Writer) error {
			_, err := w.Write([]byte("listen_port=1\n"))
			return err
		}}
		us, them := net.Pipe()
		go func() {
			them.Write(text)
			them.Close()
		}()
		done := make(chan bool)
		go func() {
			defer close(done)
			l.answer(readOnly{us})
		}()
		select {
		case <-done:
		case <-time.After(2 * clientTime):
			t.Fatal("the answer never ended")
		}
	})
}

// readOnly takes every write as done.
type readOnly struct{ net.Conn }

func (readOnly) Write(p []byte) (int, error) {
	if !bytes.HasSuffix(p, []byte("\n\n")) {
		panic("an answer without its end")
	}
	return len(p), nil
}
