package control

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// fakeFlow is the i-th flow of a fake table: of all sorts, no two alike.
func fakeFlow(i int) Flow {
	f := Flow{
		Exit: "tunnel", Tunnel: []string{"sweden", "japan"}[i%2], Near: "lan", Proto: "tcp", State: "established", By: "rule",
		From: netip.AddrFrom4([4]byte{192, 168, byte(i >> 8), byte(i)}), FromPort: uint16(1024 + i>>16), To: netip.AddrFrom4([4]byte{198, 51, 100, byte(i % 7)}), Port: 443,
		Mapped: netip.AddrFrom4([4]byte{10, 66, 0, 2}), MappedPort: 4000,
		Match: &Line{Text: `[[rule]] name = "web"; via = "sweden"`, At: "turnout.toml:12", File: "turnout.toml", Line: 12, Name: "web"},
		Age:   uint32(i % 1000), Expires: 7440, PacketsOut: 3,
		BytesOut: uint64(i) * 7919 % 1_000_003,
	}
	if i%5 == 0 {
		f.Exit, f.Tunnel, f.Mapped, f.MappedPort = "direct", "", netip.Addr{}, 0
	}
	return f
}

// watermark samples the heap while f runs and returns how far above its start
// it went. The collector keeps a heap from doubling: what is seen is at most
// twice what is in use, and some garbage.
func watermark(f func()) uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	before := m.HeapAlloc
	var most atomic.Uint64
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				most.Store(max(most.Load(), m.HeapAlloc))
			}
		}
	}()
	f()
	close(stop)
	<-done
	return max(most.Load(), before) - before
}

// TestFlowsStream has the daemon send 200,000 flows, about 100 MB of JSON, of
// which little is ever in memory.
func TestFlowsStream(t *testing.T) {
	const n = 200_000
	conn, err := net.Dial("unix", filepath.Join(serve(t, &fakeDaemon{flows: n}, nil), Socket))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	lines, size := 0, 0
	used := watermark(func() {
		io.WriteString(conn, "GET /v1/flows HTTP/1.0\r\n\r\n")
		for in := bufio.NewReader(conn); err == nil; {
			var line []byte
			line, err = in.ReadSlice('\n')
			if size += len(line); len(line) > 0 && line[0] == '{' {
				lines++
			}
		}
	})
	if lines != n || err != io.EOF || size < n*400 {
		t.Errorf("%d flows in %d bytes, %v; want %d", lines, size, err, n)
	}
	bounded(t, used)
}

// TestFlowsArrive has a client get 40,000 flows, 20 MB, from a daemon in the
// same process, and compares each.
func TestFlowsArrive(t *testing.T) {
	const n = 40_000
	c := NewClient(serve(t, &fakeDaemon{flows: n}, nil))
	got := 0
	used := watermark(func() {
		more, err := c.Flows(t.Context(), FlowsRequest{}, func(f *Flow) error {
			want := fakeFlow(got)
			if f.From != want.From || f.BytesOut != want.BytesOut || f.Match == nil || *f.Match != *want.Match {
				return fmt.Errorf("flow %d is %+v, want %+v", got, f, want)
			}
			got++
			return nil
		})
		if err != nil || more != 0 {
			t.Errorf("%d more, %v", more, err)
		}
	})
	if got != n {
		t.Errorf("%d flows, want %d", got, n)
	}
	bounded(t, used)
}

// bounded fails the test when what should have been streamed was kept. It
// takes 4 MiB, most of it garbage.
func bounded(t *testing.T, used uint64) {
	t.Logf("the heap grew by %d KiB at most", used>>10)
	if used > 12<<20 {
		t.Errorf("the heap grew by %d MiB", used>>20)
	}
}

// TestFlowsLimit compares what the daemon chooses with a plain sort.
func TestFlowsLimit(t *testing.T) {
	const n = 3000
	var all []Flow
	for i := range n {
		all = append(all, fakeFlow(i))
	}
	slices.SortFunc(all, func(a, b Flow) int { return byTraffic(&a, &b) })
	if all[0].BytesOut <= all[n-1].BytesOut {
		t.Fatal("the busiest does not come first")
	}
	c := NewClient(serve(t, &fakeDaemon{flows: n}, nil))
	for _, limit := range []int{1, 2, 500, n - 1, n, n + 1} {
		i := 0
		more, err := c.Flows(t.Context(), FlowsRequest{Limit: limit}, func(f *Flow) error {
			if want := all[i]; f.From != want.From || f.BytesOut != want.BytesOut {
				return fmt.Errorf("flow %d of %d is %+v, want %+v", i, limit, f, want)
			}
			i++
			return nil
		})
		if err != nil || i != min(limit, n) || more != n-i {
			t.Errorf("limit %d: %d flows, %d more, %v", limit, i, more, err)
		}
	}
}

// TestFlowsByGET has what curl sees: every flow, an object a line.
func TestFlowsByGET(t *testing.T) {
	dir := serve(t, &fakeDaemon{flows: 10}, nil)
	answer := raw(t, dir, "GET /v1/flows HTTP/1.0\r\n\r\n")
	_, body, _ := strings.Cut(answer, "\r\n\r\n")
	lines := slices.Collect(strings.Lines(body))
	if len(lines) != 10 {
		t.Fatalf("%d lines: %s", len(lines), answer)
	}
	var f Flow
	if err := json.Unmarshal([]byte(lines[9]), &f); err != nil || f.From != fakeFlow(9).From {
		t.Errorf("%v in %s", err, lines[9])
	}
}

// TestFlowsStalled has a caller that stops reading: it is cut off, others are
// served meanwhile, and the walk through the table ends.
func TestFlowsStalled(t *testing.T) {
	d := &endless{fakeDaemon: &fakeDaemon{}, ended: make(chan int, 1)}
	dir := serveDaemon(t, d, func(s *Server) { s.pause = 200 * time.Millisecond })
	conn, err := net.Dial("unix", filepath.Join(dir, Socket))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "GET /v1/flows HTTP/1.1\r\nHost: t\r\n\r\n")
	if _, err := bufio.NewReader(conn).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if _, err := NewClient(dir).Status(t.Context()); err != nil {
		t.Errorf("beside a caller that stalls: %v", err)
	}
	select {
	case n := <-d.ended:
		t.Logf("given up after %d flows", n)
	case <-time.After(10 * time.Second):
		t.Fatal("a caller that stops reading is waited for")
	}
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	rest, err := io.ReadAll(conn)
	if err != nil || strings.HasSuffix(string(rest), "\r\n0\r\n\r\n") {
		t.Errorf("the stream that was cut off ends as if it were whole, or not at all: %v", err)
	}
}

// TestFlowsSlow has a caller that reads slowly but steadily, for longer than
// any one write may take: it gets everything. The kernel wakes the writer when
// three quarters of its 208 KiB are read, here after 0.2 s.
func TestFlowsSlow(t *testing.T) {
	const pause, n = 2 * time.Second, 8000
	dir := serve(t, &fakeDaemon{flows: n}, func(s *Server) { s.pause, s.http.WriteTimeout = pause, pause })
	conn, err := net.Dial("unix", filepath.Join(dir, Socket))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	begun := time.Now()
	io.WriteString(conn, "GET /v1/flows HTTP/1.0\r\n\r\n")
	flows, b := 0, make([]byte, 8<<10)
	for err == nil {
		var got int
		got, err = conn.Read(b)
		flows += bytes.Count(b[:got], []byte("\n")) - bytes.Count(b[:got], []byte("\r")) // the header has both
		time.Sleep(5 * time.Millisecond)
	}
	if err != io.EOF || flows != n || time.Since(begun) < pause {
		t.Errorf("%d flows in %v, %v; want %d, in longer than %v", flows, time.Since(begun), err, n, pause)
	}
}

// TestFlowsBreakOff has the daemon end in the middle of its answer.
func TestFlowsBreakOff(t *testing.T) {
	var s *Server
	d := &endless{fakeDaemon: &fakeDaemon{}, ended: make(chan int, 1)}
	dir := serveDaemon(t, d, func(made *Server) { s = made })
	got := 0
	_, err := NewClient(dir).Flows(t.Context(), FlowsRequest{}, func(*Flow) error {
		if got++; got == 1000 {
			s.http.Close()
		}
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), "breaks off") {
		t.Errorf("after %d flows: %v", got, err)
	}
	<-d.ended
}

// TestFlowsEnough has the caller end: the daemon's walk ends with it.
func TestFlowsEnough(t *testing.T) {
	d := &endless{fakeDaemon: &fakeDaemon{}, ended: make(chan int, 1)}
	enough := errors.New("enough")
	_, err := NewClient(serveDaemon(t, d, nil)).Flows(t.Context(), FlowsRequest{}, func(*Flow) error { return enough })
	if err != enough {
		t.Errorf("the caller's own error becomes %v", err)
	}
	select {
	case <-d.ended:
	case <-time.After(10 * time.Second):
		t.Error("the daemon goes on for nobody")
	}
}

// endless has more flows than anybody can read.
type endless struct {
	*fakeDaemon
	ended chan int
}

func (e *endless) Flows(_ Filter, f func(Flow) bool) {
	n := 0
	for f(fakeFlow(n)) {
		n++
	}
	e.ended <- n
}

func TestDropFlows(t *testing.T) {
	f := &fakeDaemon{flows: 100, status: Status{Tunnels: []Tunnel{{Name: "sweden"}, {Name: "japan"}}}}
	c := NewClient(serve(t, f, nil))
	for _, x := range []struct {
		q    DropRequest
		want int
	}{
		{DropRequest{Filter: Filter{Tunnel: "direct"}}, 20},
		{DropRequest{Filter: Filter{Tunnel: "sweden", Proto: "tcp"}}, 40},
		{DropRequest{Filter: Filter{Proto: "udp"}}, 0},
		{DropRequest{All: true}, 100},
	} {
		if n, err := c.DropFlows(t.Context(), x.q); n != x.want || err != nil {
			t.Errorf("%v: %d, %v; want %d", x.q.Filter, n, err, x.want)
		}
	}
	asked := len(f.dropped)
	for _, q := range []DropRequest{{}, {Filter: Filter{Tunnel: "sweden"}, All: true}, {Filter: Filter{Tunnel: "swedn"}}, {Filter: Filter{Proto: "TCP"}}} {
		var no Refusal
		if _, err := c.DropFlows(t.Context(), q); !errors.As(err, &no) || no.Code != 400 {
			t.Errorf("%+v: %v", q, err)
		}
	}
	if len(f.dropped) != asked {
		t.Error("what is not valid was dropped")
	}
}

func TestFilterMatch(t *testing.T) {
	a, p := netip.MustParseAddr, netip.MustParsePrefix
	out := Flow{Exit: "tunnel", Tunnel: "sweden", Near: "lan", Proto: "tcp", From: a("192.168.77.10"), FromPort: 51000, To: a("198.51.100.1"), Port: 443,
		Mapped: a("10.66.0.2"), MappedPort: 53}
	direct := Flow{Exit: "direct", Near: "lan", Proto: "udp", From: a("192.168.77.11"), FromPort: 443, To: a("9.9.9.9"), Port: 53}
	ping := Flow{Exit: "tunnel", Tunnel: "japan", Near: "lan", Proto: "icmp", From: a("192.168.77.10"), FromPort: 443, To: a("198.51.100.1")}
	called := Flow{Exit: "tunnel", Tunnel: "japan", Near: "lan", Inbound: true, Proto: "tcp", From: a("192.168.77.10"), FromPort: 80, To: a("203.0.113.5"), Port: 40000,
		Mapped: a("10.77.0.2"), MappedPort: 8080}
	hairpin := Flow{Exit: "hairpin", Tunnel: "japan", Near: "lan", Proto: "tcp", From: a("192.168.77.10"), FromPort: 1, To: a("10.77.0.2"), Port: 8080,
		Far: a("192.168.77.11"), FarPort: 80}
	relay := Flow{Exit: "tunnel", Tunnel: "sweden", Near: "tunnel", NearTunnel: "japan", Proto: "47", From: a("10.99.0.1"), To: a("198.51.100.2")}
	six := Flow{Exit: "tunnel", Tunnel: "sweden", Near: "lan", Proto: "udp", From: a("fd00::2"), FromPort: 1, To: a("2001:db8::1"), Port: 53}
	all := map[string]Flow{"out": out, "direct": direct, "ping": ping, "called": called, "hairpin": hairpin, "relay": relay, "six": six}
	for _, c := range []struct {
		f    Filter
		want string
	}{
		{Filter{}, "called direct hairpin out ping relay six"},
		{Filter{Tunnel: "sweden"}, "out relay six"},
		{Filter{Tunnel: "japan"}, "called hairpin ping relay"},
		{Filter{Tunnel: "direct"}, "direct"},
		{Filter{From: p("192.168.77.10/32")}, "called hairpin out ping"},
		{Filter{From: p("192.168.77.0/24")}, "called direct hairpin out ping"},
		{Filter{From: p("0.0.0.0/0")}, "called direct hairpin out ping relay"},
		{Filter{From: p("::/0")}, "six"},
		{Filter{From: p("10.66.0.2/32")}, ""},
		{Filter{To: p("198.51.100.0/31")}, "out ping"},
		{Filter{To: p("192.168.77.11/32")}, "hairpin"},
		{Filter{To: p("10.77.0.0/16")}, "hairpin"},
		{Filter{To: p("2001:db8::/32")}, "six"},
		{Filter{Proto: "tcp"}, "called hairpin out"},
		{Filter{Proto: "icmp"}, "ping"},
		{Filter{Proto: "47"}, "relay"},
		{Filter{Port: 443}, "out"},
		{Filter{Port: 53}, "direct six"},
		{Filter{Port: 80}, "called hairpin"},
		{Filter{Port: 8080}, "called hairpin"},
		{Filter{Port: 40000}, ""},
		{Filter{Tunnel: "japan", Proto: "tcp", Port: 80, From: p("192.168.77.10/32"), To: p("203.0.113.0/24")}, "called"},
	} {
		var got []string
		for name, w := range all {
			if c.f.Match(&w) {
				got = append(got, name)
			}
		}
		slices.Sort(got)
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%v selects %q, want %q", c.f, s, c.want)
		}
	}
}

func TestFilterValidate(t *testing.T) {
	p := netip.MustParsePrefix
	for _, c := range []struct {
		f            Filter
		want, string string
	}{
		{Filter{}, "", "--all"},
		{Filter{Proto: "tcp", Port: 443}, "", "--proto tcp --port 443"},
		{Filter{Proto: "47"}, "", "--proto 47"},
		{Filter{Port: 53}, "", "--port 53"},
		{Filter{Tunnel: "a", From: p("10.0.0.0/8"), To: p("::/0")}, "", "--tunnel a --from 10.0.0.0/8 --to ::/0"},
		{Filter{From: p("::ffff:10.0.0.0/104")}, "::ffff:", "--from ::ffff:10.0.0.0/104"},
		{Filter{Proto: "TCP"}, `called "tcp"`, "--proto TCP"},
		{Filter{Proto: "6"}, `called "tcp"`, "--proto 6"},
		{Filter{Proto: "tcpp"}, "tcpp", "--proto tcpp"},
		{Filter{Proto: "icmp", Port: 1}, "--proto icmp has no ports", "--proto icmp --port 1"},
	} {
		err := c.f.Validate()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %q", c.f, err, c.want)
		}
		if s := c.f.String(); s != c.string {
			t.Errorf("%+v is written %q, want %q", c.f, s, c.string)
		}
	}
}
