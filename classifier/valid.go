package classifier

import (
	"fmt"
	"net/netip"
)

// valid refuses what the configuration should not have let through: here it
// would become a table that answers wrongly.
func (e *Entry) valid(sets int) error {
	for _, list := range [][]netip.Prefix{e.To, e.From, e.NotTo, e.NotFrom} {
		for _, p := range list {
			if err := valid(p); err != nil {
				return err
			}
		}
	}
	for _, list := range [][]int{e.ToSets, e.FromSets, e.NotToSets, e.NotFromSets} {
		for _, n := range list {
			if n < 0 || n >= sets {
				return fmt.Errorf("set number %d of %d does not exist", n, sets)
			}
		}
	}
	for _, list := range [][]PortRange{e.Ports, e.FromPorts} {
		for _, r := range list {
			if r.Lo > r.Hi {
				return fmt.Errorf("port range %d-%d runs backwards; write the lower port first", r.Lo, r.Hi)
			}
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

// everything is the prefix of all addresses of a family.
func everything(v4 bool) netip.Prefix {
	if v4 {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
}
