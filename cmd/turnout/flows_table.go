package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"turnout/cmd/internal/control"
)

// flowsWide is how wide the table's second lines get; the first ones are as
// wide as addresses and names make them, mostly less.
const (
	flowsWide   = 100
	flowsIndent = "       "
)

// flowTable prints flows for a person. It keeps them all: the daemon sends no
// more than the limit.
func (e *env) flowTable(c *control.Client, q control.FlowsRequest) error {
	if q.Limit == 0 {
		q.Limit = flowsShown
	}
	var list []*control.Flow
	more, err := c.Flows(context.Background(), q, func(f *control.Flow) error {
		list = append(list, f)
		return nil
	})
	if err != nil {
		return err
	}
	return printFlows(e.stdout, list, more)
}

// printFlows aligns the first lines of all flows and puts the second lines
// between them.
func printFlows(w io.Writer, list []*control.Flow, more int) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "no flows")
		return err
	}
	out := bufio.NewWriter(w)
	var text bytes.Buffer
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "proto\tfrom\t  to\texit\tstate\tage\tout\tin")
	for _, f := range list {
		fmt.Fprintln(table, flowRow(f))
	}
	table.Flush()
	for i := -1; i < len(list); i++ {
		line, _ := text.ReadBytes('\n')
		out.Write(line)
		if i >= 0 {
			fmt.Fprintln(out, flowsIndent+flowDetail(list[i]))
		}
	}
	if more > 0 {
		fmt.Fprintf(out, "and %s with less traffic; --limit shows more, --json all\n", count(more, "flow"))
	}
	return out.Flush()
}

func flowRow(f *control.Flow) string {
	exit, arrow := f.Exit, "> "
	if f.Exit == "tunnel" {
		exit = f.Tunnel
	}
	if f.Inbound {
		arrow = "< "
	}
	return strings.Join([]string{
		f.Proto, endText(f, f.From, f.FromPort), arrow + endText(f, f.To, f.Port), exit, f.State,
		(time.Duration(f.Age) * time.Second).String(), size(f.BytesOut), size(f.BytesIn),
	}, "\t")
}

// endText is one end of a flow; of a ping the identifier stands for a port.
func endText(f *control.Flow, a netip.Addr, port uint16) string {
	switch {
	case f.Proto == "tcp" || f.Proto == "udp":
		return netip.AddrPortFrom(a, port).String()
	case port != 0:
		return fmt.Sprintf("%v#%d", a, port)
	}
	return a.String()
}

// flowDetail is the second line: how the far end knows the flow, and why it is
// where it is.
func flowDetail(f *control.Flow) string {
	var words []string
	if f.Near == "tunnel" {
		words = append(words, "from tunnel "+f.NearTunnel)
	}
	if f.Mapped.IsValid() {
		words = append(words, "as "+endText(f, f.Mapped, f.MappedPort))
	}
	if f.Far.IsValid() {
		words = append(words, "to "+endText(f, f.Far, f.FarPort))
	}
	words = append(words,
		fmt.Sprintf("%d/%d pkt", f.PacketsOut, f.PacketsIn),
		fmt.Sprintf("idle %v", time.Duration(f.Idle)*time.Second))
	if f.Group != "" {
		words = append(words, "group "+f.Group)
	}
	line := strings.Join(words, ", ") + "; "
	return line + decisionText(f, flowsWide-len(flowsIndent)-utf8.RuneCountInString(line))
}

// decisionText names the line that decided, in so many columns where that
// leaves a few for its text.
func decisionText(f *control.Flow, columns int) string {
	switch {
	case f.Earlier && f.By != "":
		return "by " + f.By + ", of an earlier policy"
	case f.Match == nil:
		return "by an earlier policy"
	}
	at := " (" + f.Match.At + ")"
	columns = max(12, columns-utf8.RuneCountInString(at))
	if f.Match.Name == "" {
		return shorten(f.Match.Text, columns) + at
	}
	head := f.By + ` "`
	return head + shorten(f.Match.Name, columns-len(head)-1) + `"` + at
}

// shorten cuts s to so many columns.
func shorten(s string, columns int) string {
	if r := []rune(s); len(r) > columns {
		return string(r[:columns-1]) + "…"
	}
	return s
}
