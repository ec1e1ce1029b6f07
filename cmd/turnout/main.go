// Turnout routes a whole LAN through several WireGuard tunnels by policy.
//
// One file per verb; wire.go builds the running router out of its parts.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"turnout/conf"
)

// Exit statuses of the command.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2 // wrong flags, or a configuration that is not valid
)

// env is what a verb may touch of the process, so that tests can run one
// without a process of its own.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
}

// A verb is one word of the command line.
type verb struct {
	name    string
	args    string // as the usage line shows them
	summary string
	more    string // a paragraph for "help VERB"
	run     func(e *env, args []string) int
}

// verbs are all there are, in the order of help.
func verbs() []verb {
	return []verb{
		{"up", "FILE", "route the LAN as FILE says, until stopped", upHelp, up},
		{"down", "", "stop the running router and undo what it did to the host", downHelp, down},
		{"reload", "[FILE]", "have the running router decide by a changed policy", reloadHelp, reload},
		{"status", "", "tunnels, peers, exits and drops of the running router", "", status},
		{"explain", "[FILE] --to ADDR", "which exit a packet takes, and why", explainHelp, explain},
		{"flows", "", "conversations under way, and where each goes", flowsHelp, listFlows},
		{"check", "FILE", "read a configuration and say what is wrong with it", checkHelp, check},
		{"demo", "", "watch all of this at work, in a network of its own", demoHelp, demo},
		{"genkey", "", "print a new private key", "", genkey},
		{"pubkey", "", "read a private key, print its public key", "", pubkey},
		{"genpsk", "", "print a new preshared key", "", genpsk},
		{"version", "", "print the version", "", version},
	}
}

func main() {
	os.Exit(run(&env{os.Stdin, os.Stdout, os.Stderr}, os.Args[1:]))
}

// run finds the verb and runs it.
func run(e *env, args []string) int {
	if len(args) == 0 {
		help(e.stderr)
		return exitUsage
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		return helpVerb(e, args[1:])
	case "-v", "-version", "--version":
		return version(e, nil)
	}
	for _, v := range verbs() {
		if v.name == args[0] {
			return v.run(e, args[1:])
		}
	}
	fmt.Fprintf(e.stderr, "turnout: %q is not a verb; turnout help lists them\n", args[0])
	return exitUsage
}

// fail reports err as the verb's own and returns the exit status that goes
// with it.
func (e *env) fail(verb string, err error) int {
	var list conf.Problems
	if errors.As(err, &list) { // lines that begin with their place, as check prints them
		fmt.Fprintln(e.stderr, list)
		return exitUsage
	}
	fmt.Fprintf(e.stderr, "turnout %s: %v\n", verb, err)
	var u usageError
	if errors.As(err, &u) {
		return exitUsage
	}
	return exitFailed
}

// A usageError is the caller's mistake: exit status 2.
type usageError struct{ error }

func (u usageError) Unwrap() error { return u.error }

func usagef(format string, args ...any) error {
	return usageError{fmt.Errorf(format, args...)}
}
