package host

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// dump repeats a netlink dump that the kernel says was interrupted by a change,
// because its result may be incomplete.
func dump[T any](list func() ([]T, error)) ([]T, error) {
	var all []T
	var err error
	for range 5 {
		if all, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return all, err
}

// link finds an interface by name and says which there are when it does not.
func link(name string) (netlink.Link, error) {
	l, err := netlink.LinkByName(name)
	if err == nil {
		return l, nil
	}
	var missing netlink.LinkNotFoundError
	if !errors.As(err, &missing) {
		return nil, fmt.Errorf("looking up interface %s: %w", name, err)
	}
	return nil, fmt.Errorf("there is no interface %s here, only %s: %w", name, strings.Join(linkNames(), ", "), err)
}

func linkNames() []string {
	links, _ := dump(netlink.LinkList)
	var names []string
	for _, l := range links {
		names = append(names, l.Attrs().Name)
	}
	return names
}

// MTUOf returns the MTU of an interface, bytes.
func MTUOf(ifname string) (int, error) {
	l, err := link(ifname)
	if err != nil {
		return 0, err
	}
	return l.Attrs().MTU, nil
}

// Addresses returns an interface's own addresses with their prefix lengths, as
// the kernel lists them, without link-local ones.
func Addresses(ifname string) ([]netip.Prefix, error) {
	l, err := link(ifname)
	if err != nil {
		return nil, err
	}
	addrs, err := dump(func() ([]netlink.Addr, error) { return netlink.AddrList(l, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("listing the addresses of %s: %w", ifname, err)
	}
	var own []netip.Prefix
	for _, a := range addrs {
		if p := prefixOf(a.IPNet); p.IsValid() && !p.Addr().IsLinkLocalUnicast() {
			own = append(own, p)
		}
	}
	return own, nil
}

// LANPrefixes returns the networks an interface is in: those of Addresses,
// masked, sorted, none inside another.
func LANPrefixes(ifname string) ([]netip.Prefix, error) {
	own, err := Addresses(ifname)
	if err != nil {
		return nil, err
	}
	return merge(own), nil
}

// DefaultUplinks returns the interfaces that hold a default route of the main
// table, of either family, the preferred one first. There may be none.
func DefaultUplinks() ([]string, error) {
	type candidate struct{ index, metric int }
	var found []candidate
	for _, f := range families() {
		routes, err := mainRoutes(f)
		if err != nil {
			return nil, err
		}
		for _, r := range routes {
			if p := prefixOf(r.Dst); p.IsValid() && p.Bits() > 0 {
				continue
			}
			for _, index := range devices(r) {
				found = append(found, candidate{index, r.Priority})
			}
		}
	}
	slices.SortStableFunc(found, func(a, b candidate) int { return a.metric - b.metric })
	var names []string
	for _, c := range found {
		l, err := netlink.LinkByIndex(c.index)
		if err == nil && l.Attrs().Name != "lo" && !slices.Contains(names, l.Attrs().Name) {
			names = append(names, l.Attrs().Name)
		}
	}
	return names, nil
}

func mainRoutes(f family) ([]netlink.Route, error) { return tableRoutes(f, unix.RT_TABLE_MAIN) }

func tableRoutes(f family, table uint32) ([]netlink.Route, error) {
	filter := &netlink.Route{Table: int(table)}
	routes, err := dump(func() ([]netlink.Route, error) {
		return netlink.RouteListFiltered(int(f), filter, netlink.RT_FILTER_TABLE)
	})
	if err != nil {
		return nil, fmt.Errorf("listing the %s routes of table %d: %w", f, table, err)
	}
	return routes, nil
}

// devices are the interfaces a route leads out of, those of each next hop too.
func devices(r netlink.Route) []int {
	var all []int
	if r.LinkIndex > 0 {
		all = append(all, r.LinkIndex)
	}
	for _, hop := range r.MultiPath {
		all = append(all, hop.LinkIndex)
	}
	return all
}

// localInterfaces are those the main table leads to a prefix by. A default
// route does not count: the uplink is no place for local traffic.
func localInterfaces(prefixes []netip.Prefix) ([]string, error) {
	var names []string
	for _, f := range families() {
		if len(pick(prefixes, f)) == 0 {
			continue
		}
		routes, err := mainRoutes(f)
		if err != nil {
			return nil, err
		}
		for _, r := range routes {
			p := prefixOf(r.Dst)
			if !p.IsValid() || p.Bits() == 0 || !slices.ContainsFunc(prefixes, p.Overlaps) {
				continue
			}
			for _, index := range devices(r) {
				if l, err := netlink.LinkByIndex(index); err == nil && !slices.Contains(names, l.Attrs().Name) {
					names = append(names, l.Attrs().Name)
				}
			}
		}
	}
	slices.Sort(names)
	return names, nil
}
