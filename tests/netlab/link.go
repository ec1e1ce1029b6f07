package netlab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"
)

// Cable joins two nodes: interface aName in a, bName in b, both up.
func Cable(a *Node, aName string, b *Node, bName string) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = aName
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: bName, PeerNamespace: netlink.NsFd(b.ns)}
	if err := a.link.LinkAdd(veth); err != nil {
		return fmt.Errorf("join %s %s with %s %s: %w", a.Name, aName, b.Name, bName, err)
	}
	return errors.Join(a.Up(aName), b.Up(bName))
}

// Bridge makes an interface that switches between the named ones.
func (n *Node) Bridge(name string, ports ...string) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	br := &netlink.Bridge{LinkAttrs: attrs}
	if err := n.link.LinkAdd(br); err != nil {
		return fmt.Errorf("make bridge %s in %s: %w", name, n.Name, err)
	}
	for _, p := range ports {
		l, err := n.Link(p)
		if err != nil {
			return err
		}
		if err := n.link.LinkSetMaster(l, br); err != nil {
			return fmt.Errorf("put %s into bridge %s: %w", p, name, err)
		}
	}
	return n.Up(name)
}

// Link finds an interface.
func (n *Node) Link(name string) (netlink.Link, error) {
	l, err := n.link.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("find %s in %s: %w", name, n.Name, err)
	}
	return l, nil
}

// Up sets an interface up.
func (n *Node) Up(name string) error {
	l, err := n.Link(name)
	if err != nil {
		return err
	}
	if err := n.link.LinkSetUp(l); err != nil {
		return fmt.Errorf("set %s up in %s: %w", name, n.Name, err)
	}
	return nil
}

// MTU sets an interface's MTU in bytes.
func (n *Node) MTU(name string, mtu int) error {
	l, err := n.Link(name)
	if err != nil {
		return err
	}
	if err := n.link.LinkSetMTU(l, mtu); err != nil {
		return fmt.Errorf("set the MTU of %s in %s: %w", name, n.Name, err)
	}
	return nil
}

// Address adds addresses, written as prefixes, to an interface.
func (n *Node) Address(name string, prefixes ...netip.Prefix) error {
	l, err := n.Link(name)
	if err != nil {
		return err
	}
	for _, p := range prefixes {
		a := &netlink.Addr{IPNet: ipNet(p)}
		if p.Addr().Is6() {
			a.Flags = syscall.IFA_F_NODAD // usable at once
		}
		if err := n.link.AddrAdd(l, a); err != nil {
			return fmt.Errorf("add %s to %s in %s: %w", p, name, n.Name, err)
		}
	}
	return nil
}

// Route adds a route by a gateway, or on the link itself when via is not valid.
func (n *Node) Route(to netip.Prefix, via netip.Addr, dev string) error {
	l, err := n.Link(dev)
	if err != nil {
		return err
	}
	r := &netlink.Route{LinkIndex: l.Attrs().Index, Dst: ipNet(to)}
	if via.IsValid() {
		r.Gw = via.AsSlice()
	} else {
		r.Scope = netlink.SCOPE_LINK
	}
	if err := n.link.RouteAdd(r); err != nil {
		return fmt.Errorf("add route %s via %s dev %s in %s: %w", to, via, dev, n.Name, err)
	}
	return nil
}

// Sysctl sets a key such as "net.ipv4.ip_forward". Only keys of the network
// namespace can be set: the others belong to the real host.
func (n *Node) Sysctl(key, value string) error {
	if !strings.HasPrefix(key, "net.") {
		return fmt.Errorf("sysctl %s is not one of the network namespace", key)
	}
	path := filepath.Join("/proc/sys", strings.ReplaceAll(key, ".", "/"))
	return n.Do(func() error {
		if err := os.WriteFile(path, []byte(value), 0o644); err != nil {
			return fmt.Errorf("set sysctl %s in %s: %w", key, n.Name, err)
		}
		return nil
	})
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
