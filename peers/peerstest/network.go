package peerstest

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
)

// A Network is hosts that exchange datagrams in memory, in the goroutine of
// the sender. Nothing is lost on the way but what nobody listens for. It is
// safe for concurrent use.
type Network struct {
	mu    sync.RWMutex
	ports map[netip.AddrPort]func([]byte, netip.AddrPort)
}

// NewNetwork returns a network without hosts.
func NewNetwork() *Network {
	return &Network{ports: make(map[netip.AddrPort]func([]byte, netip.AddrPort))}
}

// Host returns a peers.Transport of a host with an address, which other hosts
// may share.
func (n *Network) Host(a netip.Addr) *Host { return &Host{net: n, addr: a} }

// A Host is one port of a Network.
type Host struct {
	net  *Network
	addr netip.Addr
	at   netip.AddrPort // guarded by net.mu; invalid: closed
}

// Open implements peers.Transport.
func (h *Host) Open(port uint16, receive func(datagram []byte, from netip.AddrPort)) (uint16, error) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	at := netip.AddrPortFrom(h.addr, port)
	for free := uint16(49152); port == 0 && (at.Port() == 0 || h.net.ports[at] != nil); free++ {
		at = netip.AddrPortFrom(h.addr, free)
	}
	if h.net.ports[at] != nil {
		return 0, fmt.Errorf("port %d: %w", port, syscall.EADDRINUSE)
	}
	h.net.ports[at] = receive
	h.at = at
	return at.Port(), nil
}

// Send implements peers.Transport.
func (h *Host) Send(datagrams [][]byte, to netip.AddrPort) error {
	h.net.mu.RLock()
	from, receive := h.at, h.net.ports[to]
	h.net.mu.RUnlock()
	switch {
	case !from.IsValid():
		return net.ErrClosed
	case to.Addr().Is4() != h.addr.Is4():
		return fmt.Errorf("sending to %v: %w", to, syscall.EAFNOSUPPORT)
	case receive == nil:
		return nil
	}
	for _, d := range datagrams {
		receive(d, from)
	}
	return nil
}

// Close implements peers.Transport.
func (h *Host) Close() error {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	delete(h.net.ports, h.at)
	h.at = netip.AddrPort{}
	return nil
}
