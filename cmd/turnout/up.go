package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"

	"turnout/conf"
)

const upHelp = `FILE is a turnout.toml, or one wg-quick .conf together with --lan. Runs in the
foreground and logs to standard error; SIGTERM, SIGINT or turnout down end it and
leave the host as it was; SIGHUP is turnout reload. Needs CAP_NET_ADMIN (root, sudo or the systemd unit).`

func up(e *env, args []string) int {
	fs := newFlags(e, "up")
	o := fs.upFlags()
	files, err := fs.parse(args, 1)
	if err == nil && len(files) == 0 {
		err = usagef("which configuration? turnout up FILE")
	}
	if err != nil {
		return fs.failed(err)
	}
	cfg, err := load(files[0], o, conf.ForUp)
	if err == nil && len(cfg.LAN.Interfaces) == 0 {
		err = usagef("%s does not say where the LAN is: add --lan IFACE", files[0])
	}
	if err == nil {
		err = mayAdminister()
	}
	if err != nil {
		return e.fail("up", err)
	}
	log := slog.New(slog.NewTextHandler(e.stderr, &slog.HandlerOptions{Level: o.level}))
	if err := runUp(cfg, o, log); err != nil {
		return e.fail("up", err)
	}
	return exitOK
}

// runUp runs the router until a signal or a stop request ends it.
func runUp(cfg *conf.Config, o *options, log *slog.Logger) error {
	unlock, err := lock(o.runDir)
	if err != nil {
		return err
	}
	defer unlock()
	for _, w := range cfg.Warnings {
		log.Warn(w.Error())
	}
	if err := os.MkdirAll(o.stateDir, 0o700); err != nil {
		return fmt.Errorf("making the state directory: %w", err)
	}
	ctx, stop := untilSignal()
	defer stop()

	if err := runHooks(ctx, log, "pre_up", cfg.Hooks.PreUp); err != nil {
		return err
	}
	// The router outlives ctx: a signal asks for an orderly end, not for a cut.
	r, err := startRouter(context.WithoutCancel(ctx), cfg, routerOptions{RunDir: o.runDir, StateDir: o.stateDir, Log: log})
	if err != nil {
		return fmt.Errorf("starting the router: %w", err)
	}
	d := newDaemon(r, cfg, log)
	d.read = func(file string) (*conf.Config, error) { return load(file, o, conf.ForUp) }
	signal.Notify(d.hup, syscall.SIGHUP)
	defer signal.Stop(d.hup)
	return d.run(ctx, o.runDir)
}

// untilSignal returns a context that ends when somebody wants an orderly end. A
// terminal that goes is none, nor is a log that nobody reads any more: who is
// notified of SIGHUP and SIGPIPE is not killed by them, and hooks do not inherit
// that, as they would with Ignore.
func untilSignal() (context.Context, context.CancelFunc) {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE, syscall.SIGHUP)
	return signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
}

// load reads a configuration; whatever is wrong with it is the caller's to mend.
func load(file string, o *options, p conf.Purpose) (*conf.Config, error) {
	defer frugal()()
	cfg, err := conf.Load(file, conf.Options{LAN: o.lan, Purpose: p})
	if err != nil {
		return nil, usageError{err}
	}
	return cfg, nil
}

// mayAdminister says what is missing where the process may not change the
// network, before anything was changed.
func mayAdminister() error {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&head, &data[0]); err != nil {
		return fmt.Errorf("asking for the process's capabilities: %w", err)
	}
	if data[0].Effective&(1<<unix.CAP_NET_ADMIN) == 0 {
		return errors.New("changing the host's network needs CAP_NET_ADMIN: run it with sudo, or from the systemd unit")
	}
	return nil
}
