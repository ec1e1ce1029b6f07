package dataplane

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"turnout/classifier/packet"
	"turnout/dataplane/segment"
	"turnout/tests/hostile"
)

// classes is how many there are, M1 to M79.
const classes = 79

// A row of the table of docs/malformed.md: what it says of a class on each
// side, each outcome once.
type row struct {
	results [hostile.Sides][]string
	wire    string
}

var outcome = regexp.MustCompile("^(?:—|(?:drop|answer|trim|forward)(?: `([a-z0-9-]+)`)?)(?: \\([^()]+\\))?$")

// readTable reads the document and complains of what is not as it must be.
func readTable(t *testing.T) map[int]row {
	t.Helper()
	text, err := os.ReadFile("../docs/malformed.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[int]row{}
	for line := range strings.Lines(string(text)) {
		var n int
		if _, err := fmt.Sscanf(line, "| M%d |", &n); err != nil {
			continue
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if len(cells) != 7 || slices.Contains(cells, "") {
			t.Fatalf("the row of M%d has not 7 cells, each with something in it", n)
		}
		if _, twice := rows[n]; twice {
			t.Errorf("M%d has two rows", n)
		}
		r := row{wire: cells[6]}
		for side := range r.results {
			r.results[side] = readResults(t, n, cells[2+side])
		}
		if cells[5] != "`TestMalformed`" {
			t.Errorf("M%d is tried by %s, which is no test of malformed packets", n, cells[5])
		}
		rows[n] = r
	}
	return rows
}

// readResults reads the outcomes of one cell, without the words in brackets.
func readResults(t *testing.T, n int, cell string) (results []string) {
	t.Helper()
	for _, part := range strings.Split(cell, "; ") {
		m := outcome.FindStringSubmatch(part)
		if m == nil {
			t.Errorf("M%d: %q is no outcome", n, part)
			continue
		}
		if m[1] != "" && !isReason(m[1]) {
			t.Errorf("M%d: nothing counts %q", n, m[1])
		}
		part, _, _ = strings.Cut(part, " (")
		if slices.Contains(results, part) {
			t.Errorf("M%d: %q stands there twice", n, part)
		}
		results = append(results, part)
	}
	slices.Sort(results)
	return results
}

func isReason(name string) bool {
	for r := range packet.NumReasons {
		if r != packet.OK && r.String() == name {
			return true
		}
	}
	return false
}

// The document says of each class what its cases are tried for, neither more
// nor less.
func TestMalformedIsDocumented(t *testing.T) {
	rows := readTable(t)
	cases := append(hostile.Cases(), hostile.Datagrams()...)
	for n := 1; n <= classes; n++ {
		r, ok := rows[n]
		if !ok {
			t.Errorf("M%d has no row", n)
			continue
		}
		delete(rows, n)
		var wire []string
		for side := range hostile.Sides {
			want, reaches := triedFor(cases, n, side)
			if !slices.Equal(r.results[side], want) {
				t.Errorf("M%d from the %v: the row says %q, the cases %q", n, side, r.results[side], want)
			}
			if reaches {
				wire = append(wire, side.String())
			}
		}
		if wire == nil {
			wire = []string{hostile.Nowhere.String()}
		}
		if want := strings.Join(wire, ", "); r.wire != want {
			t.Errorf("M%d on the wire: the row says %q, the cases %q", n, r.wire, want)
		}
	}
	for n := range rows {
		t.Errorf("there is a row for M%d, and no such class", n)
	}
}

// triedFor collects the results of a class on a side, and whether any case of
// it gets to the router on a wire.
func triedFor(cases []hostile.Case, class int, side hostile.Side) (results []string, reaches bool) {
	for _, c := range cases {
		if c.Class != class || c.Want[side].Outcome == hostile.Nowhere {
			continue
		}
		if s := c.Want[side].String(); !slices.Contains(results, s) {
			results = append(results, s)
		}
		if c.Header == (segment.Header{}) && c.Passage(side) == hostile.Reaches {
			reaches = true
		}
	}
	if results == nil {
		results = []string{hostile.Nowhere.String()}
	}
	slices.Sort(results)
	return results, reaches
}
