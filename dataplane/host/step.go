package host

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"syscall"
)

// A hand changes the host. All its changes pass through step.
type hand struct{ log *slog.Logger }

func newHand(log *slog.Logger) *hand {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &hand{log: log}
}

// step performs one side effect. There is no other way to change the host in
// this package, so this is where one can see, count or stop them all. what
// completes the sentence "turnout was ...".
func (h *hand) step(what string, do func() error) error {
	h.log.Debug("host", "step", what)
	if err := do(); err != nil {
		return fmt.Errorf("%s: %w", what, hint(err))
	}
	return nil
}

// hint adds what the operator can do to errors that say it badly.
func hint(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w (it takes root, or CAP_NET_ADMIN in this network namespace)", err)
	case errors.Is(err, syscall.EOPNOTSUPP), errors.Is(err, syscall.EAFNOSUPPORT):
		return fmt.Errorf("%w (the running kernel lacks it)", err)
	}
	return err
}
