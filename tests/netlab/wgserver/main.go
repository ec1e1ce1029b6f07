// Command wgserver runs a plain WireGuard end on a kernel TUN, for wg(8) to
// configure: wgserver IFACE. It stays in the foreground until SIGTERM or
// SIGINT. LOG_LEVEL=debug makes it talk.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"turnout/tests/netlab/wgend"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: wgserver IFACE")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	level := slog.LevelError
	if os.Getenv("LOG_LEVEL") == "debug" {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	if err := wgend.Run(ctx, os.Args[1], log); err != nil {
		fmt.Fprintln(os.Stderr, "wgserver:", err)
		os.Exit(1)
	}
}
