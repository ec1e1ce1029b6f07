package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"

	"turnout/cmd/internal/control"
	"turnout/tests/netlab"
)

// A demoFlow is one row of the table: what is sent, and where it must come out.
type demoFlow struct {
	host   int // 0 alice, 1 bob
	flow   netlab.Flow
	expect string
}

var demoHosts = []string{"alice", "bob"}

func demoFlows() []demoFlow {
	flow := func(host int, proto, to string, port uint16, expect string) demoFlow {
		return demoFlow{host, netlab.Flow{Proto: proto, Dst: netip.MustParseAddr(to), Port: port}, expect}
	}
	voice := flow(1, "udp", "198.51.100.1", 5060, "japan")
	voice.flow.DSCP = 46
	return []demoFlow{
		flow(0, "tcp", "198.51.100.1", 443, "sweden"),
		flow(0, "udp", "198.51.100.1", 443, "sweden"),
		flow(0, "icmp", "198.51.100.1", 0, "sweden"),
		flow(0, "udp", "198.51.100.1", 53, "japan"),
		flow(0, "tcp", "198.51.100.1", 53, "sweden"),
		flow(0, "tcp", "198.51.100.3", 443, "japan"),
		flow(0, "tcp", "198.51.100.2", 22, "office"),
		flow(0, "tcp", "198.51.100.2", 443, "sweden"),
		flow(1, "tcp", "198.51.100.2", 443, "office"),
		flow(0, "tcp", "10.99.0.1", 8080, "office"),
		flow(0, "icmp", "10.99.0.1", 0, "office"),
		voice,
		flow(0, "tcp", "198.51.100.4", 443, netlab.Direct),
		flow(0, "icmp", "198.51.100.4", 0, netlab.Direct),
		flow(0, "udp", "198.51.100.1", 123, netlab.Direct),
		flow(0, "tcp", "198.51.100.1", 23, netlab.Drop),
		flow(0, "icmp", "198.51.100.3", 0, netlab.Drop),
		flow(0, "tcp", "198.51.100.1", 25, netlab.Reject),
		flow(0, "udp", "198.51.100.1", 27015, netlab.Reject),
	}
}

// A demoRow is a flow with what became of it.
type demoRow struct {
	demoFlow
	proved string // the exit, by the far end's word
	why    string // by the router's
	wrong  bool
}

// runDemoFlows plays all flows at once.
func runDemoFlows(lab *netlab.Lab) []demoRow {
	flows := demoFlows()
	rows := make([]demoRow, len(flows))
	var all sync.WaitGroup
	for i, f := range flows {
		all.Go(func() { rows[i] = runDemoFlow(lab, f) })
	}
	all.Wait()
	return rows
}

func runDemoFlow(lab *netlab.Lab, f demoFlow) demoRow {
	row := demoRow{demoFlow: f}
	result, err := lab.Hosts[f.host].Probe(f.flow)
	row.proved = provedExit(lab, result)
	if err != nil {
		row.proved = err.Error()
	}
	verdict, why, err := askDemo(lab, f)
	row.why = why
	if err != nil {
		row.why = err.Error()
	}
	row.wrong = row.proved != f.expect || verdict != f.expect
	return row
}

// provedExit is the exit's name if also the source that the far end saw is the
// one which that exit masquerades with.
func provedExit(lab *netlab.Lab, r netlab.Result) string {
	want := r.Seen
	if s := lab.Server(r.Exit); s != nil {
		want = s.Client
	} else if r.Exit == netlab.Direct {
		want = lab.UplinkAddr()
	}
	if r.Seen != want {
		return fmt.Sprintf("%s, but seen as %v", r.Exit, r.Seen)
	}
	return r.Exit
}

// askDemo asks the running router, by the command that a person would use.
func askDemo(lab *netlab.Lab, f demoFlow) (exit, why string, err error) {
	args := []string{"--json", "--run-dir", lab.RunDir(), "--to", f.flow.Dst.String(), "--proto", f.flow.Proto,
		"--from", lab.Hosts[f.host].Addr.String(), "--dscp", strconv.Itoa(int(f.flow.DSCP))}
	if f.flow.Port != 0 {
		args = append(args, "--port", strconv.Itoa(int(f.flow.Port)))
	}
	stdout, stderr, status, err := lab.Gateway.Turnout("explain", args...)
	if err != nil {
		return "", "", err
	}
	if status != exitOK {
		return "", "", fmt.Errorf("explain: %s", strings.TrimSpace(stderr))
	}
	var a control.Answer
	if err := json.Unmarshal([]byte(stdout), &a); err != nil {
		return "", "", fmt.Errorf("reading explain's answer: %w", err)
	}
	exit = a.Exit
	if a.Tunnel != "" {
		exit = a.Tunnel
	}
	return exit, demoReason(a), nil
}

// demoReason puts a verdict into one short line.
func demoReason(a control.Answer) string {
	if a.Match == nil {
		return "nothing matches"
	}
	text := a.Match.Text
	if a.Match.Name != "" {
		text = strconv.Quote(a.Match.Name)
	}
	text, _, _ = strings.Cut(text, "#") // a comment of the line
	if a.By == "default" {
		text = strings.TrimPrefix(text, "default = ")
	}
	return fmt.Sprintf("%s: %s  (%s:%d)", a.By, strings.TrimSpace(text), filepath.Base(a.Match.File), a.Match.Line)
}

// printDemoFlows prints the table and returns how many rows are wrong.
func printDemoFlows(out io.Writer, rows []demoRow) (wrong int) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "  \tFROM\tFLOW\tEXPECTED\tPROVED\tWHY, SAYS turnout explain")
	for _, r := range rows {
		mark := "ok"
		if r.wrong {
			mark = "WRONG"
			wrong++
		}
		fmt.Fprintf(w, "  %s\t%s\t%v\t%s\t%s\t%s\n", mark, demoHosts[r.host], r.flow, r.expect, r.proved, r.why)
	}
	w.Flush()
	return wrong
}
