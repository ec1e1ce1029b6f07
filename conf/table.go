package conf

import (
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"

	"turnout/classifier"
)

// A table is one decoded TOML table with the places of its keys. Its methods
// report what has the wrong type, and remember which keys were asked for, so
// that unknown can report the others.
type table struct {
	*report
	file  string
	what  string // "[lan]", for messages
	at    classifier.Pos
	src   string
	vals  map[string]any
	place *node
	known []string
}

// pos is the place of a key, or the table's when it is not there.
func (t *table) pos(key string) classifier.Pos {
	if n := t.place.child(key); n != nil {
		return classifier.Pos{File: t.file, Line: n.line}
	}
	return t.at
}

// get marks key as known and returns its value; nil when it is not there.
func (t *table) get(key string) any {
	if !slices.Contains(t.known, key) {
		t.known = append(t.known, key)
	}
	return t.vals[key]
}

// has reports whether key was written.
func (t *table) has(key string) bool { return t.get(key) != nil }

// written is a key with its value as written, on one line.
func (t *table) written(key string) string {
	n := t.place.child(key)
	if n == nil {
		return key
	}
	return key + " = " + oneLine(t.src[n.start:n.end])
}

// scalar gives text, whole number or boolean as text.
func scalar(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case int64:
		return strconv.FormatInt(v, 10), true
	case bool:
		return strconv.FormatBool(v), true
	}
	return "", false
}

// settings returns the values of key, one or a list of them. An empty list is
// no setting.
func (t *table) settings(key string) (out []setting) {
	v := t.get(key)
	if v == nil {
		return nil
	}
	list, isList := v.([]any)
	if !isList {
		list = []any{v}
	}
	n := t.place.child(key)
	whole := t.written(key)
	for i, item := range list {
		s := setting{key: key, line: whole, pos: t.pos(key)}
		if it := n.item(i); isList && it != nil {
			s.pos.Line = it.line
			if n.line != it.line { // of a list over several lines, the item's own
				s.line = oneLine(t.src[it.start:it.end])
			}
		}
		var ok bool
		if s.text, ok = scalar(item); !ok {
			t.failf(s.pos, "%s holds %s; text, a number or a list of these is wanted", key, kindOf(item))
			continue
		}
		_, s.quoted = item.(string)
		out = append(out, s)
	}
	return out
}

// one returns the only value of key, as text.
func (t *table) one(key string) (setting, bool) {
	v := t.get(key)
	if v == nil {
		return setting{}, false
	}
	text, ok := v.(string)
	if !ok {
		t.failf(t.pos(key), "%s is %s; text in quotes is wanted", key, kindOf(v))
	}
	return setting{key: key, text: text, line: t.written(key), pos: t.pos(key), quoted: true}, ok
}

// texts returns a list of texts; anything else in it is an error.
func (t *table) texts(key string) []setting {
	return slices.DeleteFunc(t.settings(key), func(s setting) bool {
		if !s.quoted {
			t.failf(s.pos, "%s holds %s; text in quotes is wanted", key, s.text)
		}
		return !s.quoted
	})
}

// flag returns true or false, or def when the key is not there.
func (t *table) flag(key string, def bool) bool {
	v := t.get(key)
	if v == nil {
		return def
	}
	b, ok := v.(bool)
	if !ok {
		t.failf(t.pos(key), "%s is %s; true or false is wanted", key, kindOf(v))
	}
	return b
}

// number returns a whole number from lo to hi, or def.
func (t *table) number(key string, def, lo, hi int64) int64 {
	v := t.get(key)
	if v == nil {
		return def
	}
	n, ok := v.(int64)
	if !ok {
		t.failf(t.pos(key), "%s is %s; a whole number is wanted", key, kindOf(v))
		return def
	}
	if n < lo || n > hi {
		t.failf(t.pos(key), "%s = %d; from %d to %d is allowed", key, n, lo, hi)
		return def
	}
	return n
}

// table returns the table [key]; never nil, empty when it is not there.
func (t *table) table(key string) *table {
	v := t.get(key)
	vals, ok := v.(map[string]any)
	if v != nil && !ok {
		t.failf(t.pos(key), "%s is %s; a [%s] table is wanted", key, kindOf(v), key)
	}
	return t.sub("["+key+"]", vals, t.place.child(key))
}

// each gives the tables [[key]] one after the other and forgets each of them,
// with its values, when its turn is over.
func (t *table) each(key string) iter.Seq[*table] {
	return func(yield func(*table) bool) {
		list, n := t.tableValues(key)
		for i := range list {
			sub := t.sub(tablesName(t.what, key), list[i], n.item(i))
			list[i] = nil
			if n != nil && i < len(n.kids) {
				n.kids[i] = nil
			}
			if !yield(sub) {
				return
			}
		}
	}
}

// tables returns the tables [[key]].
func (t *table) tables(key string) (out []*table) {
	list, n := t.tableValues(key)
	for i := range list {
		out = append(out, t.sub(tablesName(t.what, key), list[i], n.item(i)))
	}
	return out
}

// tablesName names the tables [[key]] of what for messages.
func tablesName(what, key string) string {
	if strings.HasPrefix(what, "[[") {
		return strings.TrimSuffix(what, "]]") + "." + key + "]]"
	}
	return "[[" + key + "]]"
}

// tableValues returns the values and the places of the tables [[key]].
func (t *table) tableValues(key string) (out []map[string]any, n *node) {
	n = t.place.child(key)
	what := tablesName(t.what, key)
	switch v := t.get(key).(type) {
	case nil:
	case []map[string]any:
		out = v
	case []any:
		for i := range v {
			vals, ok := v[i].(map[string]any)
			if !ok {
				t.failf(t.pos(key), "%s holds %s; %s tables are wanted", key, kindOf(v[i]), what)
				return nil, n
			}
			out = append(out, vals)
		}
	default:
		t.failf(t.pos(key), "%s is %s; %s tables are wanted", key, kindOf(v), what)
	}
	return out, n
}

func (t *table) sub(what string, vals map[string]any, place *node) *table {
	s := &table{report: t.report, file: t.file, what: what, at: t.at, src: t.src, vals: vals, place: place}
	if place != nil {
		s.at = classifier.Pos{File: t.file, Line: place.line}
	}
	return s
}

// unknown reports every key that nobody asked for.
func (t *table) unknown() {
	for _, key := range slices.Sorted(maps.Keys(t.vals)) {
		if slices.Contains(t.known, key) {
			continue
		}
		shown := strconv.Quote(key)
		if len(key) > 32 { // perhaps a secret that lost its way
			shown = "of " + strconv.Itoa(len(key)) + " characters"
		}
		t.failf(t.pos(key), "unknown key %s in %s; allowed are %s", shown, t.what, strings.Join(t.known, ", "))
	}
}

// kindOf names a value's type without repeating the value.
func kindOf(v any) string {
	switch v.(type) {
	case string:
		return "text"
	case int64:
		return "a whole number"
	case float64:
		return "a decimal number"
	case bool:
		return "true or false"
	case []any:
		return "a list"
	case map[string]any, []map[string]any:
		return "a table"
	}
	return "a date"
}

// maxWritten is how much of a value Entry.Text keeps, in bytes.
const maxWritten = 300

// oneLine shortens a long value, and joins one that stands on several lines
// without its comments.
func oneLine(raw string) string {
	if len(raw) <= maxWritten && !strings.Contains(raw, "\n") {
		return strings.TrimSpace(raw)
	}
	var b strings.Builder
	var quote byte
	for i := 0; i < len(raw) && b.Len() < maxWritten; i++ {
		switch c := raw[i]; {
		case quote == 0 && c == '#':
			for i+1 < len(raw) && raw[i+1] != '\n' {
				i++
			}
			continue
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case c == quote:
			quote = 0
		}
		b.WriteByte(raw[i])
	}
	text := strings.Join(strings.Fields(b.String()), " ")
	if b.Len() >= maxWritten {
		text = strings.ToValidUTF8(text, "") + "…"
	}
	return text
}
