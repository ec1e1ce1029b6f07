package tests

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"turnout/tests/netlab"
)

// A played flow is one that a host of the lab has played, and where it arrived.
type played struct {
	host int
	netlab.Flow
	exit string
}

// csv is the flow as a line for --flows; echo requests have no ports there.
func (p played) csv(hosts []*netlab.Host) string {
	if p.Proto == "icmp" {
		return fmt.Sprintf("%v,%v,icmp,,,%d\n", hosts[p.host].Addr, p.Dst, p.DSCP)
	}
	return fmt.Sprintf("%v,%v,%s,%d,%d,%d\n", hosts[p.host].Addr, p.Dst, p.Proto, p.SrcPort, p.Port, p.DSCP)
}

// An explained flow is what `turnout explain` says of one.
type explained struct {
	Exit, Tunnel, By, From, To, Proto string
	FromPort                          uint16 `json:"from_port"`
	Port                              uint16
	DSCP                              uint8
	Considered                        []struct{ Lost string }
	More                              int
}

func (x explained) exit() string {
	if x.Exit == "tunnel" {
		return x.Tunnel
	}
	return x.Exit
}

func (x explained) key() string {
	return fmt.Sprintf("%s,%s,%s,%d,%d,%d", x.From, x.To, x.Proto, x.FromPort, x.Port, x.DSCP)
}

// randomRules draws rules over what the lab can play.
func randomRules(r *rand.Rand, n int) string {
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	var b strings.Builder
	b.WriteString("[[set]]\nname = \"some\"\nfile = \"some.txt\"\nprefixes = [\"192.168.77.12\"]\n")
	for range n {
		b.WriteString("[[rule]]\n")
		b.WriteString(pick("", "", `to = "198.51.100.1"`, `to = ["198.51.100.2/31", "10.99.0.0/16"]`, `to = "@some"`, `to = "198.51.100.4"`) + "\n")
		b.WriteString(pick("", "", "", `not_to = "198.51.100.2"`, `not_to = "@some"`) + "\n")
		b.WriteString(pick("", `from = "192.168.77.10"`, `from = "192.168.77.10/31"`, `from = "@some"`, `not_from = "192.168.77.11"`) + "\n")
		b.WriteString(pick("proto = \"icmp\"", `proto = "tcp"`, `proto = "udp"`, "ports = \"22-80\"", "ports = \"443,5060,8080-30000\"",
			"proto = \"tcp\"\nports = 53", "proto = \"udp\"\nfrom_ports = \"10200-10400\"", "dscp = [46]", "dscp = [0, 8]\nports = \"123\"") + "\n")
		fmt.Fprintf(&b, "via = %q\n", pick("sweden", "japan", "office", "sweden", "japan", "office", "direct", "direct", "reject", "drop"))
	}
	return b.String()
}

// randomFlows draws flows that differ in their source port at least.
func randomFlows(r *rand.Rand, n, hosts int) (list []played) {
	for i := range n {
		f := netlab.Flow{
			Proto: []string{"tcp", "tcp", "udp", "udp", "icmp"}[r.IntN(5)], Dst: netlab.Internet[r.IntN(len(netlab.Internet))],
			SrcPort: uint16(10_000 + i), Port: netlab.DefaultPorts[r.IntN(len(netlab.DefaultPorts))], DSCP: []uint8{0, 0, 0, 8, 46}[r.IntN(5)],
		}
		if f.Proto == "icmp" {
			f.Port = 0
		}
		list = append(list, played{host: r.IntN(hosts), Flow: f})
	}
	return list
}

// TestExplainIsWhatHappens plays 1,000 flows with real sockets by a random
// policy, captures them, and asks what becomes of them: the running router,
// the file, and both again with the capture. All say what happened.
func TestExplainIsWhatHappens(t *testing.T) {
	t.Parallel()
	need(t, "tcpdump")
	const flows = 1000
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 3))
	w := world{Options: netlab.Options{Hosts: 3}, Head: randomRules(rng, 40), Peer: tablePeers,
		Before: func(t *testing.T, l *netlab.Lab) {
			if _, err := l.Gateway.Write("some.txt", "# a set\n198.51.100.3\n10.99.0.0/24\n192.168.77.11\n"); err != nil {
				t.Fatal(err)
			}
		}}
	r := w.up(t)
	capture := r.capture(t)
	list := randomFlows(rng, flows, 3)
	r.play(t, list)
	capture.stop(t)

	var text strings.Builder
	for _, p := range list {
		text.WriteString(p.csv(r.Hosts))
	}
	csv := r.write(t, "flows.csv", text.String())
	live := r.explain(t, "--flows", csv, "--run-dir", r.RunDir())
	offline := r.explain(t, r.File, "--flows", csv)
	if len(live) != flows || len(offline) != flows {
		t.Fatalf("%d and %d answers to %d flows", len(live), len(offline), flows)
	}
	for i, p := range list {
		for by, x := range map[string]explained{"the router": live[i], "the file": offline[i]} {
			if x.exit() != p.exit || p.Proto != x.Proto {
				t.Errorf("%v from host %d, port %d, arrives at %s; %s says %s by %s", p.Flow, p.host, p.SrcPort, p.exit, by, x.exit(), x.By)
			}
		}
	}

	want := map[string]string{}
	for i, x := range live {
		if x.Proto != "icmp" {
			want[x.key()] = list[i].exit
		}
	}
	for by, args := range map[string][]string{"the router": {"--run-dir", r.RunDir()}, "the file": {r.File}} {
		found := 0
		for _, x := range r.explain(t, append(args, "--pcap", capture.file)...) {
			exit, played := want[x.key()]
			if played && exit != x.exit() {
				t.Errorf("captured %s arrives at %s; %s says %s", x.key(), exit, by, x.exit())
			}
			if played {
				found++
			}
		}
		if found != len(want) {
			t.Errorf("%s explains %d of the %d flows that were captured", by, found, len(want))
		}
	}
}

// play has the hosts play flows, a few at once, and notes where they arrive.
func (r *run) play(t *testing.T, list []played) {
	t.Helper()
	var wg sync.WaitGroup
	next := make(chan int)
	for range 24 {
		wg.Go(func() {
			for i := range next {
				got, err := r.Hosts[list[i].host].Probe(list[i].Flow)
				if err != nil {
					t.Errorf("%v: %v", list[i].Flow, err)
				}
				list[i].exit = got.Exit
			}
		})
	}
	for i := range list {
		next <- i
	}
	close(next)
	wg.Wait()
	count := map[string]int{}
	for _, p := range list {
		count[p.exit]++
	}
	t.Logf("exits: %v", count)
}

// explain runs the verb in the gateway and reads its JSON lines.
func (r *run) explain(t *testing.T, args ...string) (list []explained) {
	t.Helper()
	stdout, stderr, status, err := r.Gateway.Turnout("explain", args...)
	if err != nil || status != 0 {
		t.Fatalf("explain %v: status %d, %v: %s", args, status, err, stderr)
	}
	for line := range strings.Lines(stdout) {
		var x explained
		if err := json.Unmarshal([]byte(line), &x); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		if !slices.ContainsFunc([]string{x.From, x.To}, func(a string) bool { return netip.MustParseAddr(a).Is6() }) {
			list = append(list, x)
		}
	}
	return list
}

// A tap is a tcpdump on the gateway's LAN interface.
type tap struct {
	cmd  *exec.Cmd
	said *syncBuffer
	file string
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func (r *run) capture(t *testing.T) *tap {
	t.Helper()
	c := &tap{said: new(syncBuffer), file: r.write(t, "lan.pcap", "")}
	c.cmd = exec.Command("tcpdump", "-i", r.LANInterface(), "-U", "--immediate-mode", "-B", "16384", "-s", "128", "-Z", "root", "-w", c.file)
	c.cmd.Stderr = c.said
	if err := r.Gateway.Start(c.cmd); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); !strings.Contains(c.said.String(), "listening on"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("tcpdump does not listen: %s", c.said)
		}
	}
	return c
}

func (c *tap) stop(t *testing.T) {
	t.Helper()
	time.Sleep(time.Second) // what the kernel still holds back
	c.cmd.Process.Signal(syscall.SIGINT)
	c.cmd.Wait()
	if !strings.Contains(c.said.String(), "\n0 packets dropped by kernel") {
		t.Fatalf("tcpdump: %s", c.said)
	}
}
