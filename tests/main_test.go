package tests

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"turnout/tests/netlab"
)

// binary is the turnout program, built once for all tests that need it.
var binary = struct {
	sync.Once
	dir string
	err error
}{}

func TestMain(m *testing.M) {
	if netlab.NeedsUserNS() {
		if status, err := netlab.EnterUserNS(os.Args); err == nil {
			os.Exit(status)
		}
		// Each test says what is missing.
	}
	status := m.Run()
	if binary.dir != "" {
		os.RemoveAll(binary.dir)
	}
	os.Exit(status)
}

// turnout returns the path of the program.
func turnout(t *testing.T) string {
	t.Helper()
	binary.Do(func() {
		if binary.dir, binary.err = os.MkdirTemp("", "turnout-test-"); binary.err == nil {
			binary.err = build(filepath.Join(binary.dir, "turnout"))
		}
	})
	if binary.err != nil {
		t.Fatal(binary.err)
	}
	return filepath.Join(binary.dir, "turnout")
}

func build(path string) error {
	lookAtSources()
	args := []string{"build", "-o", path}
	if os.Getenv("TURNOUT_RACE") == "1" {
		args = append(args, "-race")
	}
	out, err := exec.Command("go", append(args, "turnout/cmd/turnout")...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}

// lookAtSources lets go test know what the program is made of: it repeats an
// old result as long as no file changed that the test has looked at.
func lookAtSources() {
	filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && (d.Name() == ".git" || d.Name() == "bin") {
			return fs.SkipDir
		}
		os.Stat(path)
		return nil
	})
}

// need skips the test where the machine cannot run it, and fails it in CI.
func need(t *testing.T, tools ...string) {
	t.Helper()
	missing := netlab.Possible()
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil && missing == nil {
			missing = err
		}
	}
	switch {
	case missing == nil:
	case os.Getenv("CI") == "true":
		t.Fatal(missing)
	default:
		t.Skip(missing)
	}
}
