package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
)

const (
	sysctlRoot = "/proc/sys"
	ipForward  = "net/ipv4/ip_forward"
	conf4      = "net/ipv4/conf"
	conf6      = "net/ipv6/conf"
)

// Sysctl is a value that was changed, or that the kernel changes with another.
type Sysctl struct {
	Key string `json:"key"` // path below /proc/sys
	Was string `json:"was"`
	Set string `json:"set"`
}

// late says whether a value belongs to forwarding, which is switched on last
// and off first. The kernel changes all of these when ip_forward changes
// (inet_forward_change in net/ipv4/devinet.c).
func (s Sysctl) late() bool {
	return s.Key == ipForward || s.Key == conf4+"/all/accept_redirects" || path.Base(s.Key) == "forwarding"
}

func readSysctl(key string) (string, error) {
	b, err := os.ReadFile(path.Join(sysctlRoot, key))
	if err != nil {
		return "", fmt.Errorf("reading sysctl %s: %w", key, err)
	}
	return strings.TrimSpace(string(b)), nil
}

// writeSysctl leaves a value alone that is right already: some writes have side
// effects even then.
func (h *hand) writeSysctl(key, value string) error {
	now, err := readSysctl(key)
	if err != nil || now == value {
		return err
	}
	return h.step("setting sysctl "+key+" to "+value, func() error {
		return os.WriteFile(path.Join(sysctlRoot, key), []byte(value), 0o644)
	})
}

// families are those this kernel has switched on (ipv6.disable=1 leaves one).
func families() []family {
	if _, err := os.Stat(path.Join(sysctlRoot, conf6)); err != nil {
		return []family{ipv4}
	}
	return []family{ipv4, ipv6}
}

// neededSysctls lists what must change on the host, ip_forward first among the
// late ones. The TUN device's own values are not here: they go with it.
func neededSysctls(s *Spec) ([]Sysctl, error) {
	var all []Sysctl
	want := func(key, value string) error {
		now, err := readSysctl(key)
		if err == nil && now != value {
			all = append(all, Sysctl{key, now, value})
		}
		return err
	}
	// A redirect would teach a host of a stick to pass us by. The kernel sends
	// them when either value is on.
	errs := []error{want(conf4+"/all/send_redirects", "0")}
	for _, name := range s.lanNames() {
		errs = append(errs, want(conf4+"/"+name+"/send_redirects", "0"))
	}
	strict, err := strictUplinks(s.Uplinks)
	errs = append(errs, err)
	for _, name := range strict {
		errs = append(errs, want(conf4+"/"+name+"/rp_filter", "2"))
	}
	forwarding, err := neededForwarding(s)
	errs = append(errs, err)
	return append(all, forwarding...), errors.Join(errs...)
}

// strictUplinks are those whose reverse-path filter would drop the answers to
// direct traffic: the kernel looks the sender up as if a LAN packet went there,
// meets the capture rule and finds the TUN device. The larger of all's and the
// interface's value counts, and 2, loose, is the largest.
func strictUplinks(uplinks []string) ([]string, error) {
	all, err := readSysctl(conf4 + "/all/rp_filter")
	if err != nil {
		return nil, err
	}
	var strict []string
	for _, name := range uplinks {
		own, err := readSysctl(conf4 + "/" + name + "/rp_filter")
		if errors.Is(err, fs.ErrNotExist) {
			continue // Conflicts says that it is not there
		}
		if err != nil {
			return nil, err
		}
		if max(all, own) == "1" {
			strict = append(strict, name)
		}
	}
	return strict, nil
}

// neededForwarding records, when forwarding is off, everything that switching
// it on changes; otherwise only interfaces that were left out of it.
func neededForwarding(s *Spec) ([]Sysctl, error) {
	on, err := readSysctl(ipForward)
	if err != nil {
		return nil, err
	}
	var all []Sysctl
	var names []string
	if on == "1" {
		names = append(s.lanNames(), s.Uplinks...)
	} else {
		redirects, err := readSysctl(conf4 + "/all/accept_redirects")
		if err != nil {
			return nil, err
		}
		all = append(all, Sysctl{ipForward, on, "1"}, Sysctl{conf4 + "/all/accept_redirects", redirects, "0"})
		if names, err = confNames(); err != nil {
			return nil, err
		}
	}
	for _, name := range names {
		if name == "all" || name == s.TUN {
			continue // an alias of ip_forward; not ours to restore
		}
		key := conf4 + "/" + name + "/forwarding"
		now, err := readSysctl(key)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if on != "1" || now != "1" {
			all = append(all, Sysctl{key, now, "1"})
		}
	}
	return all, nil
}

// confNames are the interfaces, all and default.
func confNames() ([]string, error) {
	entries, err := os.ReadDir(path.Join(sysctlRoot, conf4))
	if err != nil {
		return nil, fmt.Errorf("listing interfaces in %s: %w", conf4, err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, nil
}

// ofGuard says whether a value belongs to the guard: a packet that the guard
// drops has already made the kernel tell its sender, by a redirect, who would
// take it instead.
func (s Sysctl) ofGuard() bool { return path.Base(s.Key) == "send_redirects" }

// restoreSysctls puts back the values that which takes. One that is no longer what we
// set has a new owner and is kept, also through the side effects of ip_forward.
func (h *hand) restoreSysctls(saved []Sysctl, which func(Sysctl) bool) error {
	var back []Sysctl
	for _, s := range saved {
		if !which(s) {
			continue
		}
		now, err := readSysctl(s.Key)
		if errors.Is(err, fs.ErrNotExist) {
			continue // the interface is gone
		}
		if err != nil {
			return err
		}
		if now != s.Set && now != s.Was {
			h.log.Warn("a sysctl was changed by someone else and stays", "key", s.Key, "value", now, "was", s.Was)
			s.Was = now
		}
		back = append(back, s)
	}
	var errs []error
	for _, s := range back {
		if err := h.writeSysctl(s.Key, s.Was); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
