package host

import (
	"errors"
	"fmt"
	"net/netip"
)

// Set makes s true of the host. It may be called again with the same or
// another Spec, and after a process that was killed: then what that one saved
// stays what Restore goes back to.
//
// The order is: write down, close, prepare, open. The guard stands before
// anything else changes and forwarding is switched on last, so that at every
// moment in between the LAN is closed.
//
// When a step fails, Set undoes all unless it adopted: a LAN that a crash left
// closed stays closed.
func Set(s Spec) (*State, error) {
	h := newHand(s.Log)
	p, err := newPlan(&s)
	if err != nil {
		return nil, err
	}
	if err := h.report(&s, p); err != nil {
		return nil, err
	}
	if err := h.carryOut(&s, p); err != nil {
		if p.state.Adopted {
			return nil, fmt.Errorf("preparing the host (the LAN stays closed): %w", err)
		}
		return nil, errors.Join(fmt.Errorf("preparing the host: %w", err), Restore(s.RunDir, false))
	}
	return p.state, nil
}

// A plan is all that Set is about to do. Making it changes nothing.
type plan struct {
	rules     []Rule
	ruleset   ruleset
	sysctls   []Sysctl
	conflicts []Conflict
	leaves    bool     // Inside, which an earlier run used
	known     []Rule   // of an earlier run
	tables    []uint32 // of an earlier run
	state     *State   // as it is written down
}

func newPlan(s *Spec) (*plan, error) {
	if err := s.valid(); err != nil {
		return nil, err
	}
	old, err := loadState(s.RunDir)
	if err != nil {
		return nil, err
	}
	if err := s.complete(); err != nil {
		return nil, err
	}
	local := merge(s.Local)
	localIfs, err := localInterfaces(local)
	if err != nil {
		return nil, err
	}
	p := &plan{rules: wantedRules(s, local), ruleset: newRuleset(s, local, localIfs)}
	if p.sysctls, err = neededSysctls(s); err != nil {
		return nil, err
	}
	host, err := thisHost()
	if err != nil {
		return nil, err
	}
	p.conflicts = conflicts(s, old)
	p.state = &State{
		Version: stateVersion, Host: host, TUN: s.TUN, Guard: true,
		Sysctls: p.sysctls, Rules: p.rules, Tables: []uint32{s.Table},
	}
	if s.AdjustFirewall {
		p.state.Firewall = chainsOf(p.conflicts)
	}
	if old != nil {
		p.known, p.tables = old.Rules, old.Tables
		if p.leaves = old.usedInside() && !s.usesInside(); p.leaves {
			// A service of the gateway may go on answering an old conversation.
			p.ruleset.chains = append(p.ruleset.chains, insideChain(s))
		}
		p.state.adopt(old)
	}
	return p, nil
}

// complete adds what the caller need not know: the LAN's IPv6 prefixes, which
// only matter for keeping IPv6 among LAN hosts working.
func (s *Spec) complete() error {
	lan := make([]LANInterface, len(s.LAN))
	for i, l := range s.LAN {
		lan[i] = LANInterface{l.Name, append([]netip.Prefix(nil), l.Prefixes...)}
		own, err := LANPrefixes(l.Name)
		if err != nil {
			return err
		}
		if len(pick(l.Prefixes, ipv6)) == 0 {
			lan[i].Prefixes = append(lan[i].Prefixes, pick(own, ipv6)...)
		}
	}
	s.LAN = lan
	if _, err := link(s.TUN); err != nil {
		return fmt.Errorf("the data path has to open the TUN device first: %w", err)
	}
	return nil
}

// report says what stands in the way, and refuses what cannot work.
func (h *hand) report(s *Spec, p *plan) error {
	var refused []error
	for _, c := range p.conflicts {
		switch {
		case c.Refuse:
			refused = append(refused, fmt.Errorf("%s: %s", c.Where, c.Why))
		case !s.AdjustFirewall || c.pass == nil:
			args := []any{"where", c.Where}
			if c.Command != "" {
				args = append(args, "command", c.Command)
			}
			h.log.Warn(c.Why, args...)
		}
	}
	return errors.Join(refused...)
}

func (h *hand) carryOut(s *Spec, p *plan) error {
	// 1. Write down what is there and what is added.
	if err := h.save(s.RunDir, p.state); err != nil {
		return err
	}
	// 2. Close.
	if err := h.replace(p.ruleset); err != nil {
		return err
	}
	// 3. Prepare: values, device, table, rules.
	if err := h.setSysctls(p.sysctls, false); err != nil {
		return err
	}
	if err := h.setTUNSysctls(s.TUN); err != nil {
		return err
	}
	if err := h.setLink(s); err != nil {
		return err
	}
	if err := h.setRoutes(s); err != nil {
		return err
	}
	if err := h.setRules(p.rules, p.known); err != nil {
		return err
	}
	for _, t := range p.tables {
		if t != s.Table {
			if err := h.removeRoutes(t, s.TUN); err != nil {
				return err
			}
		}
	}
	if p.leaves {
		if err := h.leaveInside(s); err != nil {
			return err
		}
	}
	// 4. Open: foreign firewalls, then forwarding.
	if s.AdjustFirewall {
		if err := h.insertPasses(p.conflicts); err != nil {
			return err
		}
	}
	if err := h.setSysctls(p.sysctls, true); err != nil {
		return err
	}
	return h.writeSysctl(conf4+"/"+s.TUN+"/forwarding", "1")
}

func (h *hand) setSysctls(values []Sysctl, late bool) error {
	for _, v := range values {
		if v.late() == late {
			if err := h.writeSysctl(v.Key, v.Set); err != nil {
				return err
			}
		}
	}
	return nil
}
