package main

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"turnout/conf"
)

// reloadTrial runs a daemon of home.toml with a fake router.
func reloadTrial(t *testing.T, f *fakeGateway) *trial {
	t.Helper()
	inConf(t)
	return start(t, f, conf.Hooks{})
}

func (f *fakeGateway) reloaded() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.reloads
}

func TestReload(t *testing.T) {
	r := reloadTrial(t, &fakeGateway{})
	status, out, stderr := call("", "reload", "--run-dir", r.dir)
	if status != 0 || !strings.Contains(out, "home.toml is in force: 7 lines of policy") || !strings.Contains(out, "keep their exits") ||
		!strings.Contains(stderr, "warning: office.conf:8: tunnel office is widened") {
		t.Errorf("reload: %d, %s%s", status, out, stderr)
	}
	status, out, _ = call("", "reload", "doubtful.toml", "--repin", "--json", "--run-dir", r.dir)
	if status != 0 || !strings.Contains(out, `"lines": 9`) || !strings.Contains(out, `doubtful.toml"`) {
		t.Errorf("reload of another file: %d, %s", status, out)
	}
	// From now on that is the file in force.
	r.hup <- syscall.SIGHUP
	for end := time.Now().Add(5 * time.Second); len(r.reloaded()) < 3 && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
	}
	got := r.reloaded()
	if len(got) != 3 || got[0] != "home.toml false" || !strings.HasSuffix(got[1], "/doubtful.toml true") || !strings.HasSuffix(got[2], "/doubtful.toml false") {
		t.Errorf("reloaded %q", got)
	}
	if _, out, _ := call("", "status", "--run-dir", r.dir); !strings.Contains(out, "/doubtful.toml") {
		t.Errorf("status names the old file:\n%s", out)
	}
}

func TestReloadRefused(t *testing.T) {
	r := reloadTrial(t, &fakeGateway{reloadErr: errors.New("tunnel japan is new")})
	for args, want := range map[string]string{
		"reload":              "tunnel japan is new",
		"reload bad.toml":     "bad.toml:2: ",
		"reload nowhere.toml": "no such file",
	} {
		status, out, stderr := call("", append(strings.Fields(args), "--run-dir", r.dir)...)
		if status != 1 || out != "" || !strings.Contains(stderr, want) {
			t.Errorf("%s: %d, %s%s; want %q", args, status, out, stderr, want)
		}
	}
	if n := strings.Count(r.log.String(), "reload refused"); n != 3 {
		t.Errorf("%d refusals in the log: %s", n, r.log.String())
	}
	if _, out, _ := call("", "status", "--run-dir", r.dir); !strings.Contains(out, "home.toml") {
		t.Errorf("status names another file:\n%s", out)
	}
	if status, _, stderr := call("", "reload", "--run-dir", t.TempDir()); status != 1 || !strings.Contains(stderr, "not running") {
		t.Errorf("without a daemon: %d, %s", status, stderr)
	}
	if status, _, _ := call("", "reload", "a", "b"); status != 2 {
		t.Errorf("two files: %d", status)
	}
}

// TestSameButPolicy changes a configuration in one place and wants to hear of
// it, but for what is policy.
func TestSameButPolicy(t *testing.T) {
	inConf(t)
	load := func(file string) *conf.Config {
		cfg, err := conf.Load(file, conf.Options{Purpose: conf.ForExplain})
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	old := load("home.toml")
	files := map[string]string{}
	for _, f := range []string{"home.toml", "sweden.conf", "office.conf"} {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		files[f] = string(b)
	}
	for _, c := range []struct{ file, from, to, want string }{
		{"home.toml", `"direct"`, `"drop"`, ""},
		{"home.toml", "[[rule]]", "[[rule]]\nname = \"new\"\nto = \"192.0.2.1\"\nvia = \"office\"\n[[rule]]", ""},
		{"home.toml", `members = ["sweden"]`, `members = ["office", "sweden"]`, ""},
		{"home.toml", "default", "# a line\ndefault", ""},
		{"home.toml", "[lan]", "[hooks]\npost_up = [[\"true\"]]\n[lan]", ""},
		{"sweden.conf", "[Peer]", "[Peer]\n# Name = somebody", ""},
		{"home.toml", "[[group]]", "[[forward]]\ntunnel = \"office\"\nport = 80\nto = \"192.168.77.2\"\n[[group]]", ""},
		{"home.toml", "config = \"office.conf\"", "config = \"office.conf\"\naccept = \"10.0.0.0/8\"", ""},
		{"home.toml", "config = \"office.conf\"", "config = \"office.conf\"\nfull_cone = true", ""},
		{"home.toml", "config = \"office.conf\"", "config = \"office.conf\"\nvia = \"sweden\"", "tunnel office: Via differs"},
		{"home.toml", "[lan]", "[limits]\nflows_per_host = 1000\n[lan]", "[limits]: FlowsPerHost differs"},
		{"home.toml", "192.168.77.0/24", "192.168.78.0/24", "[lan]: Prefixes differs"},
		{"home.toml", "eth1", "eth2", "[lan]: Interfaces differs"},
		{"home.toml", "[lan]", "[host]\ntable = 77\n[lan]", "[host]: Table differs"},
		{"home.toml", "[lan]", "[uplink]\ninterfaces = [\"eth9\"]\n[lan]", "[uplink]: Interfaces differs"},
		{"home.toml", "config = \"office.conf\"", "config = \"office.conf\"\nnat = \"none\"", "tunnel office: NAT differs"},
		{"home.toml", "[[group]]", "[[tunnel]]\nconfig = \"bare.conf\"\n[[group]]", "tunnel bare is new"},
		{"home.toml", "name   = \"office\"\nconfig = \"office.conf\"", "name   = \"office\"\nconfig = \"bare.conf\"", "tunnel office: "},
		{"sweden.conf", "Address = ", "MTU = 1300\nAddress = ", "tunnel sweden: MTU differs"},
		{"sweden.conf", "PrivateKey = ", "PrivateKey = M", ""},
		{"office.conf", "[Peer]", "[Peer]\nPersistentKeepalive = 7", "Keepalive differs"},
	} {
		text := strings.Replace(files[c.file], c.from, c.to, 1)
		if strings.HasPrefix(c.from, "PrivateKey") {
			_, key, _ := call("", "genkey")
			at := strings.Index(text, c.from)
			text = text[:at] + "PrivateKey = " + key + text[at+strings.IndexByte(text[at:], '\n')+1:]
			c.want = "tunnel sweden: PrivateKey differs"
		}
		if text == files[c.file] {
			t.Fatalf("%s has no %q", c.file, c.from)
		}
		if err := os.WriteFile(c.file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		err := sameButPolicy(old, load("home.toml"))
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s, %q: %v; want %q", c.file, c.to, err, c.want)
		}
		if err := os.WriteFile(c.file, []byte(files[c.file]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	swapped := strings.NewReplacer("sweden", "office", "office", "sweden").Replace(files["home.toml"])
	if err := os.WriteFile("home.toml", []byte(swapped), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := sameButPolicy(old, load("home.toml")); err == nil || !strings.Contains(err.Error(), "another order") {
		t.Errorf("tunnels in another order: %v", err)
	}
}
