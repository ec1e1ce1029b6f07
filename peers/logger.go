package peers

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.zx2c4.com/wireguard/device"
)

// warnEvery is the least time between two warnings of one kind about one
// peer. wireguard-go reports a failed send for every batch.
const warnEvery = 10 * time.Second

// A logger writes one tunnel's log lines to slog. It never calls back into
// the device, which may hold its locks while it logs.
type logger struct {
	to *slog.Logger

	mu   sync.Mutex
	last map[string]warned
}

type warned struct {
	at     time.Time
	silent int // warnings left out since
}

// newLogger logs to nothing when to is nil.
func newLogger(to *slog.Logger, tunnel string) *logger {
	if to == nil {
		to = slog.New(slog.DiscardHandler)
	}
	return &logger{to: to.With("tunnel", tunnel), last: make(map[string]warned)}
}

// warn logs one line, unless one of the same kind was logged a moment ago.
func (l *logger) warn(kind, msg string, args ...any) {
	if silent, ok := l.due(kind, time.Now()); ok {
		if silent > 0 {
			args = append(args, "left_out", silent)
		}
		l.to.Warn(msg, args...)
	}
}

func (l *logger) due(kind string, now time.Time) (silent int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w, known := l.last[kind]
	if known && now.Sub(w.at) < warnEvery {
		w.silent++
		l.last[kind] = w
		return 0, false
	}
	if len(l.last) > 1024 {
		clear(l.last)
	}
	l.last[kind] = warned{at: now}
	return w.silent, true
}

// device adapts l for wireguard-go. Its errors are warnings here: none of them
// ends the tunnel.
func (l *logger) device() *device.Logger {
	return &device.Logger{
		Verbosef: func(format string, args ...any) {
			if l.to.Enabled(context.Background(), slog.LevelDebug) {
				l.to.Debug(fmt.Sprintf(format, args...))
			}
		},
		Errorf: func(format string, args ...any) {
			kind := format
			for _, a := range args {
				if p, ok := a.(*device.Peer); ok {
					kind += p.String()
				}
			}
			l.warn(kind, fmt.Sprintf(format, args...))
		},
	}
}
