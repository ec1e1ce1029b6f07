package host

import (
	"errors"
	"fmt"
	"log/slog"
)

// Restore undoes what the state file in runDir says, whether or not the
// process that wrote it still runs. Without a state file there is nothing to
// undo. With keepGuard the guard stays, and a state file to remove it by.
//
// The guard goes last, after forwarding is what it was: if anything before
// fails, the LAN stays closed, the state file stays, and Restore can be
// repeated.
func Restore(runDir string, keepGuard bool) error {
	h := newHand(slog.Default())
	s, err := loadState(runDir)
	if err != nil || s == nil {
		return err
	}
	if err := h.undo(s); err != nil {
		return fmt.Errorf("restoring the host (the LAN stays closed; `turnout down` tries again): %w", err)
	}
	if keepGuard {
		return h.leaveGuard(runDir, s)
	}
	if err := h.restoreSysctls(s.Sysctls, Sysctl.ofGuard); err != nil {
		return fmt.Errorf("restoring the host (the LAN stays closed; `turnout down` tries again): %w", err)
	}
	if err := h.removeTable(); err != nil {
		return err
	}
	if s.usedInside() {
		h.forgetInside()
	}
	return h.forget(runDir)
}

// undo takes back everything but the guard, in the reverse order of Set. It
// goes on after an error, to leave as little as it can.
func (h *hand) undo(s *State) error {
	errs := []error{
		h.restoreSysctls(s.Sysctls, Sysctl.late),
		h.removePasses(s.Firewall),
		h.removeRules(s.Rules),
	}
	for _, t := range s.Tables {
		errs = append(errs, h.removeRoutes(t, s.TUN))
	}
	return errors.Join(append(errs,
		h.clearLink(s.TUN),
		h.restoreSysctls(s.Sysctls, func(v Sysctl) bool { return !v.late() && !v.ofGuard() }))...)
}

// leaveGuard reduces host and state file to the guard.
func (h *hand) leaveGuard(runDir string, s *State) error {
	if err := h.keepGuard(); err != nil {
		return err
	}
	if s.usedInside() {
		h.forgetInside()
	}
	left := &State{Version: stateVersion, Host: s.Host, TUN: s.TUN, Guard: true}
	for _, v := range s.Sysctls {
		if v.ofGuard() {
			left.Sysctls = append(left.Sysctls, v)
		}
	}
	return h.save(runDir, left)
}
