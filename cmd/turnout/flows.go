package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"

	"turnout/cmd/internal/control"
)

const flowsHelp = `Two lines for each flow, those with most traffic first. The first has its ends as
the host on the LAN knows them (> it began, < it was called; ADDR#ID is a ping's
identifier), exit, state, age and bytes; the second the ends as the far host knows
them where they differ, packets out/in, and the line of the configuration that
decided, or that an earlier policy did. --json prints an object a line: every flow,
in no order, unless --limit chooses the busiest. Of a direct flow only what leaves is
seen. --port is that of the end that was called; a ping has none.

--drop has the selected flows forgotten. It closes no connection: the next packet of
each is decided anew, and takes the exit that policy says now. A TCP connection that
so comes out elsewhere is unknown there, and the far end resets it.`

// flowsShown is how many flows the table has without --limit.
const flowsShown = 10_000

func listFlows(e *env, args []string) int {
	fs := newFlags(e, "flows")
	var runDir string
	fs.runDirFlag(&runDir)
	filter := fs.filterFlags()
	limit := fs.Uint("limit", 0, fmt.Sprintf("at most `N` flows, the busiest (default %d; with --json all)", flowsShown))
	asJSON := fs.Bool("json", false, "print an object a line")
	drop := fs.Bool("drop", false, "forget the flows that the filters select")
	all := fs.Bool("all", false, "with --drop: every flow")
	_, err := fs.parse(args, 0)
	list := control.FlowsRequest{Filter: *filter, Limit: int(min(*limit, control.MaxFlows+1))}
	dropped := control.DropRequest{Filter: *filter, All: *all}
	if err == nil {
		err = flowsAsked(list, dropped, *drop)
	}
	if err != nil {
		return fs.failed(err)
	}
	c := control.NewClient(runDir)
	switch {
	case *drop:
		err = e.dropFlows(c, dropped, *asJSON)
	case *asJSON:
		err = e.flowLines(c, list)
	default:
		err = e.flowTable(c, list)
	}
	if no := new(control.Refusal); errors.As(err, no) && no.Code == http.StatusBadRequest {
		err = usageError{err} // a tunnel that the daemon does not have
	}
	if err != nil {
		return e.fail("flows", err)
	}
	return exitOK
}

// flowsAsked says which flags do not go together.
func flowsAsked(list control.FlowsRequest, dropped control.DropRequest, drop bool) error {
	switch {
	case drop && list.Limit != 0:
		return usagef("--limit does not go with --drop, which takes all that the filters select")
	case dropped.All && !drop:
		return usagef("--all goes with --drop; without a filter all flows are listed")
	}
	err := list.Validate()
	if drop {
		err = dropped.Validate()
	}
	if err != nil {
		return usageError{err}
	}
	return nil
}

// filterFlags declares the flags that select flows.
func (fs *flags) filterFlags() *control.Filter {
	var f control.Filter
	prefix := func(name string, into *netip.Prefix, text string) {
		fs.Func(name, text, func(s string) (err error) {
			*into, err = parsePrefix(s)
			return err
		})
	}
	fs.StringVar(&f.Tunnel, "tunnel", "", "only those through tunnel `NAME`, or \"direct\"")
	prefix("from", &f.From, "only those of this LAN host, `ADDR` or CIDR")
	prefix("to", &f.To, "only those with this other end, `ADDR` or CIDR")
	fs.Func("proto", "only `PROTO`: tcp, udp, icmp or a protocol number", func(s string) error {
		n, err := control.ParseProto(s)
		f.Proto = control.ProtoName(n)
		return err
	})
	fs.Func("port", "only those to TCP or UDP port `N`", func(s string) error {
		n, err := strconv.ParseUint(s, 10, 16)
		if err != nil || n == 0 {
			return errors.New("a port is a number from 1 to 65535")
		}
		f.Port = uint16(n)
		return nil
	})
	return &f
}

// parsePrefix reads an address or CIDR.
func parsePrefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, errors.New("neither an address nor a CIDR such as 192.168.77.0/24")
	}
	return p.Masked(), nil
}

// dropFlows has flows forgotten and says how many.
func (e *env) dropFlows(c *control.Client, q control.DropRequest, asJSON bool) error {
	n, err := c.DropFlows(context.Background(), q)
	switch {
	case err != nil:
		return err
	case asJSON:
		e.printJSON(control.Dropped{Flows: n})
	case n == 0:
		fmt.Fprintln(e.stdout, "no flows to drop")
	default:
		fmt.Fprintf(e.stdout, "%s dropped; what comes of them is decided anew\n", count(n, "flow"))
	}
	return nil
}

// flowLines prints flows as they come.
func (e *env) flowLines(c *control.Client, q control.FlowsRequest) error {
	out := bufio.NewWriterSize(e.stdout, 64<<10)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	_, err := c.Flows(context.Background(), q, func(f *control.Flow) error { return enc.Encode(f) })
	if flushed := out.Flush(); err == nil { // what came is printed, broken off or not
		err = flushed
	}
	return err
}
