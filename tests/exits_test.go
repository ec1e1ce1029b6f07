package tests

import (
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"turnout/tests/netlab"
)

// A rejected TCP connection is reset, anything else gets ICMP 3/13 from the
// gateway, and both at once: nobody waits for a timeout.
func TestRejectAnswersAtOnce(t *testing.T) {
	t.Parallel()
	r := world{Default: netlab.Reject}.up(t)
	h := r.Hosts[0]
	begun := time.Now()
	_, err := h.Dial(netlab.Flow{Proto: "tcp", Dst: netlab.Internet[0], Port: 443, Wait: 3 * time.Second})
	if took := time.Since(begun); !errors.Is(err, syscall.ECONNREFUSED) || took > 500*time.Millisecond {
		t.Errorf("TCP: %v after %v, want a reset at once", err, took)
	}
	heard, err := h.ListenICMP()
	if err != nil {
		t.Fatal(err)
	}
	defer heard.Close()
	conn, err := h.DialUDP(netlab.Flow{Proto: "udp", Dst: netlab.Internet[0], Port: 443})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("may I?")); err != nil {
		t.Fatal(err)
	}
	heard.SetReadDeadline(time.Now().Add(time.Second))
	buf := make([]byte, 1500)
	n, from, err := heard.ReadFrom(buf)
	if err != nil {
		t.Fatalf("UDP: no ICMP error: %v", err)
	}
	m, err := icmp.ParseMessage(unix.IPPROTO_ICMP, buf[:n])
	if err != nil || m.Type != ipv4.ICMPTypeDestinationUnreachable || m.Code != 13 {
		t.Errorf("UDP: %+v (%v), want destination unreachable, code 13", m, err)
	}
	t.Logf("the refusal comes from %v", from)
}

func TestDropIsSilent(t *testing.T) {
	t.Parallel()
	r := world{Default: netlab.Drop}.up(t)
	watch := r.watch(t)
	if err := all(everyProtocol(0), func(f netlab.Flow) error { return r.arrives(r.Hosts[0], f, netlab.Drop) }); err != nil {
		t.Error(err)
	}
	if err := watch.Leaks(); err != nil {
		t.Error(err)
	}
}

// Direct traffic leaves masqueraded and its answers come back, in bulk too.
func TestDirectIsMasqueraded(t *testing.T) {
	t.Parallel()
	r := world{Default: netlab.Direct}.up(t)
	if err := all(everyProtocol(0), func(f netlab.Flow) error { return r.arrives(r.Hosts[0], f, netlab.Direct) }); err != nil {
		t.Error(err)
	}
	f := netlab.Flow{Proto: "tcp", Dst: netlab.Internet[1], Port: 80}
	if err := errors.Join(
		r.Hosts[0].Upload(f, 32<<20, 1, 30*time.Second),
		r.Hosts[0].Download(f, 32<<20, 2, 30*time.Second),
	); err != nil {
		t.Error(err)
	}
}

// A site gateway does not masquerade: the far end sees the LAN's own addresses.
func TestNoNATKeepsAddresses(t *testing.T) {
	t.Parallel()
	w := world{Options: netlab.Options{LANRoute: true}, Tunnel: map[string]string{"sweden": `nat = "none"`}}
	r := w.up(t)
	for _, f := range everyProtocol(0) {
		got, err := r.Hosts[0].Probe(f)
		if err != nil || got.Exit != "sweden" || got.Seen != r.Hosts[0].Addr {
			t.Errorf("%v arrives at %q from %v (%v), want sweden from %v", f, got.Exit, got.Seen, err, r.Hosts[0].Addr)
		}
	}
}

// One wg-quick file and the LAN's name are a whole configuration.
func TestSingleFile(t *testing.T) {
	t.Parallel()
	r := world{}.build(t)
	r.File = r.write(t, "home.conf", r.Servers[2].WGQuick())
	r.up(t, "--lan", r.LANInterface())
	watch := r.watch(t)
	if err := all(everyProtocol(0), func(f netlab.Flow) error { return r.arrives(r.Hosts[0], f, "office") }); err != nil {
		t.Error(err)
	}
	if err := watch.Leaks(); err != nil {
		t.Error(err)
	}
}

// The wg tool shows each tunnel, and cannot change one.
func TestToolShowsTunnels(t *testing.T) {
	t.Parallel()
	need(t, "wg")
	r := world{}.up(t)
	if err := r.arrives(r.Hosts[0], everyProtocol(0)[0], "sweden"); err != nil {
		t.Fatal(err)
	}
	s, gw := r.Servers[0], r.Gateway.Node
	for _, want := range []string{s.ClientKey.Public(), s.Key.Public(), s.Endpoint.String(), "latest handshake"} {
		if out := on(t, gw, "wg", "show", "sweden"); !strings.Contains(out, want) {
			t.Errorf("wg show sweden lacks %q:\n%s", want, out)
		}
	}
	for _, other := range r.Servers[1:] {
		if out := on(t, gw, "wg", "show", other.Name, "peers"); strings.TrimSpace(out) != other.Key.Public() {
			t.Errorf("wg show %s peers says %q", other.Name, out)
		}
	}
	before := on(t, gw, "wg", "showconf", "sweden")
	if out, err := gw.Run("wg", "set", "sweden", "peer", s.Key.Public(), "remove"); err == nil {
		t.Errorf("wg set changes a tunnel: %s", out)
	}
	if after := on(t, gw, "wg", "showconf", "sweden"); after != before {
		t.Errorf("wg set has changed the tunnel:\n%s\nbefore:\n%s", after, before)
	}
}

// IPv6 of the LAN is refused at once and never leaves, whether or not the host
// forwards IPv6.
func TestIPv6IsRefused(t *testing.T) {
	for _, forwarding := range []string{"0", "1"} {
		t.Run("forwarding="+forwarding, func(t *testing.T) {
			t.Parallel()
			r := world{
				Options: netlab.Options{IPv6: true}, Default: netlab.Direct,
				Before: func(t *testing.T, l *netlab.Lab) {
					if err := l.Gateway.Sysctl("net.ipv6.conf.all.forwarding", forwarding); err != nil {
						t.Fatal(err)
					}
				},
			}.up(t)
			watch := r.watch(t)
			for _, network := range []string{"udp6", "tcp6"} {
				// A SYN that is refused while connect still holds the socket
				// is sent again after a second.
				most := map[string]time.Duration{"udp6": 500 * time.Millisecond, "tcp6": 3 * time.Second}[network]
				begun := time.Now()
				err := r.Hosts[0].Do(func() error { return knock6(network) })
				// ICMPv6 1/1 is EACCES to a socket.
				if took := time.Since(begun); !errors.Is(err, syscall.EACCES) || took > most {
					t.Errorf("%s: %v after %v, want a refusal at once", network, err, took)
				}
			}
			if err := watch.Leaks(); err != nil {
				t.Error(err)
			}
			// The gateway itself is still there for its LAN.
			if err := r.Hosts[0].Do(func() error { return ping6("fd00:77::1") }); err != nil {
				t.Errorf("the gateway's own IPv6 address: %v", err)
			}
		})
	}
}

// knock6 sends something to the internet over IPv6 and waits for an answer.
func knock6(network string) error {
	d := net.Dialer{Timeout: 5 * time.Second}
	conn, err := d.Dial(network, net.JoinHostPort(netlab.Internet6.String(), "443"))
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := conn.Write([]byte("anybody?")); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 100))
	return err
}

// ping6 wants any answer to an echo request.
func ping6(to string) error {
	conn, err := net.Dial("ip6:ipv6-icmp", to)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(3 * time.Second))
	if _, err := conn.Write([]byte{128, 0, 0, 0, 0, 1, 0, 1}); err != nil {
		return err
	}
	for buf := make([]byte, 1500); ; {
		n, err := conn.Read(buf)
		if err != nil {
			return err
		}
		if n > 0 && buf[0] == 129 {
			return nil
		}
	}
}
