package tests

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "turnout"

// layers says what the code of a folder may import, its own subfolders aside.
// A folder that is not listed goes by the nearest one above it. Test files may
// import what they like.
var layers = []struct {
	dir    string
	own    []string // folders of this module, with all below
	others []string // modules; "*" is any
	why    string
}{
	{"classifier/packet", nil, nil,
		"it is the vocabulary of the packet path: everybody may use it, so it uses nobody"},
	{"classifier", []string{"classifier/packet"}, []string{"github.com/gaissmai/bart"},
		"policy is decided from packets alone, whoever asks"},
	{"conf/wgquick", nil, nil,
		"it reads a file format and knows nothing of what it is read for"},
	{"conf", []string{"classifier"}, []string{"github.com/BurntSushi/toml", "golang.org/x/sys"},
		"a configuration is text turned into policy: reading one starts nothing"},
	{"dataplane/nat", []string{"classifier/packet"}, []string{"golang.org/x/sys/unix"},
		"the flow table knows packets, numbers and memory, not tunnels or policy"},
	{"dataplane/fragment", []string{"classifier/packet"}, nil,
		"what becomes of a datagram is decided elsewhere"},
	{"dataplane/segment", []string{"classifier/packet"}, []string{"golang.org/x/sys/cpu"},
		"cutting and joining packets needs their headers only"},
	{"dataplane/answer", []string{"classifier/packet"}, nil,
		"an answer is made from the packet it answers"},
	{"dataplane/host", nil, []string{"github.com/vishvananda/netlink", "github.com/google/nftables", "golang.org/x/sys"},
		"the host's state must be restorable without the rest of the program"},
	{"dataplane", []string{"classifier"}, []string{"golang.org/x/sys", "golang.zx2c4.com/wireguard"},
		"it moves packets for devices it never sees: dataplane and peers meet in cmd/turnout/wire.go"},
	{"peers", []string{"conf"}, []string{"golang.org/x/sys", "golang.org/x/net", "golang.zx2c4.com/wireguard"},
		"a device carries what it is given: dataplane and peers meet in cmd/turnout/wire.go"},
	{"cmd", []string{""}, []string{"*"}, "the command puts all parts together"},
	{"bench", []string{""}, []string{"*"}, "benchmarks measure all parts"},
	{"tests", []string{""}, []string{"*"}, "tests try all parts"},
}

// TestImportsPointOneWay reads every import of the project.
func TestImportsPointOneWay(t *testing.T) {
	var seen []string
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") && path != "..") {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		path, _ = filepath.Rel("..", path)
		for _, spec := range file.Imports {
			name, _ := strconv.Unquote(spec.Path.Value)
			checkImport(t, path, name)
		}
		seen = append(seen, filepath.Dir(path))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		if l.dir != "bench" && !slices.ContainsFunc(seen, func(d string) bool { return within(d, l.dir) }) {
			t.Errorf("no code in %s: the layout moved, or this test looks in the wrong place", l.dir)
		}
	}
}

func checkImport(t *testing.T, path, name string) {
	dir := filepath.Dir(path)
	i := -1 // the longest that dir is within
	for j, l := range layers {
		if within(dir, l.dir) && (i < 0 || len(l.dir) > len(layers[i].dir)) {
			i = j
		}
	}
	if i < 0 {
		t.Errorf("%s: code in a folder that the layout does not know", path)
		return
	}
	l := layers[i]
	first, _, _ := strings.Cut(name, "/")
	own, ours := strings.CutPrefix(name, module+"/")
	allowed := true
	switch {
	case ours:
		allowed = within(own, l.dir) || slices.ContainsFunc(l.own, func(d string) bool { return within(own, d) })
	case strings.Contains(first, "."): // not of the standard library
		allowed = slices.ContainsFunc(l.others, func(m string) bool { return m == "*" || within(name, m) })
	}
	if !allowed {
		t.Errorf("%s imports %s: %s", path, name, l.why)
	}
}

// within reports whether folder dir is top or below it.
func within(dir, top string) bool {
	return top == "" || dir == top || strings.HasPrefix(dir, top+"/")
}

// TestTopLevel keeps the first thing that a reader sees small.
func TestTopLevel(t *testing.T) {
	allowed := strings.Fields("cmd dataplane classifier peers conf bench tests docs packaging " +
		"go.mod go.sum Makefile README.md LICENSE CHANGELOG.md bin") // bin is built, and ignored by git
	entries, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") && !slices.Contains(allowed, e.Name()) {
			t.Errorf("%s at the top level: what it is for belongs in one of %v", e.Name(), allowed)
		}
	}
}
