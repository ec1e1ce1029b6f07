package host

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// tunAddress is the IPv4 dummy address of RFC 7600. The TUN device needs one:
// without any, the loose reverse-path filter drops what comes out of it.
var tunAddress = netip.MustParsePrefix("192.0.0.8/32")

// tunQueue is how many packets wait between the kernel and the process. The
// default of 500 is 5 ms of a 100,000 packets/s stream, less than a busy
// two-core host keeps a process waiting; this is 20 ms. More would be latency:
// these may be super-packets of 64 KB, and 2048 of them already take a third
// of a second at 3 Gbit/s.
const tunQueue = 2048

// setTUNSysctls runs before the device is up. Its values vanish with it.
func (h *hand) setTUNSysctls(tun string) error {
	values := []struct{ key, value string }{
		{conf6 + "/" + tun + "/disable_ipv6", "1"}, // no router solicitations into the process
		{conf4 + "/" + tun + "/rp_filter", "2"},    // it carries the sources of the whole internet
		// The process answers LAN hosts in the gateway's own name (ICMP errors):
		// packets from a local address, which the kernel else calls martian.
		{conf4 + "/" + tun + "/accept_local", "1"},
	}
	for _, v := range values {
		if err := h.writeSysctl(v.key, v.value); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// setLink configures the TUN device that the data path opened.
func (h *hand) setLink(s *Spec) error {
	tun, err := link(s.TUN)
	if err != nil {
		return err
	}
	if tun.Attrs().MTU != s.MTU {
		err := h.step(fmt.Sprintf("setting the MTU of %s to %d", s.TUN, s.MTU), func() error { return netlink.LinkSetMTU(tun, s.MTU) })
		if err != nil {
			return err
		}
	}
	if tun.Attrs().TxQLen != tunQueue {
		err := h.step("lengthening the queue of "+s.TUN, func() error { return netlink.LinkSetTxQLen(tun, tunQueue) })
		if err != nil {
			return err
		}
	}
	err = h.step("adding "+tunAddress.String()+" to "+s.TUN, func() error { return netlink.AddrReplace(tun, tunAddr()) })
	if err != nil {
		return err
	}
	return h.step("setting "+s.TUN+" up", func() error { return netlink.LinkSetUp(tun) })
}

// tunAddr has link scope, so that the kernel never chooses it as a source for
// another interface.
func tunAddr() *netlink.Addr {
	return &netlink.Addr{IPNet: ipNet(tunAddress), Scope: unix.RT_SCOPE_LINK}
}

// clearLink takes the address back. The device itself belongs to the data path,
// which may be gone already.
func (h *hand) clearLink(name string) error {
	tun, err := netlink.LinkByName(name)
	if err != nil {
		return nil
	}
	err = h.step("removing "+tunAddress.String()+" from "+name, func() error { return netlink.AddrDel(tun, tunAddr()) })
	if errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}
