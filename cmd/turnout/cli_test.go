package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// call runs the command line in this process.
func call(stdin string, args ...string) (status int, stdout, stderr string) {
	var out, errs bytes.Buffer
	status = run(&env{strings.NewReader(stdin), &out, &errs}, args)
	return status, out.String(), errs.String()
}

// inConf makes a copy of testdata/conf, with modes that key files need, the
// working directory, so that messages name files in one way everywhere.
func inConf(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	files, err := filepath.Glob("testdata/conf/*")
	if err != nil || len(files) == 0 {
		t.Fatal("testdata/conf is empty", err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, filepath.Base(f)), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
}

// figures are what a compiled policy costs, which changes with the compiler.
var figures = regexp.MustCompile(`("(?:bytes|compared|depth)": )[0-9]+|[0-9][0-9.]*( [KM]?i?B of memory| decision| comparison)s?`)

// golden compares got with a file of testdata/golden, but for figures; dir is
// the package's.
func golden(t *testing.T, dir, name, got string) {
	t.Helper()
	if strings.HasPrefix(name, "check") {
		got = figures.ReplaceAllString(got, "${1}N$2")
	}
	path := filepath.Join(dir, "testdata/golden", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s:\ngot:\n%s\nwant:\n%s", name, got, want)
	}
}

func TestExitStatus(t *testing.T) {
	inConf(t)
	empty := t.TempDir()
	for _, c := range []struct {
		args           string
		status         int
		stdout, stderr string // parts of what is printed
	}{
		{"", 2, "", "Usage: turnout VERB"},
		{"help", 0, "Usage: turnout VERB", ""},
		{"--help", 0, "Usage: turnout VERB", ""},
		{"help explain", 0, "--from-port", ""},
		{"up --help", 0, "Usage: turnout up FILE [flags]", ""},
		{"help dance", 2, "", `"dance" is not a verb`},
		{"dance", 2, "", `"dance" is not a verb`},
		{"version", 0, "turnout ", ""},
		{"--version", 0, "turnout ", ""},
		{"version now", 2, "", `"now" is one argument too many`},
		{"check", 2, "", "which configuration?"},
		{"check home.toml", 0, "valid, 2 tunnels, 1 group, 4 rules, 1 route", ""},
		{"check home.toml --strict --lan eth1 --json", 2, `"ok": true`, ""},
		{"check bad.toml", 2, "bad.toml:2: ", ""},
		{"check nowhere.toml", 2, "nowhere.toml", ""},
		{"check home.toml bad.toml", 2, "", `"bad.toml" is one argument too many`},
		{"explain home.toml --to 10.1.1.1 --proto tcp --port 22", 0, "tunnel office", ""},
		{"explain --to 10.1.1.1 --port 22 home.toml", 0, "tunnel office", ""},
		{"explain --to 10.1.1.1 -- home.toml", 0, "tunnel office", ""},
		{"explain home.toml --to 10.1.1.1 --run-dir /x --state-dir /y --log-level debug --lan eth1", 0, "tunnel office", ""},
		{"explain bare.conf --to 10.1.1.1", 0, "tunnel bare", ""},
		{"explain home.toml", 2, "", "--to is missing"},
		{"explain home.toml --to 10.1.1", 2, "", "10.1.1"},
		{"explain home.toml --to 10.1.1.1 --proto tcp", 2, "", "needs --port"},
		{"explain home.toml --to 10.1.1.1 --port 65536", 2, "", "1 to 65535"},
		{"explain home.toml --to 10.1.1.1 --port", 2, "", "flag needs an argument: --port"},
		{"explain home.toml --to 10.1.1.1 --port -1", 2, "", "for flag --port"},
		{"explain home.toml --too 10.1.1.1", 2, "", "not defined: --too"},
		{"explain home.toml --to 10.1.1.1 --proto tcpp --port 1", 2, "", "tcpp"},
		{"explain home.toml --to 10.1.1.1 --dscp 64", 2, "", "0 to 63"},
		{"explain bad.toml --to 10.1.1.1", 2, "", "bad.toml:2: "},
		{"explain --to 10.1.1.1 --run-dir " + empty, 1, "", "turnout is not running"},
		{"status --run-dir " + empty, 1, "", "turnout is not running"},
		{"status --json --run-dir " + empty, 1, "", "turnout is not running"},
		{"flows --run-dir " + empty, 1, "", "turnout is not running"},
		{"flows --drop --all --run-dir " + empty, 1, "", "turnout is not running"},
		{"flows all", 2, "", `"all" is one argument too many`},
		{"flows --drop", 2, "", "--drop needs one of --tunnel"},
		{"flows --drop --tunnel=", 2, "", "--drop needs one of --tunnel"},
		{"flows --drop --all --port 53", 2, "", "does not go with a filter"},
		{"flows --drop --port 53 --limit 5", 2, "", "--limit does not go with --drop"},
		{"flows --all", 2, "", "--all goes with --drop"},
		{"flows --limit 50001", 2, "", "1 to 50000"},
		{"flows --limit 18446744073709551615", 2, "", "1 to 50000"},
		{"flows --limit -1", 2, "", "for flag --limit"},
		{"flows --proto tcpp", 2, "", "tcpp"},
		{"flows --proto icmp --port 1", 2, "", "--proto icmp has no ports"},
		{"flows --port 65536", 2, "", "1 to 65535"},
		{"flows --port 0", 2, "", "1 to 65535"},
		{"flows --from 10.1.1", 2, "", "for flag --from: neither an address nor a CIDR"},
		{"flows --to fe80::1%eth0", 2, "", "for flag --to"},
		{"down --run-dir " + empty + "/never", 0, "", ""},
		{"up", 2, "", "which configuration?"},
		{"up bad.toml", 2, "", "bad.toml:2: "},
		{"up bare.conf", 2, "", "--lan"},
		{"up home.toml --log-level loud", 2, "", "loud"},
		{"up home.toml --lan interface-name-too-long", 2, "", "1 to 15 characters"},
		{"pubkey", 2, "", "not a private key"},
	} {
		status, stdout, stderr := call("", strings.Fields(c.args)...)
		if status != c.status || !strings.Contains(stdout, c.stdout) || !strings.Contains(stderr, c.stderr) {
			t.Errorf("turnout %s: status %d\nstdout: %s\nstderr: %s\nwant %d, %q, %q", c.args, status, stdout, stderr, c.status, c.stdout, c.stderr)
		}
		if (stderr != "") != (c.stderr != "") {
			t.Errorf("turnout %s: standard error %q, want %q", c.args, stderr, c.stderr)
		}
	}
}

// TestHelpFits keeps the first screen one: 24 lines of 80 columns.
func TestHelpFits(t *testing.T) {
	_, out, _ := call("", "help")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) > 30 {
		t.Errorf("%d lines of help", len(lines))
	}
	for _, v := range verbs() {
		if !strings.Contains(out, "\n  "+v.name+" ") {
			t.Errorf("help does not name %s", v.name)
		}
		if status, more, _ := call("", "help", v.name); status != 0 || !strings.Contains(more, "Usage: turnout "+v.name) {
			t.Errorf("help %s: status %d, %s", v.name, status, more)
		}
	}
	for _, l := range lines {
		if len(l) > 80 {
			t.Errorf("%d columns: %s", len(l), l)
		}
	}
}

func TestGolden(t *testing.T) {
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	inConf(t)
	for _, c := range []struct{ name, args string }{
		{"check.txt", "check home.toml"},
		{"check.json", "check home.toml --json"},
		{"check-bare.txt", "check bare.conf --lan eth1"},
		{"check-doubtful.txt", "check doubtful.toml"},
		{"check-inward.txt", "check inward.toml"},
		{"check-inward.json", "check inward.toml --json"},
		{"explain-rule.json", "explain home.toml --to 10.1.2.3 --proto tcp --port 22 --json"},
		{"explain-rule.txt", "explain home.toml --to 10.1.2.3 --proto tcp --port 22"},
		{"explain-route.json", "explain home.toml --to 203.0.113.9 --proto tcp --port 3389 --from 192.168.77.5 --json"},
		{"explain-allowed.json", "explain home.toml --to 10.1.2.3 --proto icmp --json"},
		{"explain-default.json", "explain home.toml --to 9.9.9.9 --proto udp --port 53 --json"},
		{"explain-group.json", "explain home.toml --to 198.51.100.3 --proto udp --port 4000 --dscp 34 --from 192.168.77.20 --json"},
		{"explain-group.txt", "explain home.toml --to 198.51.100.3 --proto udp --port 4000 --dscp 34"},
		{"explain-reject.txt", "explain home.toml --to 9.9.9.9 --port 25 --from 192.168.77.5"},
		{"explain-ipv6.txt", "explain home.toml --to 2001:db8::1"},
		{"explain-implicit.json", "explain bare.conf --to 9.9.9.9 --lan eth1 --json"},
	} {
		_, out, stderr := call("", strings.Fields(c.args)...)
		if stderr != "" {
			t.Errorf("turnout %s says %q", c.args, stderr)
		}
		golden(t, dir, c.name, out)
	}
}

// TestCheckTellsAll looks at where the problems are; the words are conf's.
func TestCheckTellsAll(t *testing.T) {
	inConf(t)
	_, out, _ := call("", "check", "bad.toml")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	want := []string{"bad.toml:1: ", "bad.toml:2: ", "bad.toml:8: ", "bad.toml: not valid, 3 problems"}
	for i := range want {
		if len(lines) != len(want) || !strings.HasPrefix(lines[i], want[i]) {
			t.Fatalf("got:\n%s\nwant lines that begin with %q", out, want)
		}
	}
	problems := strings.Join(lines[:3], "\n") + "\n"
	for _, args := range []string{"up bad.toml", "explain bad.toml --to 10.1.1.1"} {
		if _, _, stderr := call("", strings.Fields(args)...); stderr != problems {
			t.Errorf("turnout %s says:\n%s\nwant:\n%s", args, stderr, problems)
		}
	}
	_, out, _ = call("", "check", "bad.toml", "--json")
	var r report
	if err := json.Unmarshal([]byte(out), &r); err != nil || r.OK || len(r.Problems) != 3 || r.Problems[2].Line != 8 {
		t.Errorf("as JSON: %v\n%s", err, out)
	}
}

func TestKeys(t *testing.T) {
	status, key, _ := call("", "genkey")
	if status != 0 || len(key) != 45 {
		t.Fatalf("genkey: %d, %q", status, key)
	}
	if _, again, _ := call("", "genkey"); again == key {
		t.Error("genkey gives the same key twice")
	}
	status, public, stderr := call(key, "pubkey")
	if status != 0 || len(public) != 45 || stderr != "" {
		t.Fatalf("pubkey: %d, %q, %q", status, public, stderr)
	}
	if status, psk, _ := call("", "genpsk"); status != 0 || len(psk) != 45 {
		t.Errorf("genpsk: %d, %q", status, psk)
	}
	// RFC 7748, 6.1: Alice's keys.
	alice := "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo="
	if _, p, _ := call(alice, "pubkey"); p != "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=\n" {
		t.Errorf("pubkey of the RFC's key: %s", p)
	}
	for _, bad := range []string{"", "x", alice[:43], alice + alice, strings.Repeat("A", 1<<16)} {
		status, out, stderr := call(bad, "pubkey")
		if status != 2 || out != "" || len(bad) > 40 && strings.Contains(stderr, bad[:20]) {
			t.Errorf("pubkey of %.50q: %d, %q, %q", bad, status, out, stderr)
		}
	}
	wg, err := exec.LookPath("wg")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("needs wg of wireguard-tools")
		}
		return
	}
	cmd := exec.Command(wg, "pubkey")
	cmd.Stdin = strings.NewReader(key)
	if out, err := cmd.Output(); err != nil || string(out) != public {
		t.Errorf("wg pubkey says %q, %v; we say %q", out, err, public)
	}
}

// TestSecretKeyFile warns where the umask gives a secret away.
func TestSecretKeyFile(t *testing.T) {
	for mode, warns := range map[os.FileMode]bool{0o600: false, 0o604: true} {
		f, err := os.Create(filepath.Join(t.TempDir(), "key"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := f.Chmod(mode); err != nil {
			t.Fatal(err)
		}
		var stderr bytes.Buffer
		if status := run(&env{nil, f, &stderr}, []string{"genkey"}); status != 0 || (stderr.Len() > 0) != warns {
			t.Errorf("mode %o: status %d, %q", mode, status, stderr.String())
		}
	}
}

// TestSecondUp holds the lock as another process would.
func TestSecondUp(t *testing.T) {
	if mayAdminister() != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("needs root")
		}
		t.Skip("needs root")
	}
	inConf(t)
	dir := filepath.Join(t.TempDir(), "run")
	unlock, err := lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	status, _, stderr := call("", "up", "home.toml", "--run-dir", dir, "--state-dir", t.TempDir())
	if status != 1 || !strings.Contains(stderr, "already up in "+dir) || !strings.Contains(stderr, "process "+pid()) {
		t.Errorf("status %d, %s", status, stderr)
	}
	unlock()
	again, err := lock(dir)
	if err != nil {
		t.Fatalf("the lock is not let go: %v", err)
	}
	again()
}

// TestNotRoot takes the capability from one thread and asks.
func TestNotRoot(t *testing.T) {
	if mayAdminister() == nil {
		restore := dropCapabilities(t)
		defer restore()
	}
	inConf(t)
	status, _, stderr := call("", "up", "home.toml")
	if status != 1 || !strings.Contains(stderr, "CAP_NET_ADMIN") || !strings.Contains(stderr, "sudo") {
		t.Errorf("status %d, %s", status, stderr)
	}
}

// TestNoSecrets runs every verb that reads a configuration and looks for its
// keys in all that was printed.
func TestNoSecrets(t *testing.T) {
	inConf(t)
	var secrets []string
	files, _ := filepath.Glob("*.conf")
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for l := range strings.Lines(string(b)) {
			if k, v, _ := strings.Cut(l, " = "); k == "PrivateKey" || k == "PresharedKey" {
				secrets = append(secrets, strings.TrimSpace(v))
			}
		}
		// The key in a place where it does not belong.
		os.WriteFile("wrong-"+f, bytes.ReplaceAll(b, []byte("PublicKey = "), []byte("PublicKey = "+secrets[len(secrets)-1]+"x")), 0o600)
	}
	if len(secrets) != 5 {
		t.Fatalf("%d secrets", len(secrets))
	}
	dir := t.TempDir()
	if unlock, err := lock(dir); err == nil {
		defer unlock() // up gets no further than this
	}
	files, _ = filepath.Glob("*")
	for _, f := range files {
		for _, args := range []string{"check F", "check F --json", "explain F --to 9.9.9.9", "explain F --to 9.9.9.9 --json",
			"up F --lan eth1 --log-level debug --run-dir " + dir} {
			_, out, stderr := call("", strings.Fields(strings.ReplaceAll(args, "F", f))...)
			for _, s := range secrets {
				raw := decodeKey(t, s)
				for _, form := range []string{s[:40], hex.EncodeToString(raw), string(raw)} {
					if strings.Contains(out+stderr, form) {
						t.Errorf("turnout %s %s shows a key:\n%s%s", args, f, out, stderr)
					}
				}
			}
		}
	}
}
