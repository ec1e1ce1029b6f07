package main

import (
	"fmt"
	"io"
)

const intro = `Turnout routes a whole LAN through several WireGuard tunnels by policy: this
traffic through that tunnel, the rest direct, and nothing past it when a tunnel
or Turnout itself is down. It runs on the LAN's gateway; the hosts need nothing.

Usage: turnout VERB [arguments]

`

const examples = `
Examples:
  turnout explain turnout.toml --to 8.8.8.8 --proto udp --port 53
  sudo turnout up sweden.conf --lan eth1

turnout help VERB tells more about one of them. Exit status: 0 done, 1 failed,
2 wrong usage or configuration.
`

// help prints the first screen: what this is, the verbs, two examples.
func help(w io.Writer) {
	fmt.Fprint(w, intro)
	for _, v := range verbs() {
		fmt.Fprintf(w, "  %-9s %s\n", v.name, v.summary)
	}
	fmt.Fprint(w, examples)
}

// helpVerb is "turnout help" and "turnout help VERB".
func helpVerb(e *env, args []string) int {
	if len(args) == 0 {
		help(e.stdout)
		return exitOK
	}
	return run(e, []string{args[0], "--help"})
}
