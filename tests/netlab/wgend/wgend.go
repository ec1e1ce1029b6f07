// Package wgend is the far side of a tunnel in tests and demonstrations: a
// plain wireguard-go on a kernel TUN, as its own command would run it, with
// none of the router's code in it. What talks to it talks to WireGuard.
package wgend

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"
)

// DirEnv names the environment variable with the folder of the sockets that
// wg(8) configures ends by. wg(8) itself always looks in DefaultDir, so
// another folder only serves who mounts it there.
const DirEnv = "WG_DIR"

// DefaultDir is shared by all network namespaces: interface names of ends
// that run at the same time must differ.
const DefaultDir = "/var/run/wireguard"

// Run makes the interface iface in the network namespace of the process (not
// of the thread alone: sockets open on another one) and serves it until ctx
// ends, which is success. The interface comes up by "ip link set up" and is
// configured by wg(8) as soon as its socket exists. log may be nil; at debug
// level it gets wireguard-go's own words.
func Run(ctx context.Context, iface string, log *slog.Logger) error {
	dev, err := tun.CreateTUN(iface, device.DefaultMTU)
	if err != nil {
		return fmt.Errorf("making the interface %s (needs CAP_NET_ADMIN and /dev/net/tun): %w", iface, err)
	}
	wg := device.NewDevice(dev, conn.NewDefaultBind(), logger(log, iface))
	defer wg.Close()
	ln, err := listen(iface)
	if err != nil {
		return fmt.Errorf("opening the socket of %s for wg: %w", iface, err)
	}
	defer ln.Close()
	go serve(ln, wg)
	select {
	case <-ctx.Done():
		return nil
	case <-wg.Wait():
		return fmt.Errorf("the interface %s is gone", iface)
	}
}

// listen makes the socket that wg(8) finds, in place of one that a killed
// process left.
func listen(iface string) (net.Listener, error) {
	dir := os.Getenv(DirEnv)
	if dir == "" {
		dir = DefaultDir
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, iface+".sock")
	if c, err := net.Dial("unix", path); err == nil {
		c.Close()
		return nil, fmt.Errorf("another process answers on %s", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return net.Listen("unix", path)
}

func serve(ln net.Listener, wg *device.Device) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go wg.IpcHandle(c)
	}
}

// logger costs nothing below log's level: an end is also what the router's
// speed is measured against.
func logger(log *slog.Logger, iface string) *device.Logger {
	l := &device.Logger{Verbosef: device.DiscardLogf, Errorf: device.DiscardLogf}
	if log == nil {
		return l
	}
	log = log.With("interface", iface)
	if log.Enabled(context.Background(), slog.LevelDebug) {
		l.Verbosef = func(format string, args ...any) { log.Debug(fmt.Sprintf(format, args...)) }
	}
	l.Errorf = func(format string, args ...any) { log.Error(fmt.Sprintf(format, args...)) }
	return l
}
