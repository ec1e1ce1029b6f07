package conf

import (
	"os"
	"path/filepath"
	"testing"

	"turnout/classifier"
)

// seeds adds every configuration of the tests to the corpus.
func seeds(f *testing.F) {
	f.Helper()
	for _, pattern := range []string{"testdata/*/*.toml", "testdata/*/*.conf", "../docs/turnout.toml", "wgquick/testdata/*.conf"} {
		list, err := filepath.Glob(pattern)
		if err != nil || len(list) == 0 {
			f.Fatalf("%s: %d files, %v", pattern, len(list), err)
		}
		for _, path := range list {
			data, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data, filepath.Ext(path) == ".conf")
		}
	}
}

// Whatever the text, Load gives a policy that compiles or errors that say
// where, each on one line, and never a panic.
func FuzzLoad(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte, quick bool) {
		name := "a.toml"
		if quick {
			name = "a.conf"
		}
		files := map[string]file{
			name: {text: string(data)}, "x.conf": {text: ifaceText + peerText(server, "0.0.0.0/0", "192.0.2.1:1")}, "k": {text: private}, "s.txt": {text: "10.0.0.0/8 # ten\n"},
		}
		c, err := memory(ForExplain, files).load(name)
		if err == nil {
			if _, err := classifier.Compile(c.Policy); err != nil {
				t.Errorf("the policy does not compile: %v", err)
			}
			return
		}
		for _, p := range err.(Problems) {
			if p.Pos.File == "" || p.Text == "" || p.Text != line("%s", p.Text) {
				t.Errorf("problem %+v", p)
			}
		}
	})
}

// The index survives every text, and says nothing about places outside it.
func FuzzIndex(f *testing.F) {
	for _, text := range []string{"a = [1, {b = 2}]\n[[c.d]]\n'e'.f = \"\"\"\n\"\"\"", "[[", "a=[,,{,,", "=", "[a.]\n.b=", "a = {= {]", "a='\\", "\"\"\"\"\"\""} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		root, _ := newIndex(text)
		var walk func(*node)
		walk = func(n *node) {
			if n.start > n.end || n.end > len(text) || n.line < 0 {
				t.Errorf("node %q at line %d holds %d to %d of %d bytes", n.key, n.line, n.start, n.end, len(text))
			}
			for _, k := range n.kids {
				walk(k)
			}
		}
		walk(root)
	})
}
