package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"turnout/cmd/internal/control"
)

func status(e *env, args []string) int {
	fs := newFlags(e, "status")
	var runDir string
	fs.runDirFlag(&runDir)
	asJSON := fs.Bool("json", false, "print one JSON object")
	if _, err := fs.parse(args, 0); err != nil {
		return fs.failed(err)
	}
	s, err := control.NewClient(runDir).Status(context.Background())
	if err != nil {
		return e.fail("status", err)
	}
	if *asJSON {
		return e.printJSON(s)
	}
	printStatus(e.stdout, s, time.Now())
	return exitOK
}

// printJSON prints v as one indented object.
func (e *env) printJSON(v any) int {
	enc := json.NewEncoder(e.stdout)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return exitFailed // nobody reads standard output any more
	}
	return exitOK
}

func printStatus(out io.Writer, s control.Status, now time.Time) {
	fmt.Fprintf(out, "turnout %s, up %v as process %d, from %s\n", s.Version,
		time.Duration(s.Uptime*float64(time.Second)).Truncate(time.Second), s.PID, s.File)
	for _, l := range s.LAN {
		fmt.Fprintf(out, "LAN %s %s through %s, %s\n", l.Interface, join(l.Prefixes), s.TUN, count(s.Flows, "flow"))
	}
	for _, t := range s.Tunnels {
		fmt.Fprintf(out, "\ntunnel %s  %s  MTU %d  port %d\n", t.Name, join(t.Addresses), t.MTU, t.ListenPort)
		for _, p := range t.Peers {
			printPeer(out, p, now)
		}
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "\nexit\tpackets\tbytes\tback\tbytes\t\n")
	for _, x := range s.Exits {
		name := x.Name
		if x.Live != "" {
			name += " -> " + x.Live
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%d\t%s\t\n", name, x.Packets, size(x.Bytes), x.PacketsBack, size(x.BytesBack))
	}
	w.Flush()
	for i, d := range s.Drops {
		if i == 0 {
			fmt.Fprintln(out, "\nnot forwarded:")
		}
		fmt.Fprintf(out, "%10d  %-20s %s\n", d.Packets, d.Reason, d.Text)
	}
}

func printPeer(out io.Writer, p control.Peer, now time.Time) {
	endpoint, shake := p.Endpoint, "no handshake yet"
	if endpoint == "" {
		endpoint = "has not called yet"
	}
	if !p.LastHandshake.IsZero() {
		shake = fmt.Sprintf("handshake %v ago", now.Sub(p.LastHandshake).Truncate(time.Second))
	}
	fmt.Fprintf(out, "  %s  %s\n    %s, %s received, %s sent\n", p.PublicKey, endpoint, shake, size(p.Rx), size(p.Tx))
}

// size writes bytes for a person: 1536 is "1.5 KiB".
func size(n uint64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, unit := float64(n), ""
	for _, unit = range []string{"KiB", "MiB", "GiB", "TiB", "PiB"} {
		if f /= 1024; f < 1024 {
			break
		}
	}
	return fmt.Sprintf("%.1f %s", f, unit)
}

// join writes a list with commas.
func join[T fmt.Stringer](list []T) string {
	var words []string
	for _, x := range list {
		words = append(words, x.String())
	}
	return strings.Join(words, ",")
}
