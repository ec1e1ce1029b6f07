package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
)

// flags is a flag set whose flags may stand before and after the positional
// arguments, and that speaks of them with two dashes.
type flags struct {
	*flag.FlagSet
	e *env
}

func newFlags(e *env, verb string) *flags {
	fs := &flags{flag.NewFlagSet(verb, flag.ContinueOnError), e}
	fs.SetOutput(io.Discard) // failed says it once, in our words
	fs.Usage = func() {}
	return fs
}

// twoDashes mends how package flag names a flag in its errors.
var twoDashes = strings.NewReplacer("flag -", "flag --", "argument: -", "argument: --", "defined: -", "defined: --")

// parse returns the positional arguments, at most max of them.
func (fs *flags) parse(args []string, max int) ([]string, error) {
	var pos []string
	for {
		if err := fs.FlagSet.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, err
			}
			return nil, usagef("%s", twoDashes.Replace(err.Error()))
		}
		rest := fs.Args()
		if ended := len(args) - len(rest); ended > 0 && args[ended-1] == "--" {
			pos, rest = append(pos, rest...), nil
		}
		if len(rest) == 0 {
			break
		}
		pos, args = append(pos, rest[0]), rest[1:]
	}
	if len(pos) > max {
		return nil, usagef("%q is one argument too many", pos[max])
	}
	return pos, nil
}

// alone refuses every flag that was given beside those that are allowed.
func (fs *flags) alone(allowed ...string) (err error) {
	fs.Visit(func(f *flag.Flag) {
		if !slices.Contains(allowed, f.Name) {
			err = usagef("--%s does not go with many flows, which say it themselves", f.Name)
		}
	})
	return err
}

// failed ends a verb whose arguments did not parse.
func (fs *flags) failed(err error) int {
	if errors.Is(err, flag.ErrHelp) {
		fs.usage(fs.e.stdout)
		return exitOK
	}
	fmt.Fprintf(fs.e.stderr, "turnout %s: %v\nturnout help %s says more\n", fs.Name(), err, fs.Name())
	return exitUsage
}

// usage prints the help of one verb.
func (fs *flags) usage(w io.Writer) {
	all := verbs()
	v := all[slices.IndexFunc(all, func(v verb) bool { return v.name == fs.Name() })]
	fmt.Fprintln(w, "Usage:", strings.Join(strings.Fields("turnout "+v.name+" "+v.args+" [flags]"), " "))
	fmt.Fprintf(w, "\n%s.\n", strings.ToUpper(v.summary[:1])+v.summary[1:])
	if v.more != "" {
		fmt.Fprintf(w, "\n%s\n", v.more)
	}
	head := "\nFlags:\n"
	fs.VisitAll(func(f *flag.Flag) {
		value, text := flag.UnquoteUsage(f)
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0" {
			text += " (default " + f.DefValue + ")"
		}
		fmt.Fprintf(w, "%s  %-20s %s\n", head, strings.TrimSpace("--"+f.Name+" "+value), text)
		head = ""
	})
}

// options are the flags that up and explain share: explain answers for the
// very command line that up takes.
type options struct {
	lan      []string
	runDir   string
	stateDir string
	level    slog.Level
}

// upFlags declares them.
func (fs *flags) upFlags() *options {
	var o options
	fs.Func("lan", "the `IFACE` that the LAN is on, when FILE does not say; may be repeated", func(s string) error {
		for name := range strings.SplitSeq(s, ",") {
			if name = strings.TrimSpace(name); name == "" || len(name) > 15 {
				return fmt.Errorf("an interface name has 1 to 15 characters")
			}
			o.lan = append(o.lan, name)
		}
		return nil
	})
	fs.runDirFlag(&o.runDir)
	fs.StringVar(&o.stateDir, "state-dir", "/var/lib/turnout", "`DIR` for what outlives a reboot")
	fs.TextVar(&o.level, "log-level", slog.LevelInfo, "`LEVEL`: debug (every routing decision), info, warn or error")
	return &o
}

func (fs *flags) runDirFlag(dir *string) {
	fs.StringVar(dir, "run-dir", "/run/turnout", "`DIR` for the control socket, the lock and the host's state")
}
