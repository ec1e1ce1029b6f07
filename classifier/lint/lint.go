package lint

import (
	"fmt"
	"path/filepath"
	"strings"

	"turnout/classifier"
)

// Kinds of findings.
const (
	Never      = "never"      // an entry that no packet reaches: what stands before it takes all
	Empty      = "empty"      // an entry that no packet matches: it names no address
	Order      = "order"      // an entry that overlaps an earlier one, and only their order decides
	WrapGuard  = "wrapguard"  // a route that WrapGuard would pass over for one listed earlier
	Unfinished = "unfinished" // not all was compared
)

// A Finding is something that the author of a policy probably did not mean.
type Finding struct {
	Entry int32 // what it is about; -1: the policy as a whole
	Other int32 // the entry that it conflicts with; -1: none
	Kind  string
	Text  string // one line for a person, without the place of Entry
}

// Limits of Check: comparing everything with everything would take minutes for
// a policy that compiles in a moment.
const (
	maxWork     = 60 << 20 // steps in all, a few nanoseconds each
	maxOverlaps = 64       // earlier entries that one is held against together
)

// Check reads a sorted policy that compiles, and returns what is doubtful in
// the order of the entries. It errs on the side of silence: what it reports
// never and empty is so. Where Tags decide, it takes for granted that any
// address may get any tag.
func Check(p *classifier.Policy) []Finding {
	l := &checker{Policy: p, index: newIndex(p), work: maxWork, seen: make([]int32, len(p.Entries))}
	for i := range p.Entries {
		if l.work <= 0 {
			l.found(-1, -1, Unfinished, "only the first %d of %d lines were compared with those before them; the others overlap too much", i, len(p.Entries))
			break
		}
		l.entry(int32(i))
	}
	return l.findings
}

// A checker is the state of Check.
type checker struct {
	*classifier.Policy
	index    *index
	work     int // steps left
	findings []Finding
	overlaps []int32 // of the entry at hand, in order
	seen     []int32 // by entry: one more than the last that it was held against
}

func (l *checker) found(entry, other int32, kind, format string, args ...any) {
	l.findings = append(l.findings, Finding{entry, other, kind, fmt.Sprintf(format, args...)})
}

// entry looks at one entry and those before it. AllowedIPs say what a tunnel
// may carry, and a default is there just in case: no harm when nothing reaches
// them.
func (l *checker) entry(i int32) {
	e := &l.Entries[i]
	if e.By != classifier.ByRule && e.By != classifier.ByRoute {
		return
	}
	if why := l.matchesNothing(e); why != "" {
		l.found(i, -1, Empty, "%s matches nothing: %s", l.name(i), why)
		return
	}
	cover := l.compare(i)
	if cover >= 0 {
		l.found(i, cover, Never, "%s is never reached: %s before it takes all that it matches", l.name(i), l.place(cover))
		return
	}
	if by := l.together(i); len(by) > 0 {
		l.found(i, by[0], Never, "%s is never reached: %s before it take together all that it matches", l.name(i), l.places(by))
		return
	}
	l.order(i)
	l.wrapGuard(i)
}

// matchesNothing says why no packet can match e, "" if one can.
func (l *checker) matchesNothing(e *classifier.Entry) string {
	sides := []struct {
		what string
		side
	}{{"to", dst(e)}, {"from", src(e)}}
	for _, s := range sides {
		if s.any() {
			continue
		}
		full := len(s.in) > 0
		for _, set := range s.sets {
			full = full || len(l.Sets[set].Prefixes) > 0
		}
		if !full {
			return fmt.Sprintf("set @%s is empty", l.Sets[s.sets[0]].Name)
		}
		if l.excludesAll(s.side) {
			return fmt.Sprintf("not_%s takes away all of %s", s.what, s.what)
		}
	}
	return ""
}

// order reports that e's place among the earlier entries that it overlaps
// decides. An exception before what it is an exception of is how policy is
// written, and not reported.
func (l *checker) order(i int32) {
	e := &l.Entries[i]
	first, more := int32(-1), 0
	for _, j := range l.overlaps {
		f := &l.Entries[j]
		if f.By != e.By || f.Exit == e.Exit || e.By == classifier.ByRoute && !equals(f, e) || l.contains(i, j) {
			continue
		}
		if first < 0 {
			first = j
		} else {
			more++
		}
	}
	if first < 0 {
		return
	}
	others := ""
	if more > 0 {
		others = fmt.Sprintf(" and %d more", more)
	}
	l.found(i, first, Order, "%s overlaps %s%s; where both match, the earlier line decides", l.name(i), l.place(first), others)
}

// wrapGuard reports routes of one wg-quick file where WrapGuard's code takes
// the first listed of two with one prefix, although its own examples mean the
// more specific one, which wins here.
func (l *checker) wrapGuard(i int32) {
	e := &l.Entries[i]
	if !quickRoute(e) {
		return
	}
	for _, j := range l.overlaps {
		f := &l.Entries[j]
		if quickRoute(f) && f.Exit != e.Exit && f.Pos.File == e.Pos.File && f.Pos.Line > e.Pos.Line && f.To[0].Masked() == e.To[0].Masked() {
			l.found(j, i, WrapGuard, "WrapGuard itself would pass this Route over for the one listed first (%s); here the more specific one wins, as in its examples", e.Pos)
			return
		}
	}
}

// quickRoute reports whether e is a Route line of a wg-quick file.
func quickRoute(e *classifier.Entry) bool {
	rest, ok := strings.CutPrefix(strings.ToLower(e.Text), "route")
	return ok && e.By == classifier.ByRoute && strings.HasPrefix(strings.TrimSpace(rest), "=") && len(e.To) == 1
}

// name says what entry i is, for the beginning of a line that has its place.
func (l *checker) name(i int32) string {
	e := &l.Entries[i]
	switch {
	case e.Name != "":
		return fmt.Sprintf("rule %q", e.Name)
	case e.By == classifier.ByRule:
		return "this rule"
	}
	return "this Route"
}

// place names entry i in the middle of a line.
func (l *checker) place(i int32) string {
	e := &l.Entries[i]
	what := map[classifier.By]string{classifier.ByRule: "the rule", classifier.ByRoute: "the Route"}[e.By]
	if e.Name != "" {
		what = fmt.Sprintf("rule %q", e.Name)
	}
	return fmt.Sprintf("%s at %s:%d", what, filepath.Base(e.Pos.File), e.Pos.Line)
}

// places names a few entries.
func (l *checker) places(list []int32) string {
	const few = 3
	var words []string
	for _, i := range list[:min(few, len(list))] {
		words = append(words, l.place(i))
	}
	if more := len(list) - few; more > 0 {
		words = append(words, fmt.Sprintf("%d more", more))
	}
	return strings.Join(words, " and ")
}
