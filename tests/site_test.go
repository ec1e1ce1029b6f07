package tests

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"turnout/tests/netlab"
)

// talks plays a flow of a host and checks who answers, and whom he saw.
func talks(h *netlab.Host, f netlab.Flow, name string, seen netip.Addr) error {
	got, err := h.Probe(f)
	if err != nil {
		return fmt.Errorf("%v of %s: %w", f, h.Name, err)
	}
	if got.Exit != name || got.Seen != seen {
		return fmt.Errorf("%v of %s is answered by %q (%s), who saw %v; want %q and %v", f, h.Name, got.Exit, got.Detail, got.Seen, name, seen)
	}
	return nil
}

// both is a TCP and a UDP flow.
func both(to netip.Addr, port uint16) []netlab.Flow {
	return []netlab.Flow{{Proto: "tcp", Dst: to, Port: port}, {Proto: "udp", Dst: to, Port: port}}
}

// pinged wants an answer to an echo request, from wherever.
func pinged(h *netlab.Host, to netip.Addr) error {
	got, err := h.Probe(netlab.Flow{Proto: "icmp", Dst: to})
	if err == nil && got.Detail != "answer" {
		err = fmt.Errorf("ping from %s to %v: %s", h.Name, to, got.Detail)
	}
	return err
}

// TestPointToSite carries three kinds of conversation on one tunnel at once:
//
//	far endpoint  ──►  LAN host without a route back, which sees the gateway
//	LAN host      ──►  the gateway's LAN address and port, which is the far endpoint
//	site gateway: both sides start conversations under their own addresses
func TestPointToSite(t *testing.T) {
	for _, layout := range []netlab.Layout{netlab.TwoLegs, netlab.Stick} {
		t.Run(layout.String(), func(t *testing.T) {
			t.Parallel()
			r := world{
				Options: netlab.Options{Layout: layout, Hosts: 2, Servers: []string{"office"}},
				Default: "office",
				Tunnel: map[string]string{"office": `nat = "none"
accept = [{from = "10.81.1.1", to = "192.168.77.11", nat = "masquerade"}, "10.81.1.0/24"]`},
				Head: "[[forward]]\nlisten = \"lan\"\ntunnel = \"office\"\nport = 5432\nto = \"10.81.1.1:8080\"\n",
			}.up(t)
			watch := r.watch(t)
			office := r.Servers[0]
			caller := r.Caller(office)
			for _, h := range r.Hosts {
				// Not the whole LAN: on a stick the gateway's way out is in it.
				if err := errors.Join(h.Serve(h.Name, 8080), office.Reach(netip.PrefixFrom(h.Addr, 32))); err != nil {
					t.Fatal(err)
				}
			}
			lost := r.Hosts[1]
			on(t, lost.Node, "ip", "route", "del", "default")
			var jobs []func() error
			add := func(h *netlab.Host, flows []netlab.Flow, name string, seen netip.Addr) {
				for _, f := range flows {
					jobs = append(jobs, func() error { return talks(h, f, name, seen) })
				}
			}
			add(caller, both(lost.Addr, 8080), lost.Name, r.GatewayAddr())
			add(lost, both(r.GatewayAddr(), 5432), "office", lost.Addr)
			add(r.Hosts[0], both(r.GatewayAddr(), 5432), "office", r.Hosts[0].Addr)
			add(caller, both(r.Hosts[0].Addr, 8080), r.Hosts[0].Name, office.Address)
			add(r.Hosts[0], both(office.Address, 8080), "office", r.Hosts[0].Addr)
			jobs = append(jobs, func() error { return pinged(caller, lost.Addr) }, func() error { return pinged(caller, r.Hosts[0].Addr) })
			bulk := func(h *netlab.Host, to netip.Addr, port uint16) {
				f := netlab.Flow{Proto: "tcp", Dst: to, Port: port, Wait: 5 * time.Second}
				jobs = append(jobs,
					func() error { return h.Upload(f, 1<<20, 1, 20*time.Second) },
					func() error { return h.Download(f, 1<<20, 2, 20*time.Second) })
			}
			bulk(caller, lost.Addr, 8080)
			bulk(lost, r.GatewayAddr(), 5432)
			bulk(caller, r.Hosts[0].Addr, 8080)
			if err := all(jobs, func(f func() error) error { return f() }); err != nil {
				t.Error(err)
			}
			if err := watch.Leaks(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A forward from a tunnel, ranges and hairpin included, answers by that tunnel
// although policy sends the LAN elsewhere.
func TestPortForward(t *testing.T) {
	t.Parallel()
	r := world{
		Options: netlab.Options{Hosts: 2, Servers: []string{"sweden", "japan"}},
		Default: "japan",
		Head: `[[forward]]
tunnel = "sweden"
port = "9000-9009"
to = "192.168.77.11:8080"
[[forward]]
tunnel = "sweden"
proto = "tcp"
port = 2222
to = "192.168.77.1:2200"
`,
	}.up(t)
	watch := r.watch(t)
	sweden := r.Servers[0]
	caller, lan, target := r.Caller(sweden), r.Hosts[0], r.Hosts[1]
	if err := errors.Join(target.Serve("target", 8080, 8083), r.Gateway.Serve("gateway", 2200)); err != nil {
		t.Fatal(err)
	}
	var jobs []func() error
	for _, h := range []*netlab.Host{caller, lan} {
		jobs = append(jobs, func() error {
			return talks(h, netlab.Flow{Proto: "tcp", Dst: sweden.Client, Port: 2222}, "gateway", netip.MustParseAddr("192.0.0.6"))
		})
	}
	for port, to := range map[uint16]string{9000: "target", 9003: "target", 9001: netlab.Reject} {
		for _, f := range both(sweden.Client, port) {
			seen := sweden.Address
			if to == netlab.Reject {
				seen = netip.Addr{}
			}
			jobs = append(jobs, func() error { return talks(caller, f, to, seen) })
		}
	}
	for _, f := range both(sweden.Client, 9000) {
		jobs = append(jobs, func() error { return talks(lan, f, "target", sweden.Client) })
	}
	f := netlab.Flow{Proto: "tcp", Dst: sweden.Client, Port: 9000, Wait: 5 * time.Second}
	for _, h := range []*netlab.Host{caller, lan} {
		jobs = append(jobs,
			func() error { return h.Upload(f, 1<<20, 1, 20*time.Second) },
			func() error { return h.Download(f, 1<<20, 2, 20*time.Second) })
	}
	if err := all(jobs, func(f func() error) error { return f() }); err != nil {
		t.Error(err)
	}
	if err := watch.Leaks(); err != nil {
		t.Error(err)
	}
	// What is not forwarded is not there.
	for _, f := range append(both(sweden.Client, 22), both(r.GatewayAddr(), 2200)...) {
		f.Wait = time.Second
		if err := talks(caller, f, netlab.Drop, netip.Addr{}); err != nil {
			t.Error(err)
		}
	}
}

// Peers of two tunnels talk through the gateway, as far as accept says.
func TestRelayBetweenTunnels(t *testing.T) {
	for _, nat := range []string{"none", "masquerade"} {
		t.Run("nat="+nat, func(t *testing.T) {
			t.Parallel()
			r := world{
				Options: netlab.Options{Servers: []string{"paris", "tokyo"}},
				Default: netlab.Reject,
				Peer:    map[string][]string{"paris": {"AllowedIPs = 10.81.1.0/24"}, "tokyo": {"AllowedIPs = 10.81.2.0/24"}},
				Tunnel: map[string]string{
					"paris": "nat = \"none\"\naccept = [{from = \"10.81.1.0/24\", to = \"10.81.2.0/24\"}]",
					"tokyo": fmt.Sprintf("nat = %q\naccept = [{from = \"10.81.2.0/24\", to = \"10.81.1.0/24\", proto = \"tcp\", ports = 80}]", nat),
				},
			}.up(t)
			watch := r.watch(t)
			paris, tokyo := r.Servers[0], r.Servers[1]
			if err := errors.Join(paris.Reach(tokyo.Net()), tokyo.Reach(paris.Net())); err != nil {
				t.Fatal(err)
			}
			a, b := r.Caller(paris), r.Caller(tokyo)
			seen := paris.Address
			if nat == "masquerade" {
				seen = tokyo.Client
			}
			f := netlab.Flow{Proto: "tcp", Dst: tokyo.Address, Port: 80, Wait: 5 * time.Second}
			jobs := []func() error{
				func() error { return talks(a, f, "tokyo", seen) },
				func() error { return talks(a, netlab.Flow{Proto: "udp", Dst: tokyo.Address, Port: 53}, "tokyo", seen) },
				func() error { return pinged(a, tokyo.Address) },
				func() error { return a.Upload(f, 1<<20, 1, 20*time.Second) },
				func() error { return a.Download(f, 1<<20, 2, 20*time.Second) },
				func() error {
					return talks(b, netlab.Flow{Proto: "tcp", Dst: paris.Address, Port: 80}, "paris", tokyo.Address)
				},
				func() error {
					return talks(b, netlab.Flow{Proto: "tcp", Dst: paris.Address, Port: 443, Wait: time.Second}, netlab.Drop, netip.Addr{})
				},
			}
			if err := all(jobs, func(f func() error) error { return f() }); err != nil {
				t.Error(err)
			}
			if err := watch.Leaks(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A tunnel in a tunnel: the inner one's server sees the hop's address, and
// the uplink carries nothing but packets for the hop.
func TestChainOfTunnels(t *testing.T) {
	t.Parallel()
	r := world{
		Options: netlab.Options{Servers: []string{"hop", "inner"}},
		Default: "inner",
		Tunnel:  map[string]string{"inner": `via = "hop"`},
		Before: func(t *testing.T, l *netlab.Lab) {
			if err := l.Servers[0].Hop(); err != nil {
				t.Fatal(err)
			}
		},
	}.up(t)
	watch := r.watch(t)
	inner, hop := r.Servers[1], r.Servers[0]
	f := netlab.Flow{Proto: "tcp", Dst: netlab.Internet[0], Port: 80, Wait: 5 * time.Second}
	if err := errors.Join(
		all(everyProtocol(0), func(f netlab.Flow) error { return r.arrives(r.Hosts[0], f, "inner") }),
		r.Hosts[0].Upload(f, 4<<20, 1, 30*time.Second),
		r.Hosts[0].Download(f, 4<<20, 2, 30*time.Second),
	); err != nil {
		t.Error(err)
	}
	if out := on(t, inner.Node, "wg", "show", "wg0", "endpoints"); !strings.Contains(out, hop.Endpoint.Addr().String()+":") {
		t.Errorf("the inner server sees %q, want the hop, %v", out, hop.Endpoint.Addr())
	}
	if err := watch.Leaks(); err != nil {
		t.Error(err)
	}
}
