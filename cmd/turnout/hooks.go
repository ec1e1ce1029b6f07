package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"time"
)

// hookTime is how long one hook may take.
const hookTime = 10 * time.Second

// runHooks runs the commands of one stage in order, without a shell, and ends
// at the first that fails. What they print goes to the log.
func runHooks(ctx context.Context, log *slog.Logger, stage string, commands [][]string) error {
	for _, argv := range commands {
		if err := runHook(ctx, log, stage, argv); err != nil {
			return fmt.Errorf("hook %s %q: %w", stage, argv, err)
		}
	}
	return nil
}

func runHook(ctx context.Context, log *slog.Logger, stage string, argv []string) error {
	ctx, cancel := context.WithTimeout(ctx, hookTime)
	defer cancel()
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "TURNOUT_HOOK="+stage)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second // a child of the hook may hold the pipe
	err := cmd.Run()
	if ctx.Err() == context.DeadlineExceeded {
		err = fmt.Errorf("not done after %v", hookTime)
	}
	log.Info("hook", "stage", stage, "command", argv, "output", out.String(), "ok", err == nil)
	return err
}
