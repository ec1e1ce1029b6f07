package classifier

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestHotFunctions asks the compiler what it made of the functions that every
// packet of a new flow goes through: what is inlined into them, and how many
// checks of bounds are left. What is left depends on what stands in the table
// or the packet; one more means that a change cost something.
func TestHotFunctions(t *testing.T) {
	for _, row := range []struct {
		pkg, function string
		inlines       []string
		checks        int
	}{
		{".", "(*Table).Lookup", []string{"(*Table).plane"}, 0},
		{".", "(*Table).verdict", nil, 2},
		{".", "(*plane).key", []string{"packet.Addr.V4"}, 0},
		{".", "(*plane).first", []string{"(*plane).cutOf"}, 5},
		{".", "(*plane).cutOf", nil, 4},
		{".", "(*plane).scan", nil, 1},
		{".", "(*plane).extra", []string{"(*portSet).has"}, 4},
		{".", "(*axis).find", []string{"(*axis).edge"}, 3},
		{".", "(*Tags).Get", nil, 0},
		{".", "(*tagSlots).find", []string{"(*tagSlots).hash"}, 1},
		{"./packet", "(*View).Decode", []string{"(*View).kind", "possible", "(*View).segment", "be64"}, 4},
		{"./packet", "(*View).segment", []string{"(*View).at"}, 0},
	} {
		t.Run(row.pkg+row.function, func(t *testing.T) {
			c := compilerSays(t, row.pkg)
			f, ok := c.functions[row.function]
			if !ok {
				t.Fatalf("there is no %s", row.function)
			}
			for _, name := range row.inlines {
				if !slices.Contains(f.inlined, name) {
					t.Errorf("%s is not inlined; inlined are %q", name, f.inlined)
				}
			}
			if len(f.checks) > row.checks {
				t.Errorf("%d checks of bounds, want at most %d: %q", len(f.checks), row.checks, f.checks)
			}
		})
	}
}

// A compiled function is what the compiler says of one.
type compiledFunction struct {
	file        string
	first, last int // lines
	inlined     []string
	checks      []string // places
}

type compiledPackage struct{ functions map[string]*compiledFunction }

var said = map[string]compiledPackage{}

// compilerSays compiles a package and reads what the compiler remarks.
func compilerSays(t *testing.T, pkg string) compiledPackage {
	t.Helper()
	if c, ok := said[pkg]; ok {
		return c
	}
	if _, err := exec.LookPath("go"); err != nil {
		if os.Getenv("CI") != "true" {
			t.Skip("no go command to ask")
		}
		t.Fatal(err)
	}
	c := compiledPackage{functionsOf(t, pkg)}
	out, err := exec.Command("go", "build", "-gcflags=-m=2 -d=ssa/check_bce", pkg).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	remark := regexp.MustCompile(`^\.?/?(?:packet/)?(\w+\.go):(\d+):(\d+): (?:Found (Is\w+)|inlining call to (\S+))`)
	for line := range strings.Lines(string(out)) {
		m := remark.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		n, _ := strconv.Atoi(m[2])
		for _, f := range c.functions {
			if f.file != m[1] || n < f.first || n > f.last {
				continue
			}
			if m[4] != "" {
				f.checks = append(f.checks, m[1]+":"+m[2]+":"+m[3])
			} else {
				f.inlined = append(f.inlined, m[5])
			}
		}
	}
	said[pkg] = c
	return c
}

// functionsOf finds where the functions of a package stand.
func functionsOf(t *testing.T, pkg string) map[string]*compiledFunction {
	t.Helper()
	out := map[string]*compiledFunction{}
	files, err := os.ReadDir(pkg)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range files {
		if !strings.HasSuffix(d.Name(), ".go") || strings.HasSuffix(d.Name(), "_test.go") {
			continue
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, pkg+"/"+d.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			name := f.Name.Name
			if f.Recv != nil {
				receiver := f.Recv.List[0].Type
				if star, ok := receiver.(*ast.StarExpr); ok {
					name = fmt.Sprintf("(*%s).%s", star.X, name)
				} else {
					name = fmt.Sprintf("%s.%s", receiver, name)
				}
			}
			out[name] = &compiledFunction{file: d.Name(), first: set.Position(f.Pos()).Line, last: set.Position(f.End()).Line}
		}
	}
	return out
}
