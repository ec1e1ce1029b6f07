package netlab

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// Addresses of the lab. The "internet" ones live on every far end.
var (
	LAN      = netip.MustParsePrefix("192.168.77.0/24")
	LAN6     = netip.MustParsePrefix("fd00:77::/64")
	Uplink   = netip.MustParsePrefix("203.0.113.0/24")
	Uplink6  = netip.MustParsePrefix("fd00:203::/64")
	Internet = []netip.Addr{
		netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("198.51.100.2"),
		netip.MustParseAddr("198.51.100.3"), netip.MustParseAddr("198.51.100.4"),
		netip.MustParseAddr("10.99.0.1"), // a company's network, private everywhere
	}
	Internet6 = netip.MustParseAddr("2001:db8:100::1") // on the router only
	// Beyond is one hop behind each server, when Options.Beyond says so.
	Beyond = netip.MustParseAddr("198.51.100.200")
)

// DefaultPorts are the TCP and UDP ports on which far ends answer.
var DefaultPorts = []uint16{22, 23, 25, 53, 80, 123, 443, 993, 3389, 5060, 8080, 27015}

// A Layout says how the gateway is wired.
type Layout uint8

const (
	TwoLegs Layout = iota // eth1 to the LAN, eth0 to the router
	Stick                 // eth0 only: hosts, gateway and router on one switch
)

func (l Layout) String() string { return [...]string{"two legs", "stick"}[l] }

// Options say what world to play. The zero value needs Self only.
type Options struct {
	Layout  Layout
	Hosts   int      // on the LAN, 1 by default: host i has address 192.168.77.(9+i)
	Servers []string // their names, in order; three towns by default
	Ports   []uint16 // DefaultPorts if empty
	Beyond  bool     // a further machine behind each server, for traceroute
	LANMTU  int      // bytes; 1,500 if 0
	// LANRoute tells each server a route to the LAN through its tunnel, for
	// gateways that do not masquerade.
	LANRoute bool
	IPv6     bool // give LAN and uplink IPv6 too; the tunnels never have it
	// Self is the command that runs a program which calls Child first.
	Self []string
	// Binary is the turnout program that Gateway.Up runs.
	Binary string
	// Configure sets up a server's WireGuard interface; by default Server.ConfigureUAPI.
	Configure func(*Server) error
	// Dir is where the lab may make a folder of its own; by default os.TempDir.
	// The path of a unix socket has 107 bytes at most, so it must be short.
	Dir string
}

// A Lab is the whole world. Close it in every case.
type Lab struct {
	Options Options
	Dir     string // scratch folder, removed by Close
	Hosts   []*Host
	Gateway *Gateway
	Router  *Far // the direct way to the same addresses
	Servers []*Server

	switchboard *Node
	once        sync.Once
}

// New builds the world; nothing of it is visible outside. On an error nothing is left.
func New(o Options) (*Lab, error) {
	o = withDefaults(o)
	dir, err := os.MkdirTemp(scratch(o.Dir), fmt.Sprintf("tl-%d-", os.Getpid()))
	if err != nil {
		return nil, fmt.Errorf("make the lab's folder: %w", err)
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	l := &Lab{Options: o, Dir: dir}
	for _, step := range []func() error{l.makeNodes, l.wireLAN, l.wireUplink, l.startRouter, l.startServers} {
		if err := step(); err != nil {
			l.Close()
			return nil, err
		}
	}
	return l, nil
}

func withDefaults(o Options) Options {
	if o.Hosts == 0 {
		o.Hosts = 1
	}
	if len(o.Servers) == 0 {
		o.Servers = []string{"sweden", "japan", "office"}
	}
	if len(o.Ports) == 0 {
		o.Ports = DefaultPorts
	}
	return o
}

// scratch avoids /run, which each node hides behind its own.
func scratch(dir string) string {
	if dir == "" {
		dir = os.TempDir()
	}
	if strings.HasPrefix(dir, "/run/") || strings.HasPrefix(dir, "/var/run/") {
		return "/tmp"
	}
	return dir
}

func (l *Lab) makeNodes() error {
	var err error
	node := func(name string) *Node {
		if err != nil {
			return nil
		}
		var n *Node
		n, err = NewNode(name)
		return n
	}
	l.switchboard = node("switch")
	l.Gateway = &Gateway{Node: node("gateway"), lab: l}
	l.Router = &Far{Node: node("direct")}
	for i := range l.Options.Hosts {
		l.Hosts = append(l.Hosts, &Host{Node: node(fmt.Sprintf("host%d", i+1)), Addr: lanAddr(10 + i), lab: l})
	}
	for i, name := range l.Options.Servers {
		s := newServer(i+1, name)
		s.Node = node(name)
		if l.Options.Beyond {
			s.beyond = node(name + "-beyond")
		}
		l.Servers = append(l.Servers, s)
	}
	return err
}

// Server finds a server by its name, or nil.
func (l *Lab) Server(name string) *Server {
	for _, s := range l.Servers {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// Fars returns every far end that owns the internet addresses: the router,
// which is the direct way, then the servers.
func (l *Lab) Fars() []*Far {
	fars := []*Far{l.Router}
	for _, s := range l.Servers {
		fars = append(fars, &s.Far)
	}
	return fars
}

// Close ends everything and removes the folder.
func (l *Lab) Close() error {
	var err error
	l.once.Do(func() {
		var nodes []*Node
		for _, h := range l.Hosts {
			nodes = append(nodes, h.Node)
		}
		if l.Gateway != nil {
			nodes = append(nodes, l.Gateway.Node)
		}
		for _, s := range l.Servers {
			nodes = append(nodes, s.beyond, s.Node)
		}
		if l.Router != nil {
			nodes = append(nodes, l.Router.Node)
		}
		for _, n := range append(nodes, l.switchboard) {
			if n != nil {
				n.Close()
			}
		}
		err = errors.Join(err, os.RemoveAll(l.Dir))
	})
	return err
}

func lanAddr(last int) netip.Addr {
	b := LAN.Addr().As4()
	b[3] = byte(last)
	return netip.AddrFrom4(b)
}
