package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"turnout/classifier"
	"turnout/classifier/packet"
	"turnout/cmd/internal/control"
	offline "turnout/cmd/internal/explain"
	"turnout/conf"
)

const explainHelp = `With FILE it answers for that configuration, without touching the host; without
FILE it asks the running router. Without --proto it asks for TCP when --port is
given, else for a ping. Any verdict is exit status 0.

--flows reads one flow a line: from,to,proto,from_port,port,dscp. A first line
with these names may give another order and leave some out; only to must have a
value; # starts a comment. --pcap takes every flow of a capture, once, in the
direction of its first packet. Both print an object a line, like that of --json,
with at most 20 losers: those whose destination matches, when there are more;
"more" counts the others, and --all lists them. "-" is standard input.`

func explain(e *env, args []string) int {
	fs := newFlags(e, "explain")
	o := fs.upFlags()
	var q control.Query
	fs.TextVar(&q.To, "to", netip.Addr{}, "the `ADDR` that the packet is for")
	fs.TextVar(&q.From, "from", netip.Addr{}, "the `ADDR` of the LAN host (default: the first of the LAN)")
	proto := fs.String("proto", "", "`PROTO`: tcp, udp, icmp or a protocol number")
	port := fs.Uint("port", 0, "destination port `N`")
	fromPort := fs.Uint("from-port", 0, "source port `N`")
	dscp := fs.Uint("dscp", 0, "DSCP `N`, 0 to 63")
	asJSON := fs.Bool("json", false, "print one JSON object")
	var b batch
	fs.StringVar(&b.flows, "flows", "", "ask about each flow of this CSV `FILE`; JSON lines")
	fs.StringVar(&b.pcap, "pcap", "", "ask about each flow of this capture `FILE`, pcap or pcapng; JSON lines")
	fs.BoolVar(&b.all, "all", false, "with --flows and --pcap: every line that lost, however many")
	files, err := fs.parse(args, 1)
	if err == nil && b.asked() {
		if err = fs.alone("flows", "pcap", "all", "lan", "run-dir", "state-dir", "log-level", "json"); err == nil {
			return explainBatch(e, files, o, b)
		}
	}
	if err == nil {
		err = fill(&q, *proto, *port, *fromPort, *dscp)
	}
	if err != nil {
		return fs.failed(err)
	}
	a, err := ask(files, o, q)
	if err != nil {
		return e.fail("explain", err)
	}
	if *asJSON {
		return e.printJSON(a)
	}
	printAnswer(e.stdout, a)
	return exitOK
}

// fill adds to q what needs checking or guessing.
func fill(q *control.Query, proto string, port, fromPort, dscp uint) error {
	if port > 65535 || fromPort > 65535 {
		return usagef("a port is a number from 1 to 65535")
	}
	if dscp > 63 {
		return usagef("--dscp %d is out of range, 0 to 63", dscp)
	}
	q.Port, q.FromPort, q.DSCP = uint16(port), uint16(fromPort), uint8(dscp)
	if err := q.Complete(proto); err != nil {
		return usageError{err}
	}
	return nil
}

// ask has the question answered by a file, or by the running router.
func ask(files []string, o *options, q control.Query) (control.Answer, error) {
	if len(files) == 0 {
		return control.NewClient(o.runDir).Explain(context.Background(), q)
	}
	cfg, err := load(files[0], o, conf.ForExplain)
	if err != nil {
		return control.Answer{}, err
	}
	s, err := source(cfg)
	if err != nil {
		return control.Answer{}, err
	}
	return s.Explain(q), nil
}

// source answers for a configuration.
func source(cfg *conf.Config) (offline.Source, error) {
	table, err := classifier.Compile(cfg.Policy)
	if err != nil {
		return offline.Source{}, usageError{err}
	}
	return offline.Source{Table: table, LAN: cfg.LAN.Prefixes, Local: cfg.LAN.Local}, nil
}

// lostText puts in words how a line lost.
func lostText(field string) string {
	switch field {
	case "later":
		return "matches too, but comes later"
	case "not destination", "not source":
		return "excludes this " + strings.TrimPrefix(field, "not ")
	case "tag":
		return "the destination has no such tag"
	}
	return "other " + field
}

// printAnswer tells a person: the exit, the line, why, then what lost.
func printAnswer(out io.Writer, a control.Answer) {
	fmt.Fprintf(out, "%s -> %s\n", packetText(a), exitText(a.Exit, a.Tunnel, a.Group))
	if a.Match == nil {
		fmt.Fprintln(out, "  nothing matches it")
	} else {
		fmt.Fprintf(out, "  by %s: %s\n", a.By, lineText(*a.Match))
	}
	for _, s := range []string{reasonText(a.Reason), a.Note} {
		if s != "" {
			fmt.Fprintf(out, "  %s\n", s)
		}
	}
	printLost(out, a.Considered)
	for i, l := range a.Depends {
		if i == 0 {
			fmt.Fprintln(out, "another source could change that:")
		}
		fmt.Fprintf(out, "  %s\n", lineText(l))
	}
}

const lostShown = 20 // lines; --json has them all

// printLost lists what lost. Of a long list it shows what at least has the
// packet's destination: the near misses are what somebody is looking for.
func printLost(out io.Writer, lost []control.Lost) {
	if len(lost) == 0 {
		return
	}
	fmt.Fprintln(out, "considered:")
	shown := 0
	for _, l := range lost {
		if shown == lostShown || len(lost) > lostShown && l.Lost == "destination" {
			continue
		}
		shown++
		fmt.Fprintf(out, "  %s: %s; %s\n", exitText(l.Exit, l.Tunnel, l.Group), lineText(l.Match), lostText(l.Lost))
	}
	if left := len(lost) - shown; left > 0 {
		fmt.Fprintf(out, "  and %d more, which --json lists\n", left)
	}
}

func packetText(a control.Answer) string {
	from, to := a.From.String(), a.To.String()
	if a.Port != 0 {
		from = netip.AddrPortFrom(a.From, a.FromPort).String()
		to = netip.AddrPortFrom(a.To, a.Port).String()
	}
	return fmt.Sprintf("%s %s to %s", a.Proto, from, to)
}

// reasonText puts the name of a reason in words.
func reasonText(name string) string {
	for r := range packet.NumReasons {
		if r.String() == name {
			return r.Text()
		}
	}
	return name
}

func exitText(exit, tunnel, group string) string {
	if exit == "tunnel" {
		exit += " " + tunnel
	}
	if group != "" {
		exit += " of group " + group
	}
	return exit
}

func lineText(l control.Line) string {
	return fmt.Sprintf("%s  (%s)", l.Text, l.At)
}
