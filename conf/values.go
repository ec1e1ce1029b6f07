package conf

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"turnout/classifier"
)

// name is what tunnels, groups and rules may be called.
var name = regexp.MustCompile(`^[A-Za-z0-9_=+.-]{1,64}$`)

const nameRule = "1 to 64 of letters, digits and _ = + . - are allowed"

// errKeyAsName: names are printed everywhere, and a key without a slash would
// pass for one.
var errKeyAsName = errors.New("it is a key; a name is wanted")

// checkLabel objects to what cannot be printed beside a rule or a peer.
func checkLabel(text string) error {
	switch {
	case wholeKey.MatchString(text):
		return errKeyAsName
	case len(text) > 64 || text != line("%s", text):
		return errors.New("up to 64 bytes on one line are allowed")
	}
	return nil
}

// reserved are the names of the built-in exits.
var reserved = []string{"direct", "drop", "reject"}

var (
	errReserved = errors.New("direct, drop and reject are exits of their own")
	errSetName  = errors.New("the @ stands before the name only where a rule uses the set")
)

// checkName objects to what cannot name a tunnel or a group.
func checkName(text string) error {
	switch {
	case wholeKey.MatchString(text):
		return errKeyAsName
	case !name.MatchString(text):
		return errors.New(nameRule)
	case slices.Contains(reserved, text):
		return errReserved
	}
	return nil
}

// parseNumber reads a decimal whole number from lo to hi.
func parseNumber(text string, lo, hi uint64) (uint64, error) {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n < lo || n > hi {
		return 0, fmt.Errorf("a whole number from %d to %d is wanted", lo, hi)
	}
	return n, nil
}

var errPrefix = errors.New("an address or a prefix such as 10.0.0.0/8 is wanted")

// parsePrefix reads a prefix, or a bare address as the prefix of it alone.
// Bits behind the length stay.
func parsePrefix(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		addr, err := netip.ParseAddr(text)
		if err != nil || addr.Zone() != "" {
			return p, errPrefix
		}
		p = netip.PrefixFrom(addr, addr.BitLen())
	}
	if p.Addr().Is4In6() {
		return p, errors.New("an IPv4 address in IPv6 clothes; write it as IPv4")
	}
	return p, nil
}

// parseNetwork reads a prefix that matches destinations or sources. With strict,
// bits behind the length are an error, since they hide a typing mistake; wg
// and WrapGuard drop them in silence, so their keys do too.
func parseNetwork(text string, strict bool) (netip.Prefix, error) {
	p, err := parsePrefix(text)
	if err != nil {
		return p, err
	}
	if strict && p != p.Masked() {
		return p, fmt.Errorf("it has bits behind its length; write %s or %s", p.Masked(), p.Addr())
	}
	return p.Masked(), nil
}

// parsePorts reads "22", "22,3389" and "8000-9000,53" into sorted ranges that
// do not touch.
func parsePorts(text string) ([]classifier.PortRange, error) {
	var out []classifier.PortRange
	for item := range strings.SplitSeq(text, ",") {
		lo, hi, isRange := strings.Cut(strings.TrimSpace(item), "-")
		if !isRange {
			hi = lo
		}
		a, errA := strconv.ParseUint(strings.TrimSpace(lo), 10, 16)
		b, errB := strconv.ParseUint(strings.TrimSpace(hi), 10, 16)
		if errA != nil || errB != nil || a == 0 || b < a {
			return nil, fmt.Errorf("%s is no port; ports from 1 to 65535, ranges such as 8000-9000 and comma lists are allowed", show(item))
		}
		out = append(out, classifier.PortRange{Lo: uint16(a), Hi: uint16(b)})
	}
	return mergePorts(out), nil
}

// mergePorts sorts ranges and joins those that overlap or touch.
func mergePorts(list []classifier.PortRange) []classifier.PortRange {
	slices.SortFunc(list, func(a, b classifier.PortRange) int { return int(a.Lo) - int(b.Lo) })
	out := list[:0]
	for _, r := range list {
		if n := len(out); n > 0 && int(r.Lo) <= int(out[n-1].Hi)+1 {
			out[n-1].Hi = max(out[n-1].Hi, r.Hi)
			continue
		}
		out = append(out, r)
	}
	return out
}

// Protocol numbers of IANA.
const (
	protoICMP   = 1
	protoTCP    = 6
	protoUDP    = 17
	protoICMPv6 = 58
)

// family is a set of address families.
type family uint8

const (
	v4 family = 1 << iota
	v6
	both = v4 | v6
)

func familyOf(p netip.Prefix) family {
	if p.Addr().Is4() {
		return v4
	}
	return v6
}

// families of a list; an empty list matches both.
func families(list []netip.Prefix) (f family) {
	for _, p := range list {
		f |= familyOf(p)
	}
	if len(list) == 0 {
		return both
	}
	return f
}

// everything is the prefix of all addresses of one family.
func everything(f family) netip.Prefix {
	if f == v4 {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
}

var (
	errProto     = errors.New("tcp, udp, icmp or any is wanted")
	errPortProto = errors.New("tcp, udp or both in a list are wanted")
)

// parseProto gives the protocol numbers of a word; none for any. "icmp" means
// that of each family.
func parseProto(text string, f family) ([]uint8, error) {
	switch strings.ToLower(text) {
	case "any":
		return nil, nil
	case "tcp":
		return []uint8{protoTCP}, nil
	case "udp":
		return []uint8{protoUDP}, nil
	case "icmp":
		switch f {
		case v4:
			return []uint8{protoICMP}, nil
		case v6:
			return []uint8{protoICMPv6}, nil
		}
		return []uint8{protoICMP, protoICMPv6}, nil
	}
	return nil, errProto
}

// parsePortProto gives the number of a protocol that has ports, as a list.
func parsePortProto(text string) ([]uint8, error) {
	list, err := parseProto(text, v4)
	if err != nil || len(list) == 0 || list[0] == protoICMP {
		return nil, errPortProto
	}
	return list, nil
}
