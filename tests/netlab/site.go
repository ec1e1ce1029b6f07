package netlab

import (
	"errors"
	"net/netip"
)

// Caller is the server's own end of its tunnel, as a host that starts
// conversations: with the gateway, or with what is behind it.
func (l *Lab) Caller(s *Server) *Host { return &Host{Node: s.Node, Addr: s.Address, lab: l} }

// Serve has a node answer as far ends do, under a name.
func (n *Node) Serve(name string, ports ...uint16) error {
	f := &Far{Node: n, pings: make(map[string]Ping)}
	errs := []error{f.servePing()}
	for _, port := range ports {
		errs = append(errs, f.serveTCP(name, port), f.serveUDP(name, port))
	}
	return errors.Join(errs...)
}

// Reach gives a server a route to a network behind the gateway, by its tunnel.
func (s *Server) Reach(p netip.Prefix) error {
	return errors.Join(s.allow(p), s.Route(p, netip.Addr{}, wgDevice))
}

// Net is the network of a server's tunnel, both ends in it.
func (s *Server) Net() netip.Prefix { return netip.PrefixFrom(s.Address, 24).Masked() }

// Hop makes a server carry on what comes out of its tunnel for the world, under
// its own address, as a provider does.
func (s *Server) Hop() error {
	if err := s.Sysctl("net.ipv4.ip_forward", "1"); err != nil {
		return err
	}
	_, err := s.Feed("table ip hop { chain post { type nat hook postrouting priority srcnat; oifname eth0 masquerade; }; };\n", "nft", "-f", "-")
	return err
}
