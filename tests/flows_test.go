package tests

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"turnout/tests/netlab"
)

// A listed flow is what `turnout flows --json` says of one.
type listed struct {
	Exit, Tunnel, Group, Proto, State, By string
	From, To, Mapped                      netip.Addr
	FromPort                              uint16 `json:"from_port"`
	Port                                  uint16
	MappedPort                            uint16 `json:"mapped_port"`
	Earlier                               bool   `json:"earlier_policy"`
	Match                                 *struct{ Text, At, Name string }
	BytesOut                              uint64 `json:"bytes_out"`
	BytesIn                               uint64 `json:"bytes_in"`
	PacketsOut                            uint32 `json:"packets_out"`
	PacketsIn                             uint32 `json:"packets_in"`
}

// flows runs the verb, wants its exit status and looks for keys in what it says.
func (r *run) flows(t *testing.T, status int, args ...string) (stdout, stderr string) {
	t.Helper()
	stdout, stderr, got, err := r.Gateway.Turnout("flows", append(args, "--run-dir", r.RunDir())...)
	if err != nil || got != status {
		t.Fatalf("flows %v: status %d, %v, want %d\n%s%s", args, got, err, status, stdout, stderr)
	}
	for _, s := range r.Servers {
		for _, key := range []netlab.Key{s.ClientKey, s.Key} {
			if strings.Contains(stdout+stderr, key.Private()) {
				t.Errorf("flows %v shows a private key", args)
			}
		}
	}
	return stdout, stderr
}

func (r *run) listed(t *testing.T, args ...string) (list []listed) {
	t.Helper()
	stdout, _ := r.flows(t, 0, append(args, "--json")...)
	for line := range strings.Lines(stdout) {
		var f listed
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		list = append(list, f)
	}
	return list
}

// mapping asks the far end who it is and whom it sees.
func mapping(h *netlab.Host, f netlab.Flow) (who string, seen netip.AddrPort, err error) {
	f.Wait = 3 * time.Second
	var conn net.Conn
	if f.Proto == "tcp" {
		conn, err = h.Dial(f)
	} else {
		conn, err = h.DialUDP(f)
	}
	if err != nil {
		return "", seen, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(f.Wait))
	fmt.Fprintln(conn, "who")
	buf := make([]byte, 200)
	n, err := conn.Read(buf)
	words := strings.Fields(string(buf[:n]))
	if err != nil || len(words) < 2 {
		return "", seen, fmt.Errorf("%v: answer %q, %v", f, buf[:n], err)
	}
	seen, err = netip.ParseAddrPort(words[1])
	return words[0], seen, err
}

// What flows lists of a conversation is what became of it: exit, line and
// mapping, as the far end sees them.
func TestFlowsListsWhatHappens(t *testing.T) {
	t.Parallel()
	r := world{Options: netlab.Options{Hosts: 2}, Head: `
[[group]]
name = "away"
members = ["japan", "office"]
[[rule]]
name = "video"
to = ["198.51.100.2"]
via = "away"
[[rule]]
to = ["198.51.100.3"]
via = "direct"
`}.up(t)
	if stdout, _ := r.flows(t, 0); stdout != "no flows\n" {
		t.Errorf("a fresh router lists %s", stdout)
	}
	const fallback, video, direct = `default = "sweden"`, `[[rule]] name = "video"; to = ["198.51.100.2"]; via = "away"`, `[[rule]] to = ["198.51.100.3"]; via = "direct"`
	want := map[uint16]struct {
		exit, group, by, text string
		flow                  netlab.Flow
		seen                  netip.AddrPort
	}{}
	for i, rule := range []struct{ exit, group, by, text string }{
		{"sweden", "", "default", fallback}, {"japan", "away", "rule", video}, {netlab.Direct, "", "rule", direct},
	} {
		for _, f := range everyProtocol(i) {
			f.SrcPort = uint16(40001 + len(want))
			w := want[f.SrcPort]
			w.exit, w.group, w.by, w.text, w.flow = rule.exit, rule.group, rule.by, rule.text, f
			if f.Proto == "icmp" {
				if err := r.arrives(r.Hosts[0], f, rule.exit); err != nil {
					t.Error(err)
				}
			} else {
				who, seen, err := mapping(r.Hosts[0], f)
				if w.seen = seen; who != rule.exit {
					t.Errorf("%v arrives at %s (%v), want %s", f, who, err, rule.exit)
				}
			}
			want[f.SrcPort] = w
		}
	}
	list := r.listed(t)
	if len(list) != len(want) {
		t.Errorf("%d flows are listed, want %d: %+v", len(list), len(want), list)
	}
	for _, f := range list {
		w := want[f.FromPort]
		exit := f.Tunnel
		if f.Exit != "tunnel" {
			exit = f.Exit
		}
		if f.Proto != w.flow.Proto || f.From != r.Hosts[0].Addr || f.To != w.flow.Dst || f.Port != w.flow.Port {
			t.Errorf("%+v is listed, want %v from port %d", f, w.flow, w.flow.SrcPort)
		}
		if exit != w.exit || f.Group != w.group || f.By != w.by || f.Earlier || f.Match == nil || f.Match.Text != w.text || !strings.Contains(f.Match.At, "turnout.toml:") {
			t.Errorf("%v is listed as %+v by %+v, want %s by %s", w.flow, f, f.Match, w.exit, w.text)
		}
		if f.BytesOut == 0 || f.PacketsOut == 0 || w.exit != netlab.Direct && (f.BytesIn == 0 || f.PacketsIn == 0) {
			t.Errorf("%v: nothing is counted: %+v", w.flow, f)
		}
		mapped := netip.AddrPortFrom(f.Mapped, f.MappedPort)
		switch {
		case w.exit == netlab.Direct:
			if f.Mapped.IsValid() {
				t.Errorf("%v: the kernel's mapping is made up: %v", w.flow, mapped)
			}
		case w.flow.Proto == "icmp":
			if f.Mapped != r.Server(w.exit).Client {
				t.Errorf("%v is listed as mapped to %v", w.flow, mapped)
			}
		case mapped != w.seen:
			t.Errorf("%v is listed as mapped to %v, the far end sees %v", w.flow, mapped, w.seen)
		}
	}
	r.flowsFiltered(t)
}

// flowsFiltered asks for parts of the nine flows, and prints the table.
func (r *run) flowsFiltered(t *testing.T) {
	for _, c := range []struct {
		args string
		want int
	}{
		{"--tunnel sweden", 3}, {"--tunnel direct", 3}, {"--tunnel office", 0}, {"--proto udp", 3}, {"--proto icmp --tunnel japan", 1},
		{"--port 443", 6}, {"--port 443 --to 198.51.100.2/31", 4}, {"--from 192.168.77.0/24 --to 198.51.100.1", 3}, {"--from 192.168.77.11", 0},
		{"--limit 4", 4},
	} {
		if got := r.listed(t, strings.Fields(c.args)...); len(got) != c.want {
			t.Errorf("flows %s lists %d, want %d: %+v", c.args, len(got), c.want, got)
		}
	}
	stdout, _ := r.flows(t, 0, "--tunnel", "japan")
	if n := strings.Count(stdout, `rule "video" (`); n != 3 || !strings.HasPrefix(stdout, "proto") {
		t.Errorf("the table names the line %d times, want 3:\n%s", n, stdout)
	}
	if _, stderr := r.flows(t, 2, "--tunnel", "norway"); !strings.Contains(stderr, "there are: direct, sweden, japan, office") {
		t.Errorf("a tunnel that is not there: %s", stderr)
	}
}

// What is dropped is decided anew at its next packet; what is not goes on.
func TestFlowsDrop(t *testing.T) {
	t.Parallel()
	r := world{}.up(t)
	watch := r.watch(t)
	old, other := r.session(t), r.session(t)
	old.through(t, "sweden")
	other.through(t, "sweden")
	r.change(t, `default = "sweden"`, `default = "japan"`)
	r.reload(t, 0)
	old.through(t, "sweden")
	if list := r.listed(t); len(list) != 4 || slices.ContainsFunc(list, func(f listed) bool {
		return !f.Earlier || f.Match != nil || f.By != "default" || f.Tunnel != "sweden"
	}) {
		t.Errorf("flows of an earlier policy are listed as %+v", list)
	}
	if stdout, _ := r.flows(t, 0); strings.Count(stdout, "by default, of an earlier policy") != 4 {
		t.Errorf("the table says\n%s", stdout)
	}

	_, stderr := r.flows(t, 2, "--drop")
	if !strings.Contains(stderr, "or --all") {
		t.Errorf("a drop of nothing said: %s", stderr)
	}
	if stdout, _ := r.flows(t, 0, "--drop", "--tunnel", "japan"); stdout != "no flows to drop\n" {
		t.Errorf("a drop of nothing says %q", stdout)
	}
	old.through(t, "sweden")
	port := func(c net.Conn) string { return fmt.Sprint(netip.MustParseAddrPort(c.LocalAddr().String()).Port()) }
	if stdout, _ := r.flows(t, 0, "--drop", "--proto", "udp"); !strings.HasPrefix(stdout, "2 flows dropped") {
		t.Errorf("a drop says %q", stdout)
	}
	if list := r.listed(t); len(list) != 2 || list[0].Proto != "tcp" || list[1].Proto != "tcp" {
		t.Errorf("after the drop there are %+v", list)
	}
	if who, err := asks(old.udp); who != "japan" {
		t.Errorf("udp: after a drop %q answers (%v), want japan", who, err)
	}
	list := r.listed(t, "--proto", "udp")
	if len(list) != 1 || list[0].Tunnel != "japan" || list[0].Earlier || list[0].Match == nil || list[0].Match.Text != `default = "japan"` || fmt.Sprint(list[0].FromPort) != port(old.udp) {
		t.Errorf("the flow that was decided anew is listed as %+v", list)
	}
	if word, err := asks(old.tcp); err != nil || strings.TrimSpace(word) != "who" {
		t.Errorf("tcp was not dropped: %q, %v", word, err)
	}

	r.flows(t, 0, "--drop", "--proto", "tcp", "--port", "443")
	if word, err := asks(old.tcp); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("tcp: after a drop %q answers, %v; want a reset by who does not know it", word, err)
	}
	r.flows(t, 0, "--drop", "--all")
	if stdout, _ := r.flows(t, 0); stdout != "no flows\n" {
		t.Errorf("after all were dropped there are\n%s", stdout)
	}
	if log := r.Daemon.Log(); !strings.Contains(log, `msg="flows dropped" count=2 filter="--proto udp"`) {
		t.Error("the log does not tell of the drop")
	}
	if err := watch.Leaks(); err != nil {
		t.Error(err)
	}
}
