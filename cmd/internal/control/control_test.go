package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
)

// fakeDaemon answers with what a test gave it and remembers what it was asked.
type fakeDaemon struct {
	status  Status
	asked   Query
	stopped chan bool
	stopErr error
	flows   int // how many fakeFlow gives
	dropped []Filter
}

func (f *fakeDaemon) Status() Status { return f.status }

func (f *fakeDaemon) Explain(q Query) Answer {
	f.asked = q
	return Answer{Exit: "tunnel", Tunnel: "sweden", By: "rule", Match: &Line{Text: "x", File: "t.toml", Line: 3}}
}

func (f *fakeDaemon) ExplainAll(b Batch) (out []Answer) {
	for _, q := range b.Queries {
		out = append(out, Answer{Exit: "direct", To: q.To, Port: q.Port})
	}
	return out
}

func (f *fakeDaemon) Flows(filter Filter, each func(Flow) bool) {
	for i := range f.flows {
		if w := fakeFlow(i); filter.Match(&w) && !each(w) {
			return
		}
	}
}

func (f *fakeDaemon) DropFlows(filter Filter) (n int) {
	f.dropped = append(f.dropped, filter)
	f.Flows(filter, func(Flow) bool { n++; return true })
	return n
}

func (f *fakeDaemon) Reload(q ReloadRequest) (Reloaded, error) {
	if q.File == "bad" {
		return Reloaded{}, errors.New("bad:1: it is bad\nbad:2: all of it")
	}
	return Reloaded{File: q.File, Lines: 3, Warnings: []string{fmt.Sprint("repin ", q.Repin)}}, nil
}

func (f *fakeDaemon) Stop(keepGuard bool) error {
	f.stopped <- keepGuard
	return f.stopErr
}

// serve runs a server for f until the test ends, and returns its run directory.
func serve(t *testing.T, f *fakeDaemon, change func(*Server)) string {
	t.Helper()
	return serveDaemon(t, f, change)
}

func serveDaemon(t *testing.T, f Daemon, change func(*Server)) string {
	t.Helper()
	dir := t.TempDir()
	l, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(f, slog.New(slog.DiscardHandler))
	if change != nil {
		change(s)
	}
	done := make(chan error)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		s.Shutdown(ctx)
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve ended with %v", err)
		}
	})
	return dir
}

func TestRoundTrip(t *testing.T) {
	want := Status{
		Version: "1", PID: 7, Started: time.Unix(1000, 0).UTC(), TUN: "turnout0",
		Tunnels: []Tunnel{{Name: "a", Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.2/32")},
			Peers: []Peer{{PublicKey: "k", LastHandshake: time.Unix(2000, 0).UTC(), Rx: 1, Tx: 2}, {PublicKey: "l"}}}},
		Drops: []Drop{{"no-flow", "nothing on the LAN asked for it", 4}},
	}
	f := &fakeDaemon{status: want, stopped: make(chan bool, 1)}
	c := NewClient(serve(t, f, nil))
	got, err := c.Status(t.Context())
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("Status: %+v, %v; want %+v", got, err, want)
	}
	q := Query{To: netip.MustParseAddr("8.8.8.8"), Proto: 6, Port: 443, DSCP: 10}
	a, err := c.Explain(t.Context(), q)
	if err != nil || a.Tunnel != "sweden" || a.Match.Line != 3 {
		t.Errorf("Explain: %+v, %v", a, err)
	}
	if f.asked != q {
		t.Errorf("the daemon was asked %+v, want %+v", f.asked, q)
	}
	if _, err := c.Explain(t.Context(), Query{Proto: 6, Port: 1}); err == nil || !strings.Contains(err.Error(), "--to is missing") {
		t.Errorf("a query without To: %v", err)
	}
	if err := c.Stop(t.Context(), true); err != nil {
		t.Errorf("Stop: %v", err)
	}
	if !<-f.stopped {
		t.Error("keep_guard was lost on the way")
	}
}

func TestReload(t *testing.T) {
	c := NewClient(serve(t, &fakeDaemon{}, nil))
	got, err := c.Reload(t.Context(), ReloadRequest{File: "/x.toml", Repin: true})
	if want := (Reloaded{File: "/x.toml", Lines: 3, Warnings: []string{"repin true"}}); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	if _, err := c.Reload(t.Context(), ReloadRequest{File: "bad"}); err == nil || !strings.Contains(err.Error(), "bad:1: it is bad\nbad:2: all of it") {
		t.Errorf("a bad file: %v", err)
	}
	// One of the daemon's group names no file: a configuration runs commands.
	c = NewClient(serve(t, &fakeDaemon{}, func(s *Server) { s.owns = func(peer) bool { return false } }))
	if _, err := c.Reload(t.Context(), ReloadRequest{}); err != nil {
		t.Errorf("the file in force: %v", err)
	}
	if _, err := c.Reload(t.Context(), ReloadRequest{File: "/x.toml"}); err == nil || !strings.Contains(err.Error(), "name no other") {
		t.Errorf("another file: %v", err)
	}
}

func TestBatch(t *testing.T) {
	c := NewClient(serve(t, &fakeDaemon{}, nil))
	q := Query{To: netip.MustParseAddr("2001:db8:1234:5678:9abc:def0:1234:5678"), From: netip.MustParseAddr("2001:db8:1234:5678:9abc:def0:1234:8765"), Proto: 17, FromPort: 65535, DSCP: 63}
	var b Batch
	for i := range MaxBatch {
		q.Port = uint16(60000 + i)
		b.Queries = append(b.Queries, q)
	}
	got, err := c.ExplainAll(t.Context(), b)
	if err != nil || len(got) != MaxBatch || got[255].Port != 60255 {
		t.Errorf("%d answers, %v", len(got), err)
	}
	b.Queries[7].Port = 0
	if _, err := c.ExplainAll(t.Context(), b); err == nil || !strings.Contains(err.Error(), "query 8: ") {
		t.Errorf("a wrong query: %v", err)
	}
	if err := (Batch{Queries: make([]Query, MaxBatch+1)}).Validate(); err == nil {
		t.Error("too many queries are valid")
	}
}

func TestStopTellsWhatFailed(t *testing.T) {
	f := &fakeDaemon{stopped: make(chan bool, 1), stopErr: errors.New("the rule is not ours")}
	err := NewClient(serve(t, f, nil)).Stop(t.Context(), false)
	if err == nil || !strings.Contains(err.Error(), "the rule is not ours") {
		t.Errorf("Stop: %v", err)
	}
}

func TestNotRunning(t *testing.T) {
	dir := t.TempDir()
	if _, err := NewClient(dir).Status(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("no socket: %v", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, Socket)})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	if _, err := NewClient(dir).Status(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("a dead daemon's socket: %v", err)
	}
	again, err := Listen(dir)
	if err != nil {
		t.Fatalf("a dead daemon's socket is in the way: %v", err)
	}
	again.Close()
}

func TestSocketMode(t *testing.T) {
	dir := serve(t, &fakeDaemon{}, nil)
	st, err := os.Stat(filepath.Join(dir, Socket))
	if err != nil || st.Mode().Perm() != 0o660 {
		t.Errorf("mode %v, %v; want 0660", st.Mode(), err)
	}
}

// raw sends text to the socket and returns all that comes back.
func raw(t *testing.T, dir, text string) string {
	t.Helper()
	c, err := net.Dial("unix", filepath.Join(dir, Socket))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(c, text) // the server may hang up early: that is its right
	b, _ := io.ReadAll(c)
	return string(b)
}

func post(path, body string) string {
	return "POST " + path + " HTTP/1.1\r\nHost: t\r\nConnection: close\r\nContent-Length: " +
		strconv.Itoa(len(body)) + "\r\n\r\n" + body
}

func TestRefusals(t *testing.T) {
	f := &fakeDaemon{stopped: make(chan bool, 1), status: Status{Tunnels: []Tunnel{{Name: "sweden"}, {Name: "japan"}}}}
	dir := serve(t, f, nil)
	for _, c := range []struct{ name, request, status, says string }{
		{"unknown path", post("/v1/nothing", "{}"), "404", "not known"},
		{"wrong method", "GET /v1/stop HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n", "404", "GET /v1/stop"},
		{"unknown field", post("/v1/stop", `{"keep_gard":true}`), "400", "keep_gard"},
		{"no JSON", post("/v1/explain", "to=8.8.8.8"), "400", "not what this version expects"},
		{"empty", post("/v1/explain", ""), "400", "not what this version expects"},
		{"two objects", post("/v1/stop", "{}{}"), "400", "goes on"},
		{"bad address", post("/v1/explain", `{"to":"8.8.8"}`), "400", "8.8.8"},
		{"large body", post("/v1/explain", `{"to":"`+strings.Repeat("8", 1<<20)+`"}`), "413", "too large"},
		{"large header", "GET /v1/status HTTP/1.1\r\nX: " + strings.Repeat("x", 1<<17) + "\r\n\r\n", "431", ""},
		{"unknown field of a filter", post("/v1/flows", `{"form":"10.0.0.0/8"}`), "400", "form"},
		{"bad prefix", post("/v1/flows", `{"from":"10.0.0.1"}`), "400", "10.0.0.1"},
		{"unknown tunnel", post("/v1/flows", `{"tunnel":"swedn"}`), "400", "there are: direct, sweden, japan"},
		{"a limit too large", post("/v1/flows", `{"limit":50001}`), "400", "1 to 50000"},
		{"a drop of nothing said", post("/v1/flows/drop", `{}`), "400", "or --all"},
		{"a drop of null", post("/v1/flows/drop", `null`), "400", "or --all"},
		{"a drop of all and some", post("/v1/flows/drop", `{"all":true,"port":53}`), "400", "not go with a filter"},
		{"a drop by GET", "GET /v1/flows/drop HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n", "404", "not known"},
		{"no HTTP", "hello\r\n\r\n", "400", ""},
	} {
		got := raw(t, dir, c.request)
		if !strings.HasPrefix(got, "HTTP/1.1 "+c.status) || !strings.Contains(got, c.says) {
			t.Errorf("%s: got %q, want status %s and %q", c.name, got, c.status, c.says)
		}
	}
	if len(f.stopped) != 0 || len(f.dropped) != 0 {
		t.Error("a refused request stopped the daemon, or dropped flows")
	}
}

// TestSlowCaller sends a byte now and then: it is cut off, and meanwhile keeps
// nobody else waiting.
func TestSlowCaller(t *testing.T) {
	dir := serve(t, &fakeDaemon{}, func(s *Server) {
		s.http.ReadHeaderTimeout, s.http.ReadTimeout = 300*time.Millisecond, 300*time.Millisecond
	})
	for _, start := range []string{"GET /v1/status HTTP/1.1\r\nX: ", "POST /v1/explain HTTP/1.1\r\nHost: t\r\nContent-Length: 60000\r\n\r\n"} {
		c, err := net.Dial("unix", filepath.Join(dir, Socket))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		io.WriteString(c, start)
		closed := make(chan struct{})
		go func() { io.Copy(io.Discard, c); close(closed) }()
		if _, err := NewClient(dir).Status(t.Context()); err != nil {
			t.Errorf("beside a slow caller: %v", err)
		}
		limit := time.After(10 * time.Second)
	drip:
		for {
			select {
			case <-closed:
				break drip
			case <-limit:
				t.Fatal("a slow caller is never cut off")
			case <-time.After(50 * time.Millisecond):
				io.WriteString(c, "x")
			}
		}
	}
}

func TestValidate(t *testing.T) {
	four, six := netip.MustParseAddr("8.8.8.8"), netip.MustParseAddr("2001:db8::1")
	for _, c := range []struct {
		q    Query
		want string
	}{
		{Query{To: four, Proto: 6, Port: 1}, ""},
		{Query{To: four, Proto: 1}, ""},
		{Query{To: four, Proto: 47, From: four}, ""},
		{Query{To: six, Proto: 17, Port: 53, From: six}, ""},
		{Query{Proto: 6, Port: 1}, "--to is missing"},
		{Query{To: four, Proto: 17}, "--proto udp needs --port"},
		{Query{To: four, Proto: 1, Port: 4}, "--proto icmp has no ports"},
		{Query{To: four, Proto: 50, FromPort: 4}, "--proto 50 has no ports"},
		{Query{To: four, Proto: 1, From: six}, "different families"},
		{Query{To: netip.MustParseAddr("fe80::1%eth0"), Proto: 1}, "zone"},
		{Query{To: four, Proto: 1, DSCP: 64}, "--dscp 64"},
	} {
		err := c.q.Validate()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.q, err, c.want)
		}
	}
}

func TestProtoNames(t *testing.T) {
	for n := range 256 {
		if got, err := ParseProto(ProtoName(uint8(n))); err != nil || got != uint8(n) {
			t.Errorf("%d: %d, %v", n, got, err)
		}
	}
	for _, bad := range []string{"", "256", "-1", "tcpp", "0x6"} {
		if n, err := ParseProto(bad); err == nil {
			t.Errorf("%q is read as %d", bad, n)
		}
	}
}
