package classifier

import (
	"fmt"
	"net/netip"
	"slices"
)

// valid refuses what the configuration should not have let through: here it
// would become a table that answers wrongly.
func (e *Entry) valid() error {
	for _, p := range slices.Concat(e.To, e.From, e.NotTo, e.NotFrom) {
		if err := valid(p); err != nil {
			return err
		}
	}
	for _, r := range slices.Concat(e.Ports, e.FromPorts) {
		if r.Lo > r.Hi {
			return fmt.Errorf("port range %d-%d runs backwards; write the lower port first", r.Lo, r.Hi)
		}
	}
	for _, d := range e.DSCP {
		if d > 63 {
			return fmt.Errorf("dscp %d; a DSCP value is 0 to 63", d)
		}
	}
	if e.By > ByDefault {
		return fmt.Errorf("kind of entry %d; it is at most %d", e.By, ByDefault)
	}
	return nil
}

func valid(p netip.Prefix) error {
	switch {
	case !p.IsValid():
		return fmt.Errorf("prefix %v is not valid", p)
	case p.Masked().Addr().Is4In6():
		return fmt.Errorf("prefix %v is IPv4 in IPv6 form; write it as IPv4", p)
	}
	return nil
}

// family returns the masked prefixes of one family, each once. An empty list
// means every address; ok is false when the list speaks of the other family only.
func family(list []netip.Prefix, v4 bool) (out []netip.Prefix, ok bool) {
	if len(list) == 0 {
		return []netip.Prefix{everything(v4)}, true
	}
	for _, p := range list {
		if p.Addr().Is4() == v4 {
			out = append(out, p.Masked())
		}
	}
	slices.SortFunc(out, preorder)
	return slices.Compact(out), len(out) > 0
}

// validSets refuses a set with a prefix that is none.
func (p *Policy) validSets() error {
	for i := range p.Sets {
		s := &p.Sets[i]
		for _, q := range s.Prefixes {
			if err := valid(q); err != nil {
				return fmt.Errorf("%s: set %q: %w", s.Pos, s.Name, err)
			}
		}
	}
	return nil
}

// validRefs refuses a set number that no set of the policy has.
func (e *Entry) validRefs(sets int) error {
	for _, n := range slices.Concat(e.ToSets, e.FromSets, e.NotToSets, e.NotFromSets) {
		if n < 0 || n >= sets {
			return fmt.Errorf("set number %d of %d does not exist", n, sets)
		}
	}
	return nil
}
