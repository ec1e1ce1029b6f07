package conf

import (
	"fmt"
	"regexp"
	"sort"
	"strings"

	"turnout/classifier"
)

// Problem is one error or warning of a configuration, as one line:
// "file:line: what was read; what is allowed".
type Problem struct {
	Pos  classifier.Pos
	Text string
}

// Error returns the line.
func (p Problem) Error() string { return p.Pos.String() + ": " + p.Text }

func (p Problem) String() string { return p.Error() }

// Problems is the error that Load returns: all problems of all files.
type Problems []Problem

// Error returns one line per problem.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i := range p {
		lines[i] = p[i].Error()
	}
	return strings.Join(lines, "\n")
}

// maxProblems bounds what a hopeless file can say.
const maxProblems = 200

// report collects errors and warnings while the files are read.
type report struct {
	errs, warns Problems
	dropped     int            // errors beyond maxProblems
	order       map[string]int // files in the order in which they were opened
}

// failf notes an error; the configuration will not load.
func (r *report) failf(pos classifier.Pos, format string, args ...any) {
	if len(r.errs) == maxProblems {
		r.dropped++
		return
	}
	r.errs = append(r.errs, Problem{pos, line(format, args...)})
}

// failures counts the errors so far.
func (r *report) failures() int { return len(r.errs) + r.dropped }

// warnf notes what is legal but worth saying.
func (r *report) warnf(pos classifier.Pos, format string, args ...any) {
	if len(r.warns) < maxProblems {
		r.warns = append(r.warns, Problem{pos, line(format, args...)})
	}
}

// opened remembers that messages of file come after those of earlier files.
func (r *report) opened(file string) {
	if r.order == nil {
		r.order = map[string]int{}
	}
	if _, ok := r.order[file]; !ok {
		r.order[file] = len(r.order)
	}
}

// sorted orders problems by file, then line, and drops repetitions.
func (r *report) sorted(list Problems) Problems {
	sort.SliceStable(list, func(i, j int) bool {
		a, b := list[i].Pos, list[j].Pos
		if a.File != b.File {
			return r.order[a.File] < r.order[b.File]
		}
		return a.Line < b.Line
	})
	var out Problems
	for i, p := range list {
		if i == 0 || p != list[i-1] {
			out = append(out, p)
		}
	}
	return out
}

// errors returns everything that failed, or nil.
func (r *report) errors(file string) Problems {
	out := r.sorted(r.errs)
	if r.dropped > 0 {
		out = append(out, Problem{classifier.Pos{File: file}, fmt.Sprintf("and %d more errors; these are the first %d", r.dropped, maxProblems)})
	}
	return out
}

// wholeKey is a WireGuard key as everybody writes it; likeKey also finds one
// that lost its last character.
var (
	wholeKey = regexp.MustCompile(`[A-Za-z0-9+/]{43}=`)
	likeKey  = regexp.MustCompile(`[A-Za-z0-9+/]{43,}=?`)
)

// hideKeys takes keys out of text that another hand wrote: a hook, a path.
// A long path without upper case is none.
func hideKeys(text string) string {
	return likeKey.ReplaceAllStringFunc(text, func(run string) string {
		if run == strings.ToLower(run) {
			return run
		}
		return "(hidden)"
	})
}

// maxShown is how much of a value a message repeats, in bytes.
const maxShown = 64

var plainNumber = regexp.MustCompile(`^-?[0-9]{1,20}$`)

// show quotes a value that was read, for a message: one line, short, no keys.
func show(text string) string {
	if plainNumber.MatchString(text) {
		return text
	}
	text = hideKeys(text)
	if len(text) > maxShown {
		text = text[:maxShown] + "…"
	}
	return fmt.Sprintf("%q", text)
}

// line formats one message and keeps it on one line.
func line(format string, args ...any) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, fmt.Sprintf(format, args...))
}
