package tests

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"turnout/tests/netlab"
)

// flood sends n SYNs a second from addresses that source draws, to addresses
// that nobody has, until ctx ends. It counts what it has sent.
func flood(ctx context.Context, raw *netlab.Raw, n int, source func() netip.Addr, sent *atomic.Int64) error {
	const step = 5 * time.Millisecond
	next := time.Now()
	for ctx.Err() == nil {
		for range n / int(time.Second/step) {
			src := netip.AddrPortFrom(source(), 1024+uint16(rand.IntN(60000)))
			dst := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(10 + rand.IntN(150))}), 80)
			if err := raw.Send(netlab.SYN(src, dst, rand.Uint32())); err == nil {
				sent.Add(1)
			}
		}
		next = next.Add(step)
		time.Sleep(time.Until(next))
	}
	return nil
}

// ofLAN draws an address inside the LAN's prefix that no host has.
func ofLAN() netip.Addr {
	return netip.AddrFrom4([4]byte{192, 168, 77, byte(30 + rand.IntN(220))})
}

// paced uploads bytes at a rate, in bits a second, for a time, and returns the
// rate that the far end took.
func paced(h *netlab.Host, rate int, d time.Duration) (int, error) {
	conn, err := h.Dial(netlab.Flow{Proto: "tcp", Dst: netlab.Internet[0], Port: 80, Wait: 5 * time.Second})
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(d + 30*time.Second))
	if _, err := fmt.Fprintln(conn, "sink"); err != nil {
		return 0, err
	}
	const step = 10 * time.Millisecond
	piece := make([]byte, rate/8/int(time.Second/step))
	begun, sent := time.Now(), 0
	for next := begun; time.Since(begun) < d; next = next.Add(step) {
		time.Sleep(time.Until(next))
		n, err := conn.Write(piece)
		if sent += n; err != nil {
			return 0, err
		}
	}
	if err := conn.CloseWrite(); err != nil {
		return 0, err
	}
	if _, err := bufio.NewReader(conn).ReadString('\n'); err != nil { // the far end has it all
		return 0, err
	}
	return int(float64(sent) * 8 / time.Since(begun).Seconds()), nil
}

// chat keeps a connection of a host talking, a line a second at most; alive
// says a line and wants it back.
type chat struct {
	conn net.Conn
	in   *bufio.Reader
}

func newChat(h *netlab.Host, i int) (*chat, error) {
	conn, err := h.Dial(netlab.Flow{Proto: "tcp", Dst: netlab.Internet[i%4], Port: 443, Wait: 5 * time.Second})
	if err != nil {
		return nil, err
	}
	c := &chat{conn, bufio.NewReader(conn)}
	if _, err := fmt.Fprintln(conn, "echo"); err != nil {
		return nil, err
	}
	return c, c.alive()
}

func (c *chat) alive() error {
	word := fmt.Sprintf("still here? %d\n", rand.Int())
	c.conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c.conn, word); err != nil {
		return err
	}
	got, err := c.in.ReadString('\n')
	if err == nil && got != word {
		err = fmt.Errorf("the echo of %q is %q", word, got)
	}
	return err
}

// A host that floods the flow table, under every address of the LAN, costs the
// others nothing: their connections live, their goodput stays, memory is
// bounded. TURNOUT_FLOOD is how long, 30s in a long run.
func TestSYNFlood(t *testing.T) {
	const rate, bits, flows = 20_000, 200_000_000, 16384
	d := 6 * time.Second
	if s, err := time.ParseDuration(os.Getenv("TURNOUT_FLOOD")); err == nil {
		d = s
	}
	r := world{
		Options: netlab.Options{Hosts: 2, Servers: []string{"sweden"}},
		Head:    fmt.Sprintf("[limits]\nflows = %d\n", flows),
	}.up(t)
	good, evil := r.Hosts[0], r.Hosts[1]
	chats := make([]*chat, 50)
	for i := range chats {
		var err error
		if chats[i], err = newChat(good, i); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { chats[i].conn.Close() })
	}
	before, err := paced(good, bits, 3*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	idle := peakMemory(t, r.Daemon.PID())
	raw, err := evil.OpenRaw()
	if err != nil {
		t.Fatal(err)
	}
	// Outside the LAN's prefix no source makes a flow.
	var sent atomic.Int64
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	flood(ctx, raw, 2000, func() netip.Addr { return netip.AddrFrom4([4]byte{10, 77, byte(rand.IntN(256)), 9}) }, &sent)
	cancel()
	if n := flowsOf(t, r); n > len(chats)+10 {
		t.Errorf("%d flows after %d SYNs from outside the LAN", n, sent.Load())
	}
	if n := dropsOf(t, r)["foreign-source"]; n < uint64(sent.Load())*9/10 {
		t.Errorf("%d of %d SYNs from outside the LAN are counted", n, sent.Load())
	}

	sent.Store(0)
	ctx, cancel = context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- flood(ctx, raw, rate, ofLAN, &sent) }()
	time.Sleep(time.Second) // the table is full by now
	begun, was := time.Now(), sent.Load()
	during, err := paced(good, bits, d)
	flooded := float64(sent.Load()-was) / time.Since(begun).Seconds()
	if err != nil {
		t.Error(err)
	}
	full := flowsOf(t, r)
	cancel()
	<-done
	t.Logf("goodput %d before, %d Mbit/s during %.0f SYN/s; %d flows; %d MiB before, %d MiB at the peak",
		before/1e6, during/1e6, flooded, full, idle, peakMemory(t, r.Daemon.PID()))
	if flooded < rate*0.8 {
		t.Errorf("only %.0f SYNs a second were sent: the test proves little", flooded)
	}
	if float64(during) < 0.9*float64(before) {
		t.Errorf("goodput fell from %d to %d Mbit/s", before/1e6, during/1e6)
	}
	if full < flows*7/8 || full > flows {
		t.Errorf("%d flows at the height of it; the table holds %d", full, flows)
	}
	if peak := peakMemory(t, r.Daemon.PID()); peak > 80 && os.Getenv("TURNOUT_RACE") != "1" {
		t.Errorf("the router took %d MiB, at most 80 are right", peak)
	}
	for i, c := range chats {
		if err := c.alive(); err != nil {
			t.Errorf("connection %d: %v", i, err)
		}
	}
}

func flowsOf(t *testing.T, r *run) int {
	t.Helper()
	var s struct{ Flows int }
	askJSON(t, r, &s, "status", "--json", "--run-dir", r.RunDir())
	return s.Flows
}
