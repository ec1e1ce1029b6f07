package conf

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"turnout/classifier"
)

// Positions come from an index of our own; they must be right under arrays of
// tables, in inline tables, in lists over several lines and behind dotted keys.
func TestIndex(t *testing.T) {
	const text = "a = 1\n" + // 1
		"[lan]\n" + // 2
		"interfaces = [ # one\n" + // 3
		"  \"x # no comment ] \\\" \",\n" + // 4
		"  'y',\n" + // 5
		"]\n" + // 6
		"[[t]]\n" + // 7
		"n = \"\"\"\n" + // 8
		"\"quotes\" and [[t]]\n" + // 9
		"\"\"\"\n" + // 10
		"  [[t.p]]\n" + // 11
		"  k = 1\n" + // 12
		"[[t]]\n" + // 13
		"n = '''\n'''\n" + // 14, 15
		"p = [{k = 1}, {k = [\n" + // 16
		"2], \"q\".z = { }}]\n" + // 17
		"[[t.q]]\n" + // 18
		"d.e.f = 1979-05-27 07:32:00 # date\r\n" + // 19
		"d.g = 1\n" // 20
	root, deep := newIndex(text)
	if deep != 0 {
		t.Fatalf("too deep at %d", deep)
	}
	tables := root.child("t")
	for _, c := range []struct {
		what string
		n    *node
		line int
		raw  string
	}{
		{"a", root.child("a"), 1, "1"},
		{"lan", root.child("lan"), 2, ""},
		{"interfaces", root.child("lan").child("interfaces"), 3, ""},
		{"interfaces[0]", root.child("lan").child("interfaces").item(0), 4, `"x # no comment ] \" "`},
		{"interfaces[1]", root.child("lan").child("interfaces").item(1), 5, `'y'`},
		{"t[0]", tables.item(0), 7, ""},
		{"t[0].n", tables.item(0).child("n"), 8, ""},
		{"t[0].p[0].k", tables.item(0).child("p").item(0).child("k"), 12, "1"},
		{"t[1]", tables.item(1), 13, ""},
		{"t[1].p[0].k", tables.item(1).child("p").item(0).child("k"), 16, "1"},
		{"t[1].p[1].k[0]", tables.item(1).child("p").item(1).child("k").item(0), 17, "2"},
		{"t[1].p[1].q.z", tables.item(1).child("p").item(1).child("q").child("z"), 17, "{ }"},
		{"t[1].q[0].d.e.f", tables.item(1).child("q").item(0).child("d").child("e").child("f"), 19, "1979-05-27 07:32:00 "},
		{"t[1].q[0].d.g", tables.item(1).child("q").item(0).child("d").child("g"), 20, "1"},
	} {
		if c.n == nil || c.n.line != c.line || c.raw != "" && text[c.n.start:c.n.end] != c.raw {
			t.Errorf("%s is %+v, want line %d and %q", c.what, c.n, c.line, c.raw)
		}
	}
	if tables.item(2) != nil || tables.child("n") != nil || root.child("b") != nil || root.item(0) != nil {
		t.Error("what is not there is found")
	}
}

// Absurd files give an error each, soon.
func TestAbsurd(t *testing.T) {
	many := func(n int, text string) string { return strings.Repeat(text, n) }
	var tunnels, groups strings.Builder
	for i := range maxTunnels + 1 {
		tunnels.WriteString(tunnelText(fmt.Sprint("t", i), `"0.0.0.0/0"`, ""))
		fmt.Fprintf(&groups, "[[group]]\nname = \"g%d\"\nmembers = [\"g%d\"]\n", i, i+1)
	}
	for _, c := range []struct{ about, name, text, want string }{
		{"tunnels", "a.toml", tunnels.String(), "1025 tunnels; up to 1024 are allowed"},
		{"groups", "a.toml", groups.String(), "1025 groups; up to 1024 are allowed"},
		{"forwards", "a.toml", tunnelText("t", `"0.0.0.0/0"`, "") + many(maxForwards+1, "[[forward]]\n"), "a.toml:10: 4097 forwards; up to 4096 are allowed"},
		{"accept", "a.toml", tunnelText("t", `"0.0.0.0/0"`, "accept = ["+many(maxAccepts+1, `"10.0.0.0/8",`)+"]"), "a.toml:5: accept has 257 items; up to 256 are allowed"},
		{"nesting", "a.toml", "a = " + many(1_000_000, "["), "nested deeper"},
		{"inline nesting", "a.toml", "a = " + many(1_000_000, "{a="), "nested deeper"},
		{"dots", "a.toml", many(1_000_000, "a.") + "a = 1", "nested deeper"},
		{"errors", "a.toml", many(1000, "[[rule]]\nx = 1\n"), "and 1800 more errors; these are the first 200"},
		{"long name", "a.toml", tunnelText(many(100_000, "a"), `"0.0.0.0/0"`, ""), "cannot name a tunnel"},
		{"long key", "a.toml", many(100_000, "a") + " = 1", "unknown key of 100000 characters"},
		{"long line", "a.conf", many(1_000_000, "a"), "this line is no setting"},
		{"long value", "a.conf", ifaceText + "MTU = " + many(1_000_000, "9"), "whole number"},
		{"lines", "a.conf", many(300_000, "x\n"), "more errors"},
		{"sections", "a.conf", many(100_000, "[Peer]\n"), "no [Interface]"},
		{"ports", "a.toml", "[[rule]]\nvia = \"drop\"\nports = \"" + many(100_000, "1-2,") + "\"\n", "is no port"},
	} {
		start := time.Now()
		_, err := memory(ForCheck, map[string]file{c.name: {text: c.text}}).load(c.name)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %.300v; want %q", c.about, err, c.want)
		} else if n := len(err.Error()); n > 200*1000 {
			t.Errorf("%s: the errors are %d bytes long", c.about, n)
		}
		if d := time.Since(start); d > 20*time.Second {
			t.Errorf("%s took %s", c.about, d)
		}
	}
}

func TestUnreadable(t *testing.T) {
	dir := t.TempDir()
	large := filepath.Join(dir, "large.toml")
	f, err := os.Create(large)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(maxConfig+1), f.Close()); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "none.toml"): "cannot be read: no such file or directory",
		dir:                             "cannot be read: it is a directory",
		large:                           "cannot be read: it is larger than 67108864 bytes, which is the limit",
	} {
		_, err := Load(path, Options{})
		if err == nil || err.Error() != path+": "+want {
			t.Errorf("%v, want %s: %s", err, path, want)
		}
	}
	if _, _, err := readFile(filepath.Join(dir, "none"), 1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file gives %v", err)
	}
}

// A policy of 100,000 rules loads in a few seconds, with the right lines.
func TestManyRules(t *testing.T) {
	const n = 100_000
	var b strings.Builder
	b.WriteString(tunnelText("a", `"0.0.0.0/0"`, "")) // 9 lines
	for i := range n {
		fmt.Fprintf(&b, "[[rule]]\nto = [\"10.%d.%d.%d/32\"]\nproto = \"tcp\"\nports = %d\nvia = \"a\"\n", i>>16, i>>8&255, i&255, i%65535+1)
	}
	start := time.Now()
	cfg := loadText(t, "t.toml", b.String())
	t.Logf("%d rules, %d bytes: %s", n, b.Len(), time.Since(start))
	if d := time.Since(start); d > 30*time.Second {
		t.Errorf("loading took %s", d)
	}
	last := cfg.Policy.Entries[n-1]
	if want := (classifier.Pos{File: "t.toml", Line: 10 + 5*(n-1)}); last.Pos != want || len(cfg.Policy.Entries) != n+1 {
		t.Errorf("the last rule is at %v of %d entries, want %v", last.Pos, len(cfg.Policy.Entries), want)
	}
}

// As many forwards as are allowed load soon.
func TestManyForwards(t *testing.T) {
	var b strings.Builder
	b.WriteString(tunnelText("a", `"0.0.0.0/0"`, ""))
	for i := range maxForwards {
		fmt.Fprintf(&b, "[[forward]]\ntunnel = \"a\"\nport = %d\nto = \"10.1.1.1\"\n", i+1)
	}
	start := time.Now()
	cfg := loadText(t, "t.toml", b.String())
	if d := time.Since(start); d > 10*time.Second || len(cfg.Forwards) != maxForwards {
		t.Errorf("loading %d forwards took %s", len(cfg.Forwards), d)
	}
}
