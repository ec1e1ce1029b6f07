package tests

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestNATTable holds docs/nat.md to its word: a row for each number, and a test
// in the tree for each name; and a row for each test that claims one.
func TestNATTable(t *testing.T) {
	text, err := os.ReadFile("../docs/nat.md")
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	for _, dir := range []string{"../dataplane", "../dataplane/nat", "../classifier/packet"} {
		for _, name := range testsIn(t, dir) {
			have[name] = true
		}
	}
	named := regexp.MustCompile("`(Test[A-Za-z0-9]+)`")
	row, cited := 0, map[string]bool{}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, "|")
		if len(cells) < 7 {
			continue
		}
		n, err := strconv.Atoi(strings.TrimSpace(cells[1]))
		if err != nil {
			continue
		}
		if row++; n != row {
			t.Errorf("row %d stands where row %d belongs", n, row)
		}
		names := named.FindAllStringSubmatch(cells[4], -1)
		status := strings.TrimSpace(cells[5])
		if !slices.Contains([]string{"yes", "choice", "n/a"}, status) || len(names) == 0 && status != "n/a" {
			t.Errorf("row %d: status %q with %d tests", n, status, len(names))
		}
		for _, m := range names {
			cited[m[1]] = true
			if !have[m[1]] {
				t.Errorf("row %d: there is no %s", n, m[1])
			}
		}
	}
	if row != 48 {
		t.Errorf("%d rows, want 48", row)
	}
	for name := range have {
		if strings.HasPrefix(name, "TestRow") && !cited[name] {
			t.Errorf("%s has no row in docs/nat.md", name)
		}
	}
}

// testsIn returns the tests of a folder.
func testsIn(t *testing.T, dir string) (names []string) {
	files, err := filepath.Glob(dir + "/*_test.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no tests in %s: %v", dir, err)
	}
	for _, path := range files {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") {
				names = append(names, f.Name.Name)
			}
		}
	}
	return names
}
