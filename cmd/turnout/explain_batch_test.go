package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"turnout/cmd/internal/control"
	"turnout/conf"
)

const someFlows = `from,to,proto,from_port,port,dscp
192.168.77.5,10.1.2.3,tcp,40000,22,
192.168.77.20,9.9.9.9,udp,40000,53,
192.168.77.5,9.9.9.9,,,25,
192.168.77.5,198.51.100.3,udp,,4000,34
,9.9.9.9,,,,
192.168.77.5,2001:db8::1
`

// answers reads JSON lines.
func answers(t *testing.T, out string) (list []control.Answer) {
	t.Helper()
	for line := range strings.Lines(out) {
		var a control.Answer
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		list = append(list, a)
	}
	return list
}

func TestExplainFlows(t *testing.T) {
	inConf(t)
	text := strings.ReplaceAll(someFlows, "192.168.77.5,2001:db8::1\n", "")
	if err := os.WriteFile("flows.csv", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	status, out, stderr := call("", "explain", "home.toml", "--flows", "flows.csv")
	got := answers(t, out)
	if status != 0 || stderr != "" || len(got) != 5 {
		t.Fatalf("status %d, %s\n%s", status, stderr, out)
	}
	for i, want := range []string{"office", "direct", "reject", "sweden", "direct"} {
		a := got[i]
		if exitName(a) != want || len(a.Considered)+a.More+1 != 7 {
			t.Errorf("flow %d: %+v, want %s", i, a, want)
		}
	}
	// The same one by one.
	_, one, _ := call("", strings.Fields("explain home.toml --json --from 192.168.77.5 --from-port 40000 --to 10.1.2.3 --port 22")...)
	var a control.Answer
	if err := json.Unmarshal([]byte(one), &a); err != nil || fmt.Sprint(a.Considered, a.Match) == "" || len(a.Considered) != len(got[0].Considered) || *a.Match != *got[0].Match {
		t.Errorf("alone %+v (%v), among others %+v", a, err, got[0])
	}
	for _, c := range []struct{ args, stdin, want string }{
		{"--flows -", someFlows, "-:7: from 192.168.77.5 and to 2001:db8::1 are of different families"},
		{"--flows nowhere.csv", "", "no such file"},
		{"--pcap flows.csv", "", "no pcap or pcapng"},
		{"--pcap -", "", "no pcap or pcapng"},
		{"--flows - --pcap -", "", "one at a time"},
		{"--flows - --to 9.9.9.9", "", "--to does not go with many flows"},
	} {
		status, out, stderr := call(c.stdin, append([]string{"explain", "home.toml"}, strings.Fields(c.args)...)...)
		if status != 2 || out != "" || !strings.Contains(stderr, c.want) {
			t.Errorf("explain %s: %d %s%s, want %q", c.args, status, out, stderr, c.want)
		}
	}
	if status, out, _ := call("", "explain", "home.toml", "--flows", "-"); status != 0 || out != "" {
		t.Errorf("no flows: %d, %s", status, out)
	}
}

func exitName(a control.Answer) string {
	if a.Exit == "tunnel" {
		return a.Tunnel
	}
	return a.Exit
}

// TestExplainFlowsOfDaemon asks the running router, in several requests.
func TestExplainFlowsOfDaemon(t *testing.T) {
	r := start(t, &fakeGateway{}, conf.Hooks{})
	var text strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&text, "192.168.77.5,10.0.%d.%d\n", i>>8, i&255)
	}
	status, out, stderr := call(text.String(), "explain", "--run-dir", r.dir, "--flows", "-")
	got := answers(t, out)
	if status != 0 || stderr != "" || len(got) != 1000 {
		t.Fatalf("status %d, %s, %d answers", status, stderr, len(got))
	}
	for i, a := range got {
		if want := fmt.Sprintf("10.0.%d.%d", i>>8, i&255); a.To.String() != want {
			t.Fatalf("answer %d is about %v, want %s", i, a.To, want)
		}
	}
	if status, _, stderr := call("", "explain", "--run-dir", t.TempDir(), "--flows", "-"); status != 1 || !strings.Contains(stderr, "not running") {
		t.Errorf("without a daemon: %d, %s", status, stderr)
	}
}

// TestExplainIsQuick explains the 100,000 flows of a capture by 1,000 rules. It
// takes 4 s of processor time; a busy machine gets slack.
func TestExplainIsQuick(t *testing.T) {
	const flows = 100_000
	file := largePolicy(t, 1000, 1000)
	if err := os.WriteFile("flows.pcap", manyFlows(flows), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "explain", file, "--pcap", "flows.pcap")
	cmd.Env = append(os.Environ(), "TURNOUT_TEST_MAIN=1")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	begun := time.Now()
	if err := cmd.Run(); err != nil || errs.Len() > 0 {
		t.Fatalf("%v: %s", err, errs.String())
	}
	took := time.Since(begun)
	t.Logf("%v, %v of processor time", took, cmd.ProcessState.UserTime())
	if limit := 15 * time.Second; !raceDetector && cmd.ProcessState.UserTime() > limit {
		t.Errorf("it took %v of processor time, want less than %v", cmd.ProcessState.UserTime(), limit)
	}
	if n := bytes.Count(out.Bytes(), []byte("\n")); n != flows {
		t.Errorf("%d answers to %d flows", n, flows)
	}
	for i, line := range bytes.SplitN(out.Bytes(), []byte("\n"), 11)[:10] {
		if want := fmt.Appendf(nil, `"from_port":%d,"to":"10.0.0.%d"`, 1024+i, i); !bytes.Contains(line, want) {
			t.Errorf("answer %d is %s, want %s", i, line, want)
		}
	}
}

// manyFlows makes a capture of SYNs, each of another flow.
func manyFlows(n int) []byte {
	out := make([]byte, 24, 24+n*56)
	binary.LittleEndian.PutUint32(out, 0xa1b2c3d4)
	binary.LittleEndian.PutUint16(out[4:], 2)
	binary.LittleEndian.PutUint16(out[6:], 4)
	binary.LittleEndian.PutUint32(out[16:], 65535)
	binary.LittleEndian.PutUint32(out[20:], 101) // raw IP
	for i := range n {
		p := make([]byte, 56)
		binary.LittleEndian.PutUint32(p[8:], 40)
		binary.LittleEndian.PutUint32(p[12:], 40)
		b := p[16:]
		b[0], b[3], b[8], b[9], b[32], b[33], b[34] = 0x45, 40, 64, 6, 0x50, 2, 1
		copy(b[12:], []byte{192, 168, 77, byte(2 + i%200), 10, byte(i >> 16), byte(i >> 8), byte(i)})
		binary.BigEndian.PutUint16(b[20:], uint16(1024+i%60000))
		binary.BigEndian.PutUint16(b[22:], 443)
		out = append(out, p...)
	}
	return out
}
