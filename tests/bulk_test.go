package tests

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"turnout/tests/netlab"
)

// bulkSize is the size of each bulk transfer, from the environment.
func bulkSize(t *testing.T) int64 {
	t.Helper()
	text, unit := os.Getenv("TURNOUT_BULK"), int64(1)
	for suffix, n := range map[string]int64{"MiB": 1 << 20, "GiB": 1 << 30} {
		if s, ok := strings.CutSuffix(text, suffix); ok {
			text, unit = s, n
		}
	}
	if text == "" {
		return 256 << 20
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatalf("TURNOUT_BULK=%q is not a number of bytes, MiB or GiB", os.Getenv("TURNOUT_BULK"))
	}
	return n * unit
}

// byTunnel sends each of the first three addresses through a tunnel of its own.
var byTunnel = map[string][]string{
	"japan":  {"AllowedIPs = 0.0.0.0/0", "Route = 198.51.100.2"},
	"office": {"AllowedIPs = 0.0.0.0/0", "Route = 198.51.100.3"},
}

func TestBulkArrivesUnchanged(t *testing.T) {
	size := bulkSize(t)
	r := world{}.up(t)
	watch := r.watch(t)
	f := netlab.Flow{Proto: "tcp", Dst: netlab.Internet[0], Port: 80}
	// 8 MiB/s is far below what any machine manages, and above a stall.
	limit := 20*time.Second + time.Duration(size>>23)*time.Second
	for _, way := range []struct {
		name string
		move func(netlab.Flow, int64, uint64, time.Duration) error
	}{{"up", r.Hosts[0].Upload}, {"down", r.Hosts[0].Download}} {
		begun := time.Now()
		if err := way.move(f, size, 1, limit); err != nil {
			t.Errorf("%s: %v", way.name, err)
			continue
		}
		t.Logf("%s: %d MiB at %.2f Gbit/s", way.name, size>>20, float64(size)*8/time.Since(begun).Seconds()/1e9)
	}
	if err := watch.Leaks(); err != nil {
		t.Error(err)
	}
}

func TestManyConnectionsOverThreeTunnels(t *testing.T) {
	t.Parallel()
	const connections, size = 200, 256 << 10
	r := world{Peer: byTunnel}.up(t)
	ids := make([]int, connections)
	for i := range ids {
		ids[i] = i
	}
	err := all(ids, func(i int) error {
		f := netlab.Flow{Proto: "tcp", Dst: netlab.Internet[i%3], Port: 443, Wait: 20 * time.Second}
		move := r.Hosts[0].Upload
		if i%2 == 1 {
			move = r.Hosts[0].Download
		}
		if err := move(f, size, uint64(i), 60*time.Second); err != nil {
			return fmt.Errorf("connection %d: %w", i, err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	for i, s := range r.Servers {
		want := (connections + 2 - i) / 3
		if got := s.Counts().TCP; got != want {
			t.Errorf("%s served %d connections, want %d", s.Name, got, want)
		}
	}
}

// 1,000 datagrams a second for 10 s on each of three tunnels: none may be lost.
// It runs alone, so that what is lost is not for want of a processor.
func TestSteadyUDPLosesNothing(t *testing.T) {
	r := world{Peer: byTunnel}.up(t)
	err := all([]int{0, 1, 2}, func(i int) error {
		return steady(r.Hosts[0], netlab.Flow{Proto: "udp", Dst: netlab.Internet[i], Port: 5060}, 1000, 10*time.Second)
	})
	if err != nil {
		t.Error(err)
	}
	for _, s := range r.Servers {
		t.Logf("%s served %d datagrams", s.Name, s.Counts().UDP)
	}
}

// steady sends rate datagrams a second and wants an answer to each.
func steady(h *netlab.Host, f netlab.Flow, rate int, span time.Duration) error {
	conn, err := h.DialUDP(f)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetReadBuffer(8 << 20)
	total := int(span.Seconds() * float64(rate))
	answered := make(chan int)
	go func() {
		seen, buf := make(map[string]bool), make([]byte, 2048)
		for len(seen) < total {
			n, err := conn.Read(buf)
			if err != nil {
				break
			}
			words := strings.Fields(string(buf[:n]))
			seen[words[len(words)-1]] = true
		}
		answered <- len(seen)
	}()
	begun := time.Now()
	conn.SetReadDeadline(begun.Add(span + 3*time.Second))
	for i := range total {
		// Sleeps overshoot; what is late goes out at once, as from a real sender.
		time.Sleep(time.Until(begun.Add(time.Duration(i) * time.Second / time.Duration(rate))))
		if _, err := fmt.Fprintf(conn, "datagram-%d", i); err != nil {
			return err
		}
	}
	if got := <-answered; got != total {
		return fmt.Errorf("%v: %d of %d datagrams were answered", f, got, total)
	}
	return nil
}
