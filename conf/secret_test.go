package conf

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// reveals reports whether text holds a key in a form that could be used, or
// enough of it to be worth a search.
func reveals(text, key string) bool {
	raw, _ := base64.StdEncoding.DecodeString(key)
	return strings.Contains(text, key[:20]) || strings.Contains(text, key[22:42]) || strings.Contains(text, string(raw)) ||
		strings.Contains(strings.ToLower(text), hex.EncodeToString(raw)[:16]) || strings.Contains(text, strings.Trim(fmt.Sprint(raw[:8]), "[]"))
}

// inside hides a Config behind an unexported field, where fmt calls no methods.
type inside struct{ c Config }

func TestConfigNeverShowsKeys(t *testing.T) {
	text := ifaceText + "PostUp = wg set %i peer x preshared-key " + psk + "\n" +
		peerText(server, "0.0.0.0/0", "192.0.2.1:1", "PresharedKey = "+psk, "Route = 10.0.0.0/8 # "+psk)
	for name, c := range map[string]*Config{
		"wg-quick": loadText(t, "a.conf", text),
		"inline": loadText(t, "a.toml", fmt.Sprintf(`[[tunnel]]
name = "a"
private_key = %q
addresses = ["10.0.0.2"]
peer = [{public_key = %q, preshared_key = %q, routes = ["10.0.0.0/8"]}]
`, private, server, psk)),
	} {
		js, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		var log strings.Builder
		slog.New(slog.NewJSONHandler(&log, nil)).Info("config", "config", c, "tunnel", c.Tunnels[0], "key", c.Tunnels[0].PrivateKey)
		all := []string{string(js), log.String()}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%b", "%c", "%U", "%t", "%p"} {
			all = append(all, fmt.Sprintf(verb, c), fmt.Sprintf(verb, *c), fmt.Sprintf(verb, c.Policy), fmt.Sprintf(verb, *c.Policy),
				fmt.Sprintf(verb, c.Tunnels[0].PrivateKey), fmt.Sprintf(verb, inside{*c}), fmt.Sprintf(verb, &c.Tunnels[0].PrivateKey))
		}
		for _, text := range all {
			if reveals(text, private) || reveals(text, psk) {
				t.Errorf("%s shows a key: %.2000s", name, text)
			}
		}
		if got := c.Tunnels[0].PrivateKey.Hex(); len(got) != 64 || !reveals(got, private) {
			t.Error("Hex does not give the key")
		}
		if c.Tunnels[0].Peers[0].PresharedKey.IsZero() {
			t.Error("the preshared key is lost")
		}
	}
}

// A key in any wrong place of either kind of file must not come back in an
// error or a warning.
func TestProblemsNeverShowKeys(t *testing.T) {
	toml := tunnelText("a", `"0.0.0.0/0"`, "full_cone = true\naccept = \"10.0.0.0/8\"") +
		strings.Replace(tunnelText("b", `"10.0.0.0/8"`, "via = \"a\"\n[[tunnel.accept]]\nfrom = \"10.0.0.0/8\"\nnat = \"none\""), private, psk, 1) + "[[rule]]\nvia = \"a\"\nto = [\"10.0.0.0/8\"]\n[limits]\nflows = 2000\n" +
		"[[forward]]\nname = \"x\"\ntunnel = \"a\"\nproto = \"tcp\"\nport = 22\nto = \"192.168.77.2\"\nlisten = \"lan\"\n"
	conf := ifaceText + "PostUp = true\n" + peerText(server, "0.0.0.0/0", "192.0.2.1:1", "PresharedKey = "+psk, "Route = 10.0.0.0/8")
	cases := map[string]file{}
	n := 0
	add := func(ext, text string) {
		n++
		cases[fmt.Sprintf("%03d%s", n, ext)] = file{text: text}
	}
	for ext, text := range map[string]string{".toml": toml, ".conf": conf} {
		if _, err := memory(ForUp, map[string]file{"whole" + ext: {text: text}}).load("whole" + ext); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(text, "\n")
		for i := range lines {
			for _, with := range []string{psk, "x " + psk, psk[:43], psk + psk, `"` + psk, `"""` + psk, "'" + psk, "= " + psk, "key: " + psk, "private_key = " + psk, "PrivateKey" + psk} {
				broken := append([]string{}, lines...)
				broken[i] = with
				add(ext, strings.Join(broken, "\n"))
				if key, _, ok := strings.Cut(lines[i], "="); ok {
					broken[i] = key + "= " + with
					add(ext, strings.Join(broken, "\n"))
					broken[i] = key + `= ["` + with + `"]`
					add(ext, strings.Join(broken, "\n"))
				}
			}
		}
	}
	failed := 0
	for name, f := range cases {
		c, err := memory(ForUp, map[string]file{name: f}).load(name)
		said := fmt.Sprint(err)
		if err == nil {
			said = fmt.Sprint(c.Warnings)
		} else {
			failed++
		}
		if reveals(said, psk) || reveals(said, private) {
			t.Errorf("of\n%s\nis said\n%s", f.text, said)
		}
	}
	if failed < len(cases)/2 {
		t.Errorf("only %d of %d broken files fail", failed, len(cases))
	}
}

func TestKeyFileModes(t *testing.T) {
	write := func(t *testing.T, mode fs.FileMode) (dir string) {
		dir = t.TempDir()
		quick := ifaceText + peerText(server, "0.0.0.0/0", "192.0.2.1:1", "PresharedKey = "+psk)
		inline := `
[[tunnel]]
name = "b"
private_key_file = "b.key"
addresses = ["10.0.0.3"]
[[tunnel.peer]]
public_key = "` + server2 + `"
preshared_key_file = "b.psk"
endpoint = "192.0.2.2:1"
allowed_ips = ["10.0.0.0/8"]
`
		for name, text := range map[string]string{
			"turnout.toml": "[[tunnel]]\nconfig = \"a.conf\"\n" + inline, "a.conf": quick, "b.key": private + "\n", "b.psk": psk,
		} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	for _, mode := range []fs.FileMode{0o600, 0o400, 0o640, 0o604, 0o644} {
		dir := write(t, mode)
		open := mode&0o044 != 0
		for purpose, name := range []string{"check", "explain", "up"} {
			cfg, err := Load(filepath.Join(dir, "turnout.toml"), Options{Purpose: Purpose(purpose)})
			switch refused := open && Purpose(purpose) == ForUp; {
			case refused && (err == nil || strings.Count(err.Error(), "others can read") != 3):
				t.Errorf("%v for %s: %v", mode, name, err)
			case !refused && err != nil:
				t.Errorf("%v for %s: %v", mode, name, err)
			}
			if err != nil {
				continue
			}
			warnings := 0
			if open && Purpose(purpose) == ForCheck {
				warnings = 3
			}
			if len(cfg.Warnings) != warnings {
				t.Errorf("%v for %s: %d warnings, want %d: %v", mode, name, len(cfg.Warnings), warnings, cfg.Warnings)
			}
			if cfg.Tunnels[1].PrivateKey.IsZero() || cfg.Tunnels[1].Peers[0].PresharedKey.IsZero() {
				t.Errorf("%v for %s: a key is missing", mode, name)
			}
		}
	}
}

// The file itself counts when a key stands in it, and only then.
func TestInlineKeyModes(t *testing.T) {
	inline := tunnelText("a", `"0.0.0.0/0"`, "")
	_, err := memory(ForUp, map[string]file{"t.toml": {inline, 0o644}}).load("t.toml")
	if want := "t.toml:3: private_key is in a file that others can read (mode 0644); chmod 600 t.toml"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	other := strings.Replace(inline, "private_key = \""+private+"\"", `private_key_file = "k"`, 1)
	if _, err := memory(ForUp, map[string]file{"t.toml": {other, 0o644}, "k": {text: private}}).load("t.toml"); err != nil {
		t.Errorf("a file without a key may be read by all: %v", err)
	}
}

func TestKeysOutOfReach(t *testing.T) {
	inline := strings.Replace(tunnelText("a", `"0.0.0.0/0"`, ""), "private_key = \""+private+"\"", `private_key_file = "k"`, 1)
	for _, c := range []struct {
		about   string
		key     file
		there   bool
		purpose Purpose
		fails   bool
		warns   int
	}{
		{"missing", file{}, false, ForExplain, false, 0},
		{"missing", file{}, false, ForCheck, true, 0},
		{"missing", file{}, false, ForUp, true, 0},
		{"out of reach", file{mode: fs.ModePerm}, true, ForExplain, false, 0},
		{"out of reach", file{mode: fs.ModePerm}, true, ForCheck, false, 1},
		{"out of reach", file{mode: fs.ModePerm}, true, ForUp, true, 0},
		{"no key", file{text: "hello"}, true, ForExplain, true, 0},
	} {
		files := map[string]file{"t.toml": {text: inline}}
		if c.there {
			files["k"] = c.key
		}
		cfg, err := memory(c.purpose, files).load("t.toml")
		if (err != nil) != c.fails {
			t.Errorf("%s, purpose %d: %v", c.about, c.purpose, err)
		}
		if err == nil && len(cfg.Warnings) != c.warns {
			t.Errorf("%s, purpose %d: warnings %v", c.about, c.purpose, cfg.Warnings)
		}
	}
}

func TestKeyCommand(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "t.toml")
	write := func(command string) {
		t.Helper()
		text := strings.Replace(tunnelText("a", `"0.0.0.0/0"`, ""), "private_key = \""+private+"\"", "private_key_command = "+command, 1)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ran := filepath.Join(dir, "ran")
	write(`["sh", "-c", "touch ran; echo ` + private + `"]`)
	for _, p := range []Purpose{ForCheck, ForExplain} {
		if _, err := Load(path, Options{Purpose: p}); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(ran); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the command was run without up")
	}
	cfg, err := Load(path, Options{Purpose: ForUp})
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Tunnels[0].PrivateKey.Public().String() != ownPublic(t) {
		t.Error("the command's key is not the tunnel's")
	}
	if _, err := os.Stat(ran); err != nil {
		t.Error("the command did not run in the configuration's folder")
	}
	for _, c := range []struct{ command, want string }{
		{`["sh", "-c", "echo ` + psk[:43] + `; exit 3"]`, "failed: exit status 3"},
		{`["sh", "-c", "echo ` + psk[:43] + `"]`, "printed no key"},
		{`["sh", "-c", "yes | head -c 5000"]`, "printed more than"},
		{`["/nowhere/at/all"]`, "no such file"},
		{`[""]`, "names no program"},
		{`[1.5]`, "holds a decimal number"},
	} {
		write(c.command)
		_, err := Load(path, Options{Purpose: ForUp})
		if err == nil || !strings.Contains(err.Error(), c.want) || reveals(err.Error(), psk) {
			t.Errorf("%s: %v; want %q", c.command, err, c.want)
		}
	}
}

func TestKeys(t *testing.T) {
	k, err := ParsePrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	same, _ := ParsePrivateKey(private)
	other, _ := ParsePrivateKey(psk)
	if k != same || k == other || k.IsZero() || !(PrivateKey{}).IsZero() {
		t.Error("keys do not compare as their bytes do")
	}
	if got := k.Public().String(); got != "SoOSvEb4emZGqdXLDx8Yrn2lzyoe7Oqs035IfMaf/j8=" {
		t.Errorf("the public key is %s", got) // as wg pubkey says
	}
	if p, err := ParsePublicKey(server); err != nil || p.String() != server || len(p.Hex()) != 64 {
		t.Errorf("public key %v, %v", p, err)
	}
	if (PrivateKey{}).Public() != (PublicKey{}) || strings.Trim((PrivateKey{}).Hex(), "0") != "" {
		t.Error("no key has a public key or bytes")
	}
	for _, text := range []string{"", "x", private[:43], private + "=", " " + private, private + "\n", strings.Replace(private, "=", "A", 1),
		private[:42] + "R=", strings.Repeat("A", 43) + "=", hex.EncodeToString(make([]byte, 32))} {
		if _, err := ParsePrivateKey(text); err == nil {
			t.Errorf("%q passes for a key", text)
		}
	}
}
