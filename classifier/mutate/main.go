// Mutate plants faults in the classifier, one at a time, and runs its tests on
// each: a fault that no test finds is a gap in the tests. It changes no file;
// the go command is told to read the changed text in place of the true one.
//
//	go run ./classifier/mutate [-only text] [-out classifier/MUTATIONS.md]
//
// A fault that changes no answer says so, and why; that it survives is then
// what is expected. The exit status is 1 when any fault did not do as expected.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// A mutation is a fault: in file, the one place that says from says to.
type mutation struct {
	file, from, to string
	equivalent     string // why no test can find it; "" when one must
}

// perFault bounds the tests of one fault: one that loops for ever is found too.
// The test program ends itself; the go command has a little longer.
const (
	perFault = 2 * time.Minute
	grace    = 30 * time.Second
)

func main() {
	only := flag.String("only", "", "plant only the faults whose file or text has this in it")
	out := flag.String("out", "", "write the table here too")
	flag.Parse()
	table, failed, err := run(*only)
	if err == nil && *out != "" {
		err = os.WriteFile(*out, []byte(table), 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(2)
	}
	if failed > 0 {
		fmt.Fprintf(os.Stderr, "mutate: %d faults did not do as expected\n", failed)
		os.Exit(1)
	}
}

func run(only string) (table string, failed int, err error) {
	dir, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return "", 0, err
	}
	defer os.RemoveAll(dir)
	var b strings.Builder
	b.WriteString("# Faults planted in the classifier\n\nMade by `make mutate`. Each fault is planted alone and the tests of the\npackage run on it, with their samples, not the soak.\n\n| file | instead of | planted | result |\n|---|---|---|---|\n")
	killed, equal := 0, 0
	for i, m := range mutations {
		if !strings.Contains(m.file+m.from+m.to, only) {
			continue
		}
		by, err := plant(dir, m)
		if err != nil {
			return "", 0, fmt.Errorf("fault %d, in %s: %w", i+1, m.file, err)
		}
		result := "killed by " + by
		switch {
		case by != "" && m.equivalent == "":
			killed++
		case by == "" && m.equivalent != "":
			equal++
			result = "equivalent: " + m.equivalent
		case by != "":
			failed++
			result = "KILLED by " + by + ", though equivalent: " + m.equivalent
		default:
			failed++
			result = "SURVIVED"
		}
		row := fmt.Sprintf("| %s | `%s` | `%s` | %s |\n", m.file, oneLine(m.from), oneLine(m.to), result)
		fmt.Print(row)
		b.WriteString(row)
	}
	fmt.Fprintf(&b, "\n%d killed, %d equivalent, %d not as expected.\n", killed, equal, failed)
	return b.String(), failed, nil
}

// oneLine makes code fit into a cell of a table.
func oneLine(s string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(s), " "), "|", "\\|")
}

// plant runs the tests with one fault planted, and returns the first test that
// found it; "" if none did.
func plant(dir string, m mutation) (by string, err error) {
	path, err := filepath.Abs(filepath.Join("classifier", m.file))
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	if n := strings.Count(string(text), m.from); n != 1 {
		return "", fmt.Errorf("%q stands there %d times; a fault needs one place", m.from, n)
	}
	changed := filepath.Join(dir, "changed.go")
	if err := os.WriteFile(changed, []byte(strings.Replace(string(text), m.from, m.to, 1)), 0o644); err != nil {
		return "", err
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{path: changed}})
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, overlay, 0o644); err != nil {
		return "", err
	}
	return test(file)
}

var failure = regexp.MustCompile(`(?m)^\s*--- FAIL: (\w+)|^panic: (.*)$|^(fatal error: .*)$`)

// test runs the tests over an overlay.
func test(overlay string) (by string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), perFault+grace)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "test", "-overlay", overlay, "-failfast", "-count=1", "-timeout", perFault.String(),
		"-skip", "TestHotFunctions", "./classifier", "-seed", "1")
	out, err := cmd.CombinedOutput()
	if err == nil {
		return "", nil
	}
	if ctx.Err() != nil {
		return "no end", nil
	}
	if strings.Contains(string(out), "[build failed]") || strings.Contains(string(out), "[setup failed]") {
		return "", fmt.Errorf("it does not compile: %s", out)
	}
	m := failure.FindStringSubmatch(string(out))
	if m == nil {
		return "", fmt.Errorf("the tests failed and do not say which: %s", out)
	}
	return m[1] + m[2] + m[3], nil
}
