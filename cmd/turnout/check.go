package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"turnout/classifier"
	"turnout/conf"
)

const checkHelp = `Reads FILE as up would, and changes nothing. One line each for what is wrong, for what
is doubtful (warning: lines that nothing reaches or that match nothing, tunnels that
policy widens, ...) and for what is good to know (note: overlaps that only the order
of two lines decides), then what the configuration holds. Exit status 2 when
something is wrong; with --strict also when something is doubtful.`

// A report is what check found.
type report struct {
	File     string         `json:"file"`
	OK       bool           `json:"ok"`
	Problems []finding      `json:"problems"`
	Warnings []finding      `json:"warnings"`
	Notes    []finding      `json:"notes"`
	Tunnels  []tunnelCount  `json:"tunnels"`
	Groups   []string       `json:"groups"`
	Entries  map[string]int `json:"entries"` // by what decides: rule, route, allowed-ips, default
	Sets     []setCount     `json:"sets"`
	Forwards []forwardLine  `json:"forwards"`
	Limits   *flowLimits    `json:"limits,omitempty"`
	Table    *tableCost     `json:"table,omitempty"` // what the policy costs once compiled
}

type finding struct {
	Text string `json:"text"`
	At   string `json:"at"` // where, for a person: "file:line"
	File string `json:"file"`
	Line int    `json:"line"`           // from 1; 0: the file as a whole
	Kind string `json:"kind,omitempty"` // of lint's findings, and "slow"
}

func newFinding(p conf.Problem) finding { return findingAt(p.Pos, "", p.Text) }

func findingAt(p classifier.Pos, kind, text string) finding {
	return finding{text, p.String(), p.File, p.Line, kind}
}

type setCount struct {
	Name     string `json:"name"`
	Prefixes int    `json:"prefixes"`
}

type tunnelCount struct {
	Name     string       `json:"name"`
	Peers    int          `json:"peers"`
	Widened  bool         `json:"widened"` // carries more than its AllowedIPs say, since policy names it
	Via      []string     `json:"via"`     // the tunnels that carry it, the next one first; none: the uplink does
	FullCone bool         `json:"full_cone"`
	Accept   []acceptLine `json:"accept"`
}

func check(e *env, args []string) int {
	fs := newFlags(e, "check")
	o := fs.upFlags()
	strict := fs.Bool("strict", false, "exit status 2 for warnings too")
	asJSON := fs.Bool("json", false, "print one JSON object")
	files, err := fs.parse(args, 1)
	if err == nil && len(files) == 0 {
		err = usagef("which configuration? turnout check FILE")
	}
	if err != nil {
		return fs.failed(err)
	}
	r := examine(files[0], o)
	if *asJSON {
		e.printJSON(r)
	} else {
		r.print(e.stdout)
	}
	if !r.OK || *strict && len(r.Warnings) > 0 {
		return exitUsage
	}
	return exitOK
}

func examine(file string, o *options) report {
	r := report{File: file, Problems: []finding{}, Warnings: []finding{}, Notes: []finding{},
		Tunnels: []tunnelCount{}, Groups: []string{}, Entries: map[string]int{}, Sets: []setCount{}, Forwards: []forwardLine{}}
	defer frugal()()
	cfg, err := conf.Load(file, conf.Options{LAN: o.lan, Purpose: conf.ForCheck})
	var table *classifier.Table
	if err == nil {
		table, err = classifier.Compile(cfg.Policy)
	}
	if err != nil {
		r.Problems = findings(file, err)
		return r
	}
	r.OK = true
	for _, w := range cfg.Warnings {
		r.Warnings = append(r.Warnings, newFinding(w))
	}
	r.lint(cfg.Policy)
	r.cost(table)
	for _, s := range cfg.Policy.Sets {
		r.Sets = append(r.Sets, setCount{s.Name, len(s.Prefixes)})
	}
	for i := range cfg.Tunnels {
		t := &cfg.Tunnels[i]
		r.Tunnels = append(r.Tunnels, tunnelCount{t.Name, len(t.Peers), t.Widened4 || t.Widened6, viaNames(cfg, i), t.FullCone, acceptLines(t)})
	}
	r.Forwards = append(r.Forwards, forwardLines(cfg)...)
	r.Limits = &flowLimits{cfg.Limits.Flows, cfg.Limits.FlowsPerHost, cfg.Limits.NewFlowsPerHost}
	for _, g := range cfg.Groups {
		r.Groups = append(r.Groups, g.Name)
	}
	for i := range cfg.Policy.Entries {
		r.Entries[cfg.Policy.Entries[i].By.String()]++
	}
	return r
}

// findings lists each problem of a configuration; another error, as of a file
// that is not there, is about the file as a whole.
func findings(file string, err error) []finding {
	var list conf.Problems
	if !errors.As(err, &list) {
		return []finding{{Text: err.Error(), At: file, File: file}}
	}
	var out []finding
	for _, p := range list {
		out = append(out, newFinding(p))
	}
	return out
}

func (r report) print(w io.Writer) {
	for _, f := range r.Problems {
		fmt.Fprintf(w, "%s: %s\n", f.At, f.Text)
	}
	printFindings(w, "warning", r.Warnings)
	printFindings(w, "note", r.Notes)
	if !r.OK {
		fmt.Fprintf(w, "%s: not valid, %s\n", r.File, count(len(r.Problems), "problem"))
		return
	}
	for _, t := range r.Tunnels {
		fmt.Fprintln(w, t)
		for _, a := range t.Accept {
			fmt.Fprintf(w, "tunnel %s accepts %s\n", t.Name, a)
		}
	}
	for _, f := range r.Forwards {
		fmt.Fprintln(w, f)
	}
	for _, s := range r.Sets {
		fmt.Fprintf(w, "set %s: %s\n", s.Name, count(s.Prefixes, "network"))
	}
	fmt.Fprintln(w, r.Table)
	fmt.Fprintf(w, "%s: valid, %s, %s, %s, %s, %s\n", r.File, count(len(r.Tunnels), "tunnel"), count(len(r.Groups), "group"),
		count(r.Entries["rule"], "rule"), count(r.Entries["route"], "route"), count(len(r.Warnings), "warning"))
}

func (t tunnelCount) String() string {
	text := fmt.Sprintf("tunnel %s: %s", t.Name, count(t.Peers, "peer"))
	if len(t.Via) > 0 {
		text += ", via " + strings.Join(t.Via, ", then ") + ", then the uplink"
	}
	if t.FullCone {
		text += ", full cone"
	}
	if t.Widened {
		text += ", widened: it carries more than its AllowedIPs say, because policy names it"
	}
	return text
}

func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}
