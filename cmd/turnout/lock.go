package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// errLocked says that another process is up in this run directory.
var errLocked = errors.New("turnout is already up")

// lock makes runDir and takes its lock for as long as the process lives: the
// kernel lets go of it however the process ends. unlock is for a process that
// goes on.
func lock(runDir string) (unlock func(), err error) {
	if err := os.MkdirAll(runDir, 0o755); err != nil {
		return nil, fmt.Errorf("making the run directory: %w", err)
	}
	path := filepath.Join(runDir, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if errors.Is(err, os.ErrPermission) {
		f, err = os.Open(path) // one of the daemon's group, who waits for its end
	}
	if err != nil {
		return nil, fmt.Errorf("opening the lock: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("locking %s: %w", f.Name(), err)
		}
		pid, _ := io.ReadAll(io.LimitReader(f, 16))
		return nil, fmt.Errorf("%w in %s, as process %s; turnout down stops it", errLocked, runDir, strings.TrimSpace(string(pid)))
	}
	// The pid is for people only, so a failure to write it is no failure.
	f.Truncate(0)
	f.WriteAt(fmt.Appendln(nil, os.Getpid()), 0)
	return func() { f.Close() }, nil
}
