package flows

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"turnout/cmd/internal/control"
)

// Columns of a flows file, in the order that they have without a header.
var Columns = []string{"from", "to", "proto", "from_port", "port", "dscp"}

// maxErrors is how many bad lines are told about at once.
const maxErrors = 20

// ReadCSV reads one flow a line. A first line that holds "to" names the
// columns, in any order; without one they stand as in Columns, and those at the
// end may be missing. Only to must have a value: proto is TCP where there is a
// port and ICMP elsewhere, as for the flags of explain. "#" starts a comment.
// The error tells of every bad line, each as "name:line: what".
func ReadCSV(name string, in io.Reader) ([]control.Query, error) {
	r := csv.NewReader(in)
	r.Comment, r.FieldsPerRecord, r.TrimLeadingSpace, r.ReuseRecord = '#', -1, true, true
	var (
		out     []control.Query
		bad     []error
		columns = Columns
	)
	for first := true; len(bad) < maxErrors; first = false {
		record, err := r.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		line, _ := r.FieldPos(0)
		if first && slices.ContainsFunc(record, isTo) {
			if columns, err = header(record); err != nil {
				return nil, fmt.Errorf("%s:%d: %w", name, line, err)
			}
			continue
		}
		q, err := parse(columns, record)
		if err != nil {
			bad = append(bad, fmt.Errorf("%s:%d: %w", name, line, err))
			continue
		}
		out = append(out, q)
	}
	return out, errors.Join(bad...)
}

func isTo(word string) bool { return strings.EqualFold(clean(word), "to") }

// clean drops what surrounds a value: space, and the byte order mark of a file
// that came out of a spreadsheet.
func clean(word string) string { return strings.TrimSpace(strings.TrimPrefix(word, "\ufeff")) }

func header(record []string) ([]string, error) {
	var columns []string
	for _, word := range record {
		word = strings.ToLower(clean(word))
		if !slices.Contains(Columns, word) || slices.Contains(columns, word) {
			return nil, fmt.Errorf("column %q; %s are known, each once", word, strings.Join(Columns, ", "))
		}
		columns = append(columns, word)
	}
	return columns, nil
}

func parse(columns, record []string) (q control.Query, err error) {
	if len(record) > len(columns) {
		return q, fmt.Errorf("%d columns; at most %d are wanted: %s", len(record), len(columns), strings.Join(columns, ","))
	}
	proto := ""
	for i, word := range record {
		if word = clean(word); word == "" {
			continue
		}
		switch columns[i] {
		case "from":
			q.From, err = netip.ParseAddr(word)
		case "to":
			q.To, err = netip.ParseAddr(word)
		case "proto":
			proto = word
		case "from_port":
			q.FromPort, err = number[uint16](word, 65535)
		case "port":
			q.Port, err = number[uint16](word, 65535)
		case "dscp":
			q.DSCP, err = number[uint8](word, 63)
		}
		if err != nil {
			return q, fmt.Errorf("%s = %q; %w", columns[i], word, plain(err))
		}
	}
	if err := q.Complete(proto); err != nil {
		return q, errors.New(strings.ReplaceAll(err.Error(), "--", "")) // flags and columns have the same names
	}
	return q, nil
}

func number[T uint8 | uint16](word string, most uint64) (T, error) {
	n, err := strconv.ParseUint(word, 10, 16)
	if err != nil || n > most {
		return 0, fmt.Errorf("a number from 0 to %d is wanted", most)
	}
	return T(n), nil
}

// plain puts the errors of netip in our words.
func plain(err error) error {
	if strings.HasPrefix(err.Error(), "ParseAddr") {
		return errors.New("an address is wanted")
	}
	return err
}
