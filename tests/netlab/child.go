package netlab

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"turnout/tests/netlab/wgend"
)

// Child plays this process's part when a lab has started it as one, and reports
// whether it did. A program that makes labs calls it first, with its exit status
// as the answer; Options.Self says how to come there.
func Child() (status int, played bool) {
	switch os.Getenv(roleVar) {
	case "":
		return 0, false
	case "wireguard":
		return report(playWireGuard()), true
	}
	return report(fmt.Errorf("%s=%q is not a part of a lab", roleVar, os.Getenv(roleVar))), true
}

func report(err error) int {
	if err != nil {
		fmt.Fprintln(os.Stderr, "netlab:", err)
		return 1
	}
	return 0
}

// playWireGuard is a standalone wireguard-go server on an interface named by the
// last argument.
func playWireGuard() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	return wgend.Run(ctx, os.Args[len(os.Args)-1], log)
}
