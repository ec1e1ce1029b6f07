package main

import (
	"fmt"
	"io"

	"turnout/classifier"
	"turnout/classifier/lint"
)

// lint adds what the policy probably does not mean. Overlaps are how policy is
// written, so they are worth knowing, but no reason to doubt it.
func (r *report) lint(p *classifier.Policy) {
	for _, f := range lint.Check(p) {
		at := classifier.Pos{File: r.File}
		if f.Entry >= 0 {
			at = p.Entries[f.Entry].Pos
		}
		out := findingAt(at, f.Kind, f.Text)
		switch f.Kind {
		case lint.Order, lint.Unfinished:
			r.Notes = append(r.Notes, out)
		default:
			r.Warnings = append(r.Warnings, out)
		}
	}
}

// A tableCost is what the compiled policy costs.
type tableCost struct {
	Lines    int `json:"lines"`    // of the policy
	Bytes    int `json:"bytes"`    // of memory
	Compared int `json:"compared"` // lines that a lookup compares at worst
	Depth    int `json:"depth"`    // decisions that lead it there
}

// slowLookup is how many comparisons of one lookup are worth a warning. Sets of
// 10,000 real rules stay below 40. New flows still pass when it is exceeded,
// each a few microseconds later.
const slowLookup = 128

// cost reports what the table costs, and warns when some packet would take
// long.
func (r *report) cost(t *classifier.Table) {
	c := t.Report()
	r.Table = &tableCost{Lines: c.Entries, Bytes: c.Bytes, Compared: c.Compared, Depth: c.Depth}
	if c.Compared > slowLookup {
		r.Warnings = append(r.Warnings, findingAt(classifier.Pos{File: r.File}, "slow", fmt.Sprintf(
			"a lookup compares %d lines at worst, after %d decisions: many lines overlap in three fields or more; name narrower networks or ports to make it fast", c.Compared, c.Depth)))
	}
}

func (c *tableCost) String() string {
	return fmt.Sprintf("policy: %s in %s of memory, at worst %s and %s a lookup", count(c.Lines, "line"), size(uint64(c.Bytes)),
		count(c.Depth, "decision"), count(c.Compared, "comparison"))
}

// findingsShown is how many findings of one kind are printed; --json has all.
const findingsShown = 20

// printFindings prints the first findings of each kind.
func printFindings(w io.Writer, what string, list []finding) {
	shown, left := map[string]int{}, 0
	for _, f := range list {
		if shown[f.Kind]++; f.Kind != "" && shown[f.Kind] > findingsShown {
			left++
			continue
		}
		fmt.Fprintln(w, f.At+": "+what+": "+f.Text)
	}
	if left > 0 {
		fmt.Fprintf(w, "and %s like these, which --json lists\n", count(left, "more "+what))
	}
}
