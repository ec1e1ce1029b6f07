package host

import (
	"fmt"
	"slices"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
)

// Conflict is something on the host that keeps Turnout from working.
type Conflict struct {
	Where   string // the chain, rule or table, as its own tool names it
	Why     string // what it does to us
	Command string // what to run, if a command can help; safe to paste into a shell
	Refuse  bool   // Set refuses to go on

	chain ForeignChain
	pass  *pass // what the command inserts
}

// Conflicts says what stands in the way of s: foreign forward chains that drop
// what we need to pass, one entry and command for each rule they lack; marks,
// priorities and a routing table that others use. It changes nothing. An
// unreadable part of the host is a conflict too.
func Conflicts(s Spec) []Conflict {
	if err := s.valid(); err != nil {
		return []Conflict{{Where: "configuration", Why: err.Error(), Refuse: true}}
	}
	old, err := loadState(s.RunDir)
	if err != nil {
		return []Conflict{{Where: "run directory " + s.RunDir, Why: err.Error(), Refuse: true}}
	}
	return conflicts(&s, old)
}

func conflicts(s *Spec, old *State) []Conflict {
	var all []Conflict
	for _, part := range []func(*Spec, *State) ([]Conflict, error){insideConflicts, uplinkConflicts, ruleConflicts, tableConflicts, chainConflicts} {
		found, err := part(s, old)
		if err != nil {
			found = append(found, Conflict{Where: "this host", Why: err.Error()})
		}
		all = append(all, found...)
	}
	return all
}

// uplinkConflicts names uplinks that are not there, an LTE stick for example.
func uplinkConflicts(s *Spec, _ *State) ([]Conflict, error) {
	var all []Conflict
	for _, name := range s.Uplinks {
		if _, err := link(name); err != nil {
			all = append(all, Conflict{Where: "uplink " + name,
				Why: "it is not there: answers to direct traffic may not come back by it until turnout starts again with it"})
		}
	}
	return all, nil
}

// ruleConflicts looks at foreign ip rules: one that matches on bits of our
// marks would be triggered by us or trigger ours; one at our priorities makes
// the order of the rules a matter of chance.
func ruleConflicts(s *Spec, old *State) ([]Conflict, error) {
	there, err := listRules()
	if err != nil {
		return nil, err
	}
	ours := wantedRules(s, merge(s.Local))
	if old != nil {
		ours = union(ours, old.Rules)
	}
	var all []Conflict
	for _, n := range there {
		if slices.ContainsFunc(ours, func(r Rule) bool { return r.is(n) }) {
			continue
		}
		where := fmt.Sprintf("ip rule with priority %d", n.Priority)
		for _, m := range []struct{ mark, mask uint32 }{{s.Mark, s.Mask}, {s.DirectMark, s.DirectMask}} {
			if clash(n, m.mark, m.mask) {
				all = append(all, Conflict{Where: where, Refuse: true,
					Why: fmt.Sprintf("it matches the firewall mark %s, which shares bits with our %#x/%#x: choose other marks in [host]",
						markText(n), m.mark, m.mask)})
			}
		}
		if p := uint32(n.Priority); p >= s.Priority && p < s.Priority+numPriorities {
			all = append(all, Conflict{Where: where,
				Why: fmt.Sprintf("it lies among ours, %d to %d, and may take packets from them: choose another [host] priority",
					s.Priority, s.Priority+numPriorities-1)})
		}
	}
	return all, nil
}

// clash reports whether the foreign rule n looks at bits of mark/mask. A rule
// that compares all 32 bits, as wg-quick's does, owns a value, not bits: it
// clashes only when that value looks like ours.
func clash(n netlink.Rule, mark, mask uint32) bool {
	if n.Mark == 0 && n.Mask == nil {
		return false
	}
	theirs := ^uint32(0)
	if n.Mask != nil {
		theirs = *n.Mask
	}
	if theirs == ^uint32(0) {
		return n.Mark&mask == mark
	}
	return theirs&mask != 0
}

func markText(n netlink.Rule) string {
	if n.Mask == nil {
		return fmt.Sprintf("%#x", n.Mark)
	}
	return fmt.Sprintf("%#x/%#x", n.Mark, *n.Mask)
}

func tableConflicts(s *Spec, old *State) ([]Conflict, error) {
	if old != nil && slices.Contains(old.Tables, s.Table) {
		return nil, nil
	}
	foreign, err := foreignRoutes(s)
	if err != nil || len(foreign) == 0 {
		return nil, err
	}
	return []Conflict{{Where: fmt.Sprintf("routing table %d", s.Table), Refuse: true,
		Why: fmt.Sprintf("someone else uses it, for %s: choose another [host] table", prefixOf(foreign[0].Dst))}}, nil
}

// chainConflicts plays one packet for each way through each foreign forward
// chain, as the kernel would, and reports those that do not come out.
func chainConflicts(s *Spec, _ *State) ([]Conflict, error) {
	c, err := nftables.New()
	if err != nil {
		return nil, fmt.Errorf("opening nftables: %w", err)
	}
	f, err := readFirewall(c)
	if err != nil {
		return nil, err
	}
	var all []Conflict
	for _, base := range f.bases {
		var needed []pass
		for _, sample := range samples(s) {
			if !slices.ContainsFunc(needed, sample.same) && f.drops(base, sample) {
				needed = append(needed, sample.pass)
			}
		}
		for _, p := range needed {
			name := nameOf(base)
			all = append(all, Conflict{
				Where: "nft chain " + name.String(), Why: "it drops " + p.why, chain: name, pass: &p,
				Command: p.command(name),
			})
		}
	}
	return all, nil
}

func nameOf(c *nftables.Chain) ForeignChain {
	families := map[nftables.TableFamily]string{nftables.TableFamilyINet: "inet", nftables.TableFamilyIPv4: "ip"}
	return ForeignChain{families[c.Table.Family], c.Table.Name, c.Name}
}

func (c ForeignChain) nft() (*nftables.Table, *nftables.Chain) {
	t := &nftables.Table{Name: c.Table, Family: nftables.TableFamilyIPv4}
	if c.Family == "inet" {
		t.Family = nftables.TableFamilyINet
	}
	return t, &nftables.Chain{Name: c.Chain, Table: t}
}

func chainsOf(all []Conflict) []ForeignChain {
	var chains []ForeignChain
	for _, c := range all {
		if c.pass != nil {
			chains = union(chains, []ForeignChain{c.chain})
		}
	}
	return chains
}
