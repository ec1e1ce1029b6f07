package host

import (
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
)

// Spec says what must be true of the host.
type Spec struct {
	TUN     string         // name of the TUN device; the data path has created it
	MTU     int            // of the TUN device, bytes: the largest of the LAN's
	LAN     []LANInterface // at least one
	Local   []netip.Prefix // the LAN reaches these by the main table: containers, a DMZ, routed subnets
	Uplinks []string       // ways out of the host; may be among LAN (a stick), may be empty

	Listen     []Port // of the gateway's own addresses: what LAN hosts send there goes to the process, see Inside
	UsesInside bool   // the process speaks as Inside, to LAN hosts or to the gateway; Listen implies it

	Mark, Mask             uint32 // of our own sockets
	DirectMark, DirectMask uint32 // of LAN packets that pass by the main table; differs from Mark under both masks

	Table    uint32 // routing table that holds nothing but our default
	Priority uint32 // of the first of numPriorities rules

	AdjustFirewall bool         // insert accept rules into foreign chains that would drop us
	RunDir         string       // holds the state file
	Log            *slog.Logger // nil: silent
}

// LANInterface is an interface whose traffic is captured, and the prefixes
// behind it, of both families.
type LANInterface struct {
	Name     string
	Prefixes []netip.Prefix
}

const maxIfName = 15 // IFNAMSIZ without the terminating zero

// valid reports the first thing that makes s unusable. It touches nothing.
func (s *Spec) valid() error {
	if len(s.LAN) == 0 {
		return fmt.Errorf("no LAN interface is named: there is nothing to route")
	}
	for _, name := range s.names() {
		if err := validName(name); err != nil {
			return err
		}
	}
	if !s.hasIPv4() {
		return fmt.Errorf("no IPv4 prefix of the LAN is known: give %s an IPv4 address, or list [lan] prefixes", s.LAN[0].Name)
	}
	if err := s.validInside(); err != nil {
		return err
	}
	return s.validNumbers()
}

func (s *Spec) validNumbers() error {
	switch {
	case s.MTU < 576 || s.MTU > 65535:
		return fmt.Errorf("the MTU of %s would be %d: 576 to 65535 is allowed", s.TUN, s.MTU)
	case s.Mark == 0 || s.Mark&^s.Mask != 0:
		return fmt.Errorf("mark %#x does not fit mask %#x: it must be non-zero and inside", s.Mark, s.Mask)
	case s.DirectMark == 0 || s.DirectMark&^s.DirectMask != 0:
		return fmt.Errorf("direct mark %#x does not fit mask %#x: it must be non-zero and inside", s.DirectMark, s.DirectMask)
	case s.Mark&s.DirectMask == s.DirectMark || s.DirectMark&s.Mask == s.Mark:
		return fmt.Errorf("mark %#x/%#x and direct mark %#x/%#x cannot be told apart: choose values that differ under both masks",
			s.Mark, s.Mask, s.DirectMark, s.DirectMask)
	case s.Table == 0 || s.Table >= 253 && s.Table <= 255:
		return fmt.Errorf("routing table %d is the kernel's own: choose another", s.Table)
	case s.Priority == 0 || s.Priority > 32766-numPriorities:
		return fmt.Errorf("rule priority %d does not lie between the local table's 0 and the main table's 32766", s.Priority)
	case !filepath.IsAbs(s.RunDir):
		return fmt.Errorf("run directory %q is not an absolute path", s.RunDir)
	}
	return nil
}

// validName keeps names out of /proc/sys paths and netlink attributes that
// could mean something else there.
func validName(name string) error {
	if name == "" || len(name) > maxIfName || name == "." || name == ".." || name == "all" || name == "default" ||
		strings.ContainsAny(name, "/ \t\n\x00\"'") {
		return fmt.Errorf("%q cannot be the name of an interface", name)
	}
	return nil
}

func (s *Spec) names() []string {
	return append(append(s.lanNames(), s.Uplinks...), s.TUN)
}

func (s *Spec) lanNames() []string {
	var names []string
	for _, l := range s.LAN {
		if !slices.Contains(names, l.Name) {
			names = append(names, l.Name)
		}
	}
	return names
}

func (s *Spec) hasIPv4() bool { return len(pick(s.lanPrefixes(), ipv4)) > 0 }

// lanPrefixes are those of all LAN interfaces, merged: a LAN host reaches the
// others' directly.
func (s *Spec) lanPrefixes() []netip.Prefix {
	var all []netip.Prefix
	for _, l := range s.LAN {
		all = append(all, l.Prefixes...)
	}
	return merge(all)
}
