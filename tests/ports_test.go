package tests

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"turnout/tests/netlab"
)

// allPorts is how many UDP ports of one address are for mappings: those from
// 1024 on.
const allPorts = 1<<16 - 1024

// A census is the far end of datagrams that each say who sent them. It knows by
// which port it sees whom.
type census struct {
	conn *net.UDPConn

	mu    sync.Mutex
	port  map[netip.AddrPort]uint16 // of each LAN endpoint
	owner map[uint16]netip.AddrPort
	heard int // datagrams
	wrong []error
}

const censusPort = 4000

func newCensus(t *testing.T, s *netlab.Server) *census {
	t.Helper()
	c := &census{port: map[netip.AddrPort]uint16{}, owner: map[uint16]netip.AddrPort{}}
	err := s.Do(func() (err error) {
		c.conn, err = net.ListenUDP("udp4", &net.UDPAddr{Port: censusPort})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	option(c.conn, func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 32<<20) })
	t.Cleanup(func() { c.conn.Close() })
	go c.listen()
	return c
}

func (c *census) listen() {
	buf := make([]byte, 64)
	for {
		n, from, err := c.conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		who, bad := netip.ParseAddrPort(string(buf[:n]))
		if err == nil && bad == nil {
			c.note(who, from.Port())
		}
	}
}

func (c *census) note(who netip.AddrPort, port uint16) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard++
	if had, ok := c.port[who]; ok && had != port {
		c.wrong = append(c.wrong, fmt.Errorf("%v has ports %d and %d", who, had, port))
	}
	if had, ok := c.owner[port]; ok && had != who {
		c.wrong = append(c.wrong, fmt.Errorf("port %d is that of %v and of %v", port, had, who))
	}
	c.port[who], c.owner[port] = port, who
}

// missing returns those of whom nothing was heard.
func (c *census) missing(whom []netip.AddrPort) (silent []netip.AddrPort) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, who := range whom {
		if _, ok := c.port[who]; !ok {
			silent = append(silent, who)
		}
	}
	return silent
}

// ports returns how many ports from 1024 on it has seen.
func (c *census) ports() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for p := range c.owner {
		if p >= 1024 {
			n++
		}
	}
	return n
}

// count returns how many datagrams it has heard.
func (c *census) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.heard
}

// speak has LAN endpoints send a datagram each, no faster than everybody can
// take.
func speak(t *testing.T, h *netlab.Host, whom []netip.AddrPort, to netip.Addr) {
	t.Helper()
	raw, err := h.OpenRaw()
	if err != nil {
		t.Fatal(err)
	}
	for i, who := range whom {
		if err := raw.Send(netlab.Datagram(who, netip.AddrPortFrom(to, censusPort), who.String())); err != nil {
			t.Fatal(err)
		}
		if i%32 == 31 {
			time.Sleep(time.Millisecond)
		}
	}
}

// all has endpoints speak until each is heard. Nobody is refused meanwhile, but
// a datagram may be lost.
func (c *census) all(t *testing.T, h *netlab.Host, whom []netip.AddrPort) {
	t.Helper()
	for try := 0; len(whom) > 0; try++ {
		if try == 10 {
			t.Fatalf("%d endpoints are not heard", len(whom))
		}
		speak(t, h, whom, netlab.Internet[0])
		for range 20 {
			if whom = c.missing(whom); len(whom) == 0 {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// endpoints are n UDP endpoints of a host, from a port on.
func endpoints(h *netlab.Host, from, n int) (list []netip.AddrPort) {
	for i := range n {
		list = append(list, netip.AddrPortFrom(h.Addr, uint16(from+i)))
	}
	return list
}

// A tunnel's address has 64,512 ports for UDP: nobody is refused while one of
// them is free, although two hosts want the same ones; who comes after that is
// told, and nothing else suffers. With TURNOUT_EXHAUST=full it also waits, four
// minutes, until the ports are free again.
func TestPortsRunOut(t *testing.T) {
	r := world{
		Options: netlab.Options{Hosts: 3, Servers: []string{"sweden", "japan"}},
		Peer:    map[string][]string{"japan": {"AllowedIPs = 0.0.0.0/0", "Route = 198.51.100.2"}},
	}.up(t)
	watch := r.watch(t)
	far := newCensus(t, r.Servers[0])
	late := r.Hosts[2]
	begun := time.Now()
	for _, h := range r.Hosts[:2] {
		far.all(t, h, endpoints(h, 1024, allPorts/2))
	}
	t.Logf("%d mappings in %v", allPorts, time.Since(begun))
	if n := dropsOf(t, r)["no-free-port"]; n > 0 {
		t.Errorf("%d datagrams are refused while a port is free", n)
	}
	if n := far.ports(); n != allPorts {
		t.Errorf("the far end sees %d ports from 1024 on, want %d", n, allPorts)
	}
	refused(t, r, late)

	// Who has a mapping has it towards everybody.
	known, before := endpoints(r.Hosts[1], 1024, 100), far.count()
	speak(t, r.Hosts[1], known, netlab.Internet[2])
	for end := time.Now().Add(5 * time.Second); far.count() == before; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("who has a mapping is not heard elsewhere")
		}
	}
	lastSaid := time.Now()
	// Neither other tunnels nor other protocols lack anything.
	if err := errors.Join(
		all(everyProtocol(1), func(f netlab.Flow) error { return r.arrives(late, f, "japan") }),
		all(slices.DeleteFunc(everyProtocol(0), func(f netlab.Flow) bool { return f.Proto == "udp" }),
			func(f netlab.Flow) error { return r.arrives(late, f, "sweden") }),
	); err != nil {
		t.Error(err)
	}
	if os.Getenv("TURNOUT_EXHAUST") == "full" {
		recovers(t, r, far, begun, lastSaid)
	}
	far.mu.Lock()
	defer far.mu.Unlock()
	if len(far.wrong) > 0 {
		t.Errorf("%d wrong ports: %v", len(far.wrong), far.wrong[:min(5, len(far.wrong))])
	}
	if err := watch.Leaks(); err != nil {
		t.Error(err)
	}
}

// refused wants a host without a mapping to be told that it gets none.
func refused(t *testing.T, r *run, h *netlab.Host) {
	t.Helper()
	icmp, err := h.ListenICMP()
	if err != nil {
		t.Fatal(err)
	}
	defer icmp.Close()
	if err := talks(h, netlab.Flow{Proto: "udp", Dst: netlab.Internet[0], Port: 443}, netlab.Reject, netip.Addr{}); err != nil {
		t.Error(err)
	}
	if told := icmpError(icmp, 3, 13, time.Second); told == nil {
		t.Error("the host gets no ICMP 3/13")
	}
	if n := dropsOf(t, r)["no-free-port"]; n == 0 {
		t.Error("the refusal is not counted")
	}
}

// recovers waits until all ports are free again: 120 s after the last datagram
// of a mapping it ends, and its port rests for 120 s more.
func recovers(t *testing.T, r *run, far *census, begun, lastSaid time.Time) {
	t.Helper()
	late := r.Hosts[2]
	f := netlab.Flow{Proto: "udp", Dst: netlab.Internet[0], Port: 443, Wait: 400 * time.Millisecond}
	for ; ; time.Sleep(2 * time.Second) {
		err := r.arrives(late, f, "sweden")
		if err == nil {
			break
		}
		if time.Since(lastSaid) > 270*time.Second {
			t.Fatal(err)
		}
	}
	took := time.Since(begun)
	t.Logf("the first port is free after %v", took)
	if took < 235*time.Second {
		t.Error("a port has not rested")
	}
	time.Sleep(time.Until(lastSaid.Add(250 * time.Second)))
	far.mu.Lock()
	clear(far.port)
	clear(far.owner)
	far.mu.Unlock()
	before := dropsOf(t, r)["no-free-port"]
	far.all(t, late, endpoints(late, 1024, allPorts))
	if n := dropsOf(t, r)["no-free-port"] - before; n > 0 {
		t.Errorf("%d datagrams are refused while a port is free again", n)
	}
}
