package tests

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"turnout/tests/netlab"
)

// From behind a tunnel server the LAN, the gateway and the broadcast addresses
// are not there: nothing answers, whatever is asked.
func TestScannedFromBehindATunnel(t *testing.T) {
	t.Parallel()
	need(t, "nmap")
	r := world{Options: netlab.Options{Servers: []string{"sweden", "japan"}}}.up(t)
	sweden := r.Servers[0]
	if err := errors.Join(sweden.Reach(netlab.LAN), r.Hosts[0].Serve("host", 80, 53), r.Gateway.Serve("gateway", 80, 53)); err != nil {
		t.Fatal(err)
	}
	// The tunnel is up, and carries what the LAN asks for.
	if err := r.arrives(r.Hosts[0], everyProtocol(0)[0], "sweden"); err != nil {
		t.Fatal(err)
	}
	who := []string{r.Hosts[0].Addr.String(), r.GatewayAddr().String(), "192.168.77.255", "192.168.77.0", sweden.Client.String(), r.UplinkAddr().String()}
	for _, scan := range [][]string{
		{"-sn", "-PE", "-PP", "-PS22,80,443", "-PA80,443", "-PU53,123", "-PO1,2,4,47"},
		{"-Pn", "-sS", "-p", "22,53,80,443,8080"},
		{"-Pn", "-sA", "-p", "80,443"},
		{"-Pn", "-sU", "-p", "53,123"},
	} {
		targets := who
		if scan[0] == "-sn" {
			targets = append([]string{netlab.LAN.String()}, who[4:]...)
		}
		args := append(append([]string{"-n", "-e", "wg0", "--max-retries", "1", "--max-rtt-timeout", "300ms", "--min-rate", "300", "--host-timeout", "20s"}, scan...), targets...)
		out := on(t, sweden.Node, "nmap", args...)
		for _, bad := range []string{"open  ", "closed", "unfiltered", "is up"} {
			for line := range strings.Lines(out) {
				// Told not to ask, nmap takes every host for one that is up.
				if strings.Contains(line, bad) && !(bad == "is up" && scan[0] == "-Pn") && !strings.Contains(line, "open|filtered") {
					t.Errorf("nmap %q finds something:\n%s", scan, out)
				}
			}
		}
		if scan[0] == "-sn" && !strings.Contains(out, "(0 hosts up)") {
			t.Errorf("nmap %q finds somebody:\n%s", scan, out)
		}
	}
}

// What comes out of a tunnel and says to be from the LAN, from the gateway or
// from another tunnel is not delivered, not even to where everybody may go.
func TestSpoofedOutOfATunnel(t *testing.T) {
	t.Parallel()
	r := world{
		Options: netlab.Options{Hosts: 2, Servers: []string{"sweden", "japan"}},
		Tunnel:  map[string]string{"sweden": `accept = ["10.0.0.0/8", "203.0.113.0/24"]`},
		Head:    "[[forward]]\ntunnel = \"sweden\"\nproto = \"udp\"\nport = 9000\nto = \"192.168.77.10:9000\"\n",
	}.up(t)
	sweden, japan, h := r.Servers[0], r.Servers[1], r.Hosts[0]
	if err := errors.Join(sweden.Reach(netlab.LAN), r.Hosts[0].Serve("host", 9000)); err != nil {
		t.Fatal(err)
	}
	heard := listen(t, h, 9000)
	raw, err := sweden.OpenRaw()
	if err != nil {
		t.Fatal(err)
	}
	liars := []netip.Addr{r.Hosts[1].Addr, r.GatewayAddr(), japan.Client, netip.MustParseAddr("192.168.77.255"), netip.MustParseAddr("192.0.0.6")}
	doors := []netip.Addr{h.Addr, sweden.Client}
	for _, src := range liars {
		for _, dst := range doors {
			p := netlab.Datagram(netip.AddrPortFrom(src, 5000), netip.AddrPortFrom(dst, 9000), fmt.Sprintf("spoofed as %v", src))
			if err := raw.Send(p); err != nil {
				t.Fatal(err)
			}
		}
	}
	// The control: who tells the truth is heard, at both doors.
	for i, dst := range doors {
		if err := raw.Send(netlab.Datagram(netip.AddrPortFrom(sweden.Address, uint16(6000+i)), netip.AddrPortFrom(dst, 9000), "true")); err != nil {
			t.Fatal(err)
		}
	}
	said := heard(len(doors), time.Second)
	for _, s := range said {
		if s != "true" {
			t.Errorf("the LAN host hears %q", s)
		}
	}
	if len(said) < len(doors) {
		t.Errorf("the LAN host hears %q, want %d packets that are true", said, len(doors))
	}
	if n := dropsOf(t, r)["spoofed-source"]; n < uint64(len(liars)*len(doors)) {
		t.Errorf("%d packets are counted as spoofed, want %d", n, len(liars)*len(doors))
	}
}

// dropsOf reads the counters of what was not forwarded.
func dropsOf(t *testing.T, r *run) map[string]uint64 {
	t.Helper()
	var s struct {
		Drops []struct {
			Reason  string
			Packets uint64
		}
	}
	askJSON(t, r, &s, "status", "--json", "--run-dir", r.RunDir())
	n := map[string]uint64{}
	for _, d := range s.Drops {
		n[d.Reason] = d.Packets
	}
	return n
}

// listen taps a host's wire for datagrams to a port. The function that it
// returns waits for at least n of them, then a while for more, and gives their
// texts.
func listen(t *testing.T, h *netlab.Host, port uint16) func(n int, more time.Duration) []string {
	t.Helper()
	var conn *os.File
	err := h.Do(func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0x0008) // ETH_P_IP, swapped
		if err == nil {
			conn = os.NewFile(uintptr(fd), "tap")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return func(n int, more time.Duration) (texts []string) {
		buf := make([]byte, 2048)
		for end := time.Now().Add(5 * time.Second); time.Now().Before(end); {
			if len(texts) >= n && time.Until(end) > more {
				end = time.Now().Add(more)
			}
			conn.SetReadDeadline(end)
			k, err := conn.Read(buf)
			if err != nil {
				var timeout net.Error
				if errors.As(err, &timeout) || errors.Is(err, os.ErrDeadlineExceeded) {
					break
				}
				continue
			}
			if p := buf[:k]; k > 28 && p[9] == unix.IPPROTO_UDP && int(p[22])<<8|int(p[23]) == int(port) && netip.AddrFrom4([4]byte(p[16:20])) == h.Addr {
				texts = append(texts, string(p[28:]))
			}
		}
		return texts
	}
}
