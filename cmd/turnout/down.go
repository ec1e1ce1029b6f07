package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"turnout/cmd/internal/control"
	"turnout/dataplane/host"
)

const downHelp = `Without a running daemon it removes what a crash left. With --keep-guard the LAN
stays closed: nothing is routed, and nothing leaks. Nothing to stop is success.`

func down(e *env, args []string) int {
	fs := newFlags(e, "down")
	var runDir string
	fs.runDirFlag(&runDir)
	keepGuard := fs.Bool("keep-guard", false, "leave the rules that keep the LAN from leaking")
	if _, err := fs.parse(args, 0); err != nil {
		return fs.failed(err)
	}
	if err := takeDown(runDir, *keepGuard); err != nil {
		return e.fail("down", err)
	}
	return exitOK
}

// takeDown stops the daemon of runDir, or undoes what a dead one left.
func takeDown(runDir string, keepGuard bool) error {
	if _, err := os.Stat(runDir); errors.Is(err, os.ErrNotExist) {
		return nil // never up
	}
	err := control.NewClient(runDir).Stop(context.Background(), keepGuard)
	if err != nil && !errors.Is(err, control.ErrNotRunning) {
		return err
	}
	asked := err == nil
	unlock, err := lockWithin(runDir, 5*time.Second)
	if err != nil {
		return fmt.Errorf("the daemon does not end: %w", err)
	}
	defer unlock()
	if !keepGuard {
		os.Remove(filepath.Join(runDir, flowFile)) // nobody is to take up these conversations
	}
	if asked {
		return nil
	}
	if err := host.Restore(runDir, keepGuard); err != nil {
		return fmt.Errorf("undoing what an earlier run left: %w", err)
	}
	os.Remove(filepath.Join(runDir, control.Socket)) // a dead one misleads nobody but people
	return nil
}

// lockWithin waits for a daemon that is about to end; one that is just
// starting is waited for too, and found alive.
func lockWithin(runDir string, limit time.Duration) (unlock func(), err error) {
	for end := time.Now().Add(limit); ; time.Sleep(20 * time.Millisecond) {
		unlock, err = lock(runDir)
		if !errors.Is(err, errLocked) || time.Now().After(end) {
			return unlock, err
		}
	}
}
