package host

import (
	"net"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// A family is an address family as netlink knows it.
type family int

const (
	ipv4 family = unix.AF_INET
	ipv6 family = unix.AF_INET6
)

func familyOf(a netip.Addr) family {
	if a.Is4() {
		return ipv4
	}
	return ipv6
}

func (f family) String() string {
	if f == ipv4 {
		return "IPv4"
	}
	return "IPv6"
}

// suffix tells apart the sets of the two families.
func (f family) suffix() string {
	if f == ipv4 {
		return "4"
	}
	return "6"
}

// pick returns the prefixes of one family.
func pick(all []netip.Prefix, f family) []netip.Prefix {
	var some []netip.Prefix
	for _, p := range all {
		if familyOf(p.Addr()) == f {
			some = append(some, p)
		}
	}
	return some
}

// merge returns all masked, sorted and without those inside another: an nft
// interval set takes no overlaps.
func merge(all []netip.Prefix) []netip.Prefix {
	var masked, merged []netip.Prefix
	for _, p := range all {
		if p.IsValid() {
			masked = append(masked, netip.PrefixFrom(p.Addr().Unmap(), p.Bits()).Masked())
		}
	}
	// Shorter first within one address, so that a parent comes before its children.
	slices.SortFunc(masked, func(a, b netip.Prefix) int {
		if c := a.Addr().Compare(b.Addr()); c != 0 {
			return c
		}
		return a.Bits() - b.Bits()
	})
	for _, p := range masked {
		if n := len(merged); n > 0 && merged[n-1].Overlaps(p) {
			continue
		}
		merged = append(merged, p)
	}
	return merged
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// prefixOf returns n as a prefix; nil is the invalid one.
func prefixOf(n *net.IPNet) netip.Prefix {
	if n == nil {
		return netip.Prefix{}
	}
	a, ok := netip.AddrFromSlice(n.IP)
	if !ok {
		return netip.Prefix{}
	}
	bits, _ := n.Mask.Size()
	return netip.PrefixFrom(a.Unmap(), bits)
}
