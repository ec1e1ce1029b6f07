package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"unicode/utf8"

	"turnout/cmd/internal/control"
	"turnout/conf"
)

// fakeFlows is a flow of each sort, as the table of a fakeGateway has them.
func fakeFlows() []control.Flow {
	a := netip.MustParseAddr
	web := &control.Line{Text: `[[rule]] name = "the web through sweden"; proto = "tcp"; ports = "80,443"; via = "sweden"`, At: "turnout.toml:31", Name: "the web through sweden"}
	long := &control.Line{Text: `[[rule]] to = ["198.51.100.0/24", "203.0.113.0/24", "192.0.2.0/24"]; not_to = ["198.51.100.7"]; via = "stream"`, At: "/etc/turnout/turnout.toml:104"}
	return []control.Flow{
		{Exit: "direct", Near: "lan", Proto: "udp", From: a("192.168.77.20"), FromPort: 5353, To: a("9.9.9.9"), Port: 53,
			State: "dns", By: "default", Match: &control.Line{Text: `default = "direct"`, At: "turnout.toml:1"},
			Age: 3, Idle: 1, Expires: 29, BytesOut: 71, PacketsOut: 1},
		{Exit: "tunnel", Tunnel: "sweden", Near: "lan", Proto: "tcp", From: a("192.168.77.10"), FromPort: 51000, To: a("198.51.100.1"), Port: 443,
			Mapped: a("10.66.0.2"), MappedPort: 51000, State: "established", By: "rule", Match: web,
			Age: 3723, Idle: 3, Expires: 7437, BytesOut: 1 << 20, BytesIn: 3 << 30, PacketsOut: 120, PacketsIn: 8012},
		{Exit: "tunnel", Tunnel: "sweden", Group: "stream", Near: "lan", Proto: "udp", From: a("192.168.177.110"), FromPort: 65535, To: a("198.151.100.101"), Port: 65535,
			Mapped: a("10.66.0.2"), MappedPort: 10022, State: "udp-two-way", By: "rule", Match: long, Age: 90, Expires: 300, BytesOut: 2000, BytesIn: 1000, PacketsOut: 4, PacketsIn: 2},
		{Exit: "tunnel", Tunnel: "sweden", Near: "lan", Proto: "icmp", From: a("192.168.77.10"), FromPort: 4711, To: a("198.51.100.1"),
			Mapped: a("10.66.0.2"), MappedPort: 7, State: "icmp", By: "rule", Earlier: true, Age: 86400 * 3, Expires: 60, BytesOut: 168, BytesIn: 168, PacketsOut: 2, PacketsIn: 2},
		{Exit: "tunnel", Tunnel: "sweden", Near: "lan", Inbound: true, Proto: "tcp", From: a("192.168.77.10"), FromPort: 80, To: a("203.0.113.5"), Port: 40000,
			Mapped: a("10.66.0.2"), MappedPort: 8080, State: "closing", By: "forward", Match: &control.Line{Text: `[[forward]] name = "home page"; tunnel = "sweden"; ports = 8080; to = "192.168.77.10:80"`, At: "turnout.toml:44", Name: "home page"}, Age: 12, Idle: 11, Expires: 229, BytesOut: 900, BytesIn: 400, PacketsOut: 5, PacketsIn: 5},
		{Exit: "hairpin", Tunnel: "sweden", Near: "lan", Proto: "tcp", From: a("192.168.77.11"), FromPort: 3000, To: a("10.66.0.2"), Port: 8080,
			Mapped: a("10.66.0.2"), MappedPort: 3000, Far: a("192.168.77.10"), FarPort: 80, State: "syn-sent", By: "forward", Match: &control.Line{Text: `[[forward]] name = "home page"; tunnel = "sweden"; ports = 8080; to = "192.168.77.10:80"`, At: "turnout.toml:44", Name: "home page"}, Expires: 240, BytesOut: 60, PacketsOut: 1},
		{Exit: "tunnel", Tunnel: "sweden", Near: "tunnel", NearTunnel: "office", Proto: "47", From: a("10.99.0.1"), To: a("198.51.100.2"),
			State: "other", Earlier: true, Age: 5, Idle: 5, Expires: 595, BytesOut: 2048, PacketsOut: 8},
	}
}

func TestFlowsOfDaemon(t *testing.T) {
	r := start(t, &fakeGateway{}, conf.Hooks{})
	ask := func(args string) (int, string, string) {
		return call("", append([]string{"flows", "--run-dir", r.dir}, strings.Fields(args)...)...)
	}
	_, table, stderr := ask("")
	golden(t, ".", "flows.txt", table)
	_, lines, _ := ask("--json")
	golden(t, ".", "flows.json", lines)
	if stderr != "" {
		t.Errorf("it says %q", stderr)
	}
	for _, l := range strings.Split(table, "\n") {
		if n := utf8.RuneCountInString(l); n > 110 {
			t.Errorf("%d columns: %s", n, l)
		}
	}
	for _, c := range []struct {
		args           string
		status         int
		stdout, stderr string
	}{
		{"--limit 2", 0, "and 5 flows with less traffic; --limit shows more, --json all\n", ""},
		{"--limit 2 --json", 0, `"from":"192.168.177.110"`, ""},
		{"--tunnel direct --from 192.168.77.20", 0, "9.9.9.9:53", ""},
		{"--from 192.168.77.0/28 --proto udp", 0, "no flows\n", ""},
		{"--tunnel swedn", 2, "", `no tunnel "swedn"; there are: direct, sweden`},
		{"--drop --tunnel swedn", 2, "", `no tunnel "swedn"; there are: direct, sweden`},
		{"--drop --tunnel sweden", 0, "6 flows dropped; what comes of them is decided anew\n", ""},
		{"--drop --port 53 --proto UDP", 0, "1 flow dropped", ""},
		{"--drop --all --json", 0, "\"dropped\": 7\n", ""},
		{"--drop --to 10.0.0.1", 0, "no flows to drop\n", ""},
	} {
		status, stdout, stderr := ask(c.args)
		if status != c.status || !strings.Contains(stdout, c.stdout) || !strings.Contains(stderr, c.stderr) || (stderr != "") != (c.stderr != "") {
			t.Errorf("flows %s: status %d\nstdout: %s\nstderr: %s\nwant %d, %q, %q", c.args, status, stdout, stderr, c.status, c.stdout, c.stderr)
		}
	}
	if log := r.log.String(); !strings.Contains(log, `msg="flows dropped" count=6 filter="--tunnel sweden"`) {
		t.Errorf("the log does not tell of the drop: %s", log)
	}
	var f control.Flow
	if err := json.Unmarshal([]byte(strings.SplitN(lines, "\n", 2)[0]), &f); err != nil || f.Exit != "direct" {
		t.Errorf("the first line: %+v, %v", f, err)
	}
}

// TestFlowsWide keeps the second lines within the screen, whatever the rules
// are called.
func TestFlowsWide(t *testing.T) {
	f := fakeFlows()[1]
	for n := range 200 {
		f.Match = &control.Line{Text: strings.Repeat("ö", n), At: "turnout.toml:1", Name: strings.Repeat("å", n%7)}
		var out bytes.Buffer
		printFlows(&out, []*control.Flow{&f}, 0)
		for i, l := range strings.Split(out.String(), "\n") {
			if w := utf8.RuneCountInString(l); w > flowsWide || !utf8.ValidString(l) {
				t.Fatalf("line %d is %d columns wide: %s", i, w, l)
			}
		}
		if !strings.Contains(out.String(), "(turnout.toml:1)") {
			t.Fatalf("the place is lost: %s", out.String())
		}
	}
}

// TestFlowsOutputCloses has nobody read what is printed any more.
func TestFlowsOutputCloses(t *testing.T) {
	r := start(t, &fakeGateway{}, conf.Hooks{})
	var stderr bytes.Buffer
	for _, args := range []string{"--json", ""} {
		status := run(&env{nil, closed{}, &stderr}, append([]string{"flows", "--run-dir", r.dir}, strings.Fields(args)...))
		if status != exitFailed {
			t.Errorf("flows %s: status %d", args, status)
		}
	}
}

type closed struct{}

func (closed) Write([]byte) (int, error) { return 0, fmt.Errorf("broken pipe") }
