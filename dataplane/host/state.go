package host

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	stateFile    = "host.json" // in RunDir
	stateVersion = 1
)

// State is what Restore needs to know: the values before the first change and
// everything that was added. The state file holds it as JSON.
type State struct {
	Version  int            `json:"version"`
	Host     string         `json:"host"` // boot and network namespace the rest is about
	TUN      string         `json:"tun"`
	Sysctls  []Sysctl       `json:"sysctls,omitempty"`
	Rules    []Rule         `json:"rules,omitempty"`
	Tables   []uint32       `json:"tables,omitempty"`   // routing tables
	Firewall []ForeignChain `json:"firewall,omitempty"` // chains that hold accept rules of ours
	Guard    bool           `json:"guard"`              // the nft table stands

	Adopted bool `json:"-"` // Set found the state of a process that did not restore
}

// ForeignChain is an nft chain of someone else.
type ForeignChain struct {
	Family string `json:"family"`
	Table  string `json:"table"`
	Chain  string `json:"chain"`
}

func (c ForeignChain) String() string { return c.Family + " " + c.Table + " " + c.Chain }

// thisHost identifies the boot and the network namespace. Saved values of
// another one mean nothing: a reboot resets all sysctls, and a container that
// starts again in a new namespace may find its old files.
func thisHost() (string, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("reading the boot id: %w", err)
	}
	ns, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		return "", fmt.Errorf("reading the network namespace's id: %w", err)
	}
	return strings.TrimSpace(string(boot)) + " " + ns, nil
}

// loadState returns nil when there is no state file.
func loadState(runDir string) (*State, error) {
	name := filepath.Join(runDir, stateFile)
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading what was changed on the host: %w", err)
	}
	var s State
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, fmt.Errorf("reading what was changed on the host from %s: %w; without it nothing can be undone exactly: move it away and reboot", name, err)
	}
	if s.Version != stateVersion {
		return nil, fmt.Errorf("%s has version %d, this turnout writes %d: run `turnout down` with the one that wrote it", name, s.Version, stateVersion)
	}
	here, err := thisHost()
	if err != nil {
		return nil, err
	}
	if s.Host != here {
		s.Sysctls = nil
		s.Host = here
	}
	return &s, nil
}

// save replaces the state file. It is on disk before save returns, so that
// what it announces can follow.
func (h *hand) save(runDir string, s *State) error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding what is changed on the host: %w", err)
	}
	name := filepath.Join(runDir, stateFile)
	return h.step("writing down what is changed on the host in "+name, func() error {
		if err := os.MkdirAll(runDir, 0o755); err != nil {
			return err
		}
		return replaceFile(name, append(b, '\n'))
	})
}

func replaceFile(name string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

func (h *hand) forget(runDir string) error {
	name := filepath.Join(runDir, stateFile)
	return h.step("removing "+name, func() error {
		if err := os.Remove(name); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
}

// adopt adds what old knows to s: everything it added may still be there, and
// where both name a sysctl, the old original is the true one.
func (s *State) adopt(old *State) {
	s.Adopted = true
	s.Rules = union(old.Rules, s.Rules)
	s.Tables = union(old.Tables, s.Tables)
	s.Firewall = union(old.Firewall, s.Firewall)
	s.Sysctls = adoptSysctls(old.Sysctls, s.Sysctls)
}

func adoptSysctls(old, needed []Sysctl) []Sysctl {
	kept := slices.Clone(old)
	for _, n := range needed {
		i := slices.IndexFunc(kept, func(o Sysctl) bool { return o.Key == n.Key })
		switch {
		case i >= 0:
			kept[i].Set = n.Set
		default:
			kept = append(kept, n)
		}
	}
	return kept
}

func union[T comparable](a, b []T) []T {
	all := slices.Clone(a)
	for _, x := range b {
		if !slices.Contains(all, x) {
			all = append(all, x)
		}
	}
	return all
}
