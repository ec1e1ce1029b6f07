package host

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// fallbackMetric is far behind any other route's: the unreachable default only
// answers when the TUN device's own default is gone.
const fallbackMetric = 4278198272

var anyIPv4 = &net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}

// fallback is the route that keeps the LAN closed when the TUN device vanished
// with its process. It has no device, so nothing takes it along.
func fallback(table uint32) *netlink.Route {
	return &netlink.Route{
		Dst: anyIPv4, Table: int(table), Type: unix.RTN_UNREACHABLE,
		Priority: fallbackMetric, Protocol: unix.RTPROT_KERNEL, Family: unix.AF_INET,
	}
}

func viaTUN(table uint32, index int) *netlink.Route {
	return &netlink.Route{
		Dst: anyIPv4, Table: int(table), LinkIndex: index, Scope: netlink.SCOPE_LINK,
		Protocol: unix.RTPROT_KERNEL, Family: unix.AF_INET,
	}
}

// setRoutes fills table T: the closed end first.
func (h *hand) setRoutes(s *Spec) error {
	err := h.step(fmt.Sprintf("adding the unreachable default of table %d", s.Table), func() error {
		return netlink.RouteReplace(fallback(s.Table))
	})
	if err != nil {
		return err
	}
	tun, err := link(s.TUN)
	if err != nil {
		return err
	}
	err = h.step(fmt.Sprintf("adding the default of table %d by %s", s.Table, s.TUN), func() error {
		return netlink.RouteReplace(viaTUN(s.Table, tun.Attrs().Index))
	})
	if err != nil {
		return err
	}
	if !s.usesInside() {
		return nil
	}
	source, err := lanAddress(s)
	if err != nil {
		return err
	}
	return h.step(fmt.Sprintf("adding the route to %s of table %d", Inside, s.Table), func() error {
		return netlink.RouteReplace(insideRoute(s.Table, tun.Attrs().Index, source))
	})
}

// removeRoutes empties table T of what is ours. The open end goes first.
func (h *hand) removeRoutes(table uint32, tun string) error {
	var errs []error
	if l, err := netlink.LinkByName(tun); err == nil {
		index := l.Attrs().Index
		errs = append(errs, h.removeRoute(viaTUN(table, index)), h.removeRoute(insideRoute(table, index, netip.Addr{})))
	}
	return errors.Join(append(errs, h.removeRoute(fallback(table)))...)
}

func (h *hand) removeRoute(r *netlink.Route) error {
	err := h.step(fmt.Sprintf("removing the route to %s of table %d", prefixOf(r.Dst), r.Table), func() error { return netlink.RouteDel(r) })
	if errors.Is(err, syscall.ESRCH) || errors.Is(err, syscall.ENOENT) {
		return nil
	}
	return err
}

// foreignRoutes returns what others put into table T.
func foreignRoutes(s *Spec) ([]netlink.Route, error) {
	var foreign []netlink.Route
	for _, f := range families() {
		routes, err := tableRoutes(f, s.Table)
		if err != nil {
			return nil, err
		}
		for _, r := range routes {
			if p := prefixOf(r.Dst); r.Protocol != unix.RTPROT_KERNEL || p != prefixOf(anyIPv4) && p != insidePrefix {
				foreign = append(foreign, r)
			}
		}
	}
	return foreign, nil
}
