package conf

import "strings"

// The TOML library knows no positions of what it decoded and gets those under
// [[array]] tables wrong. So the text is scanned a second time, for places
// only: each key and each list item becomes a node with its line and the bytes
// of its value. The scanner takes valid TOML for granted, since the decoder
// judges it, but survives anything.

// A node is a key's value, a table or a list item.
type node struct {
	key        string
	line       int // from 1
	start, end int // the value's bytes in the text; 0, 0 for a table made by a header
	list       bool
	kids       []*node          // of a table: by key, in written order; of a list: its items
	byKey      map[string]*node // only once there are many kids
}

// manyKids is where a map beats looking through the list.
const manyKids = 16

// child returns the value of key; nil when there is none.
func (n *node) child(key string) *node {
	if n == nil || n.list {
		return nil
	}
	if n.byKey != nil {
		return n.byKey[key]
	}
	for _, k := range n.kids {
		if k.key == key {
			return k
		}
	}
	return nil
}

// item returns the i-th item of a list; nil when there is none.
func (n *node) item(i int) *node {
	if n == nil || !n.list || i >= len(n.kids) {
		return nil
	}
	return n.kids[i]
}

func (n *node) add(kid *node) *node {
	n.kids = append(n.kids, kid)
	if n.list || len(n.kids) <= manyKids {
		return kid
	}
	if n.byKey == nil {
		n.byKey = make(map[string]*node, 2*len(n.kids))
		for _, k := range n.kids {
			n.byKey[k.key] = k
		}
	}
	n.byKey[kid.key] = kid
	return kid
}

// maxDepth bounds nesting and dotted keys: the decoder recurses over both.
const maxDepth = 16

// newIndex scans text. deep is the line where something is nested deeper than
// maxDepth, else 0; such text must not reach the decoder.
func newIndex(text string) (root *node, deep int) {
	s := &scanner{text: text, line: 1}
	root = &node{}
	for table := root; ; {
		s.blank()
		if s.eof() {
			return root, s.deep
		}
		if s.peek() == '[' {
			table = s.header(root)
		} else {
			s.pair(table, 0)
		}
		s.restOfLine()
	}
}

type scanner struct {
	text string
	at   int
	line int
	deep int
}

func (s *scanner) eof() bool { return s.at >= len(s.text) || s.deep != 0 }

// peek returns the next byte, 0 at the end.
func (s *scanner) peek() byte {
	if s.at >= len(s.text) {
		return 0
	}
	return s.text[s.at]
}

// next consumes one byte and counts lines.
func (s *scanner) next() byte {
	c := s.peek()
	if s.at < len(s.text) {
		s.at++
		if c == '\n' {
			s.line++
		}
	}
	return c
}

// blank skips space, line ends and comments.
func (s *scanner) blank() {
	for s.at < len(s.text) {
		switch s.peek() {
		case ' ', '\t', '\r', '\n':
			s.next()
		case '#':
			s.restOfLine()
		default:
			return
		}
	}
}

// space skips what separates words of one line.
func (s *scanner) space() {
	for s.peek() == ' ' || s.peek() == '\t' {
		s.at++
	}
}

func (s *scanner) restOfLine() {
	if i := strings.IndexByte(s.text[s.at:], '\n'); i >= 0 {
		s.at += i
		s.next()
		return
	}
	s.at = len(s.text)
}

// header reads [a.b] or [[a.b]] and returns the table that it opens.
func (s *scanner) header(root *node) *node {
	line := s.line
	s.next()
	array := s.peek() == '['
	if array {
		s.next()
	}
	path := s.keyPath()
	table := root
	for i, key := range path {
		kid := table.child(key)
		if kid == nil {
			kid = table.add(&node{key: key, line: line, list: array && i == len(path)-1})
		}
		if kid.list && array && i == len(path)-1 {
			return kid.add(&node{line: line})
		}
		if kid.list && len(kid.kids) > 0 {
			kid = kid.kids[len(kid.kids)-1]
		}
		table = kid
	}
	return table
}

// keyPath reads a key, dotted or not.
func (s *scanner) keyPath() (path []string) {
	for {
		s.space()
		start := s.at
		switch c := s.peek(); c {
		case '"', '\'':
			s.quoted()
			path = append(path, strings.Trim(s.text[start:s.at], string(c)))
		default:
			for c := s.peek(); s.at < len(s.text) && !strings.ContainsRune(" \t\r\n.=]#", rune(c)); c = s.peek() {
				s.at++
			}
			path = append(path, s.text[start:s.at])
		}
		s.space()
		if s.peek() != '.' {
			return path
		}
		s.at++
		if len(path) > maxDepth {
			s.deep = s.line
			return path
		}
	}
}

// pair reads key = value into table.
func (s *scanner) pair(table *node, depth int) {
	line := s.line
	path := s.keyPath()
	if s.peek() != '=' {
		return
	}
	s.at++
	for _, key := range path[:len(path)-1] {
		kid := table.child(key)
		if kid == nil {
			kid = table.add(&node{key: key, line: line})
		}
		table = kid
	}
	kid := table.add(&node{key: path[len(path)-1], line: line})
	s.space()
	s.value(kid, depth+len(path))
}

// value reads one value into n.
func (s *scanner) value(n *node, depth int) {
	if depth > maxDepth {
		s.deep = s.line
		return
	}
	n.start = s.at
	switch s.peek() {
	case '"', '\'':
		s.quoted()
	case '[':
		s.array(n, depth)
	case '{':
		s.inline(n, depth)
	default:
		for s.at < len(s.text) && !strings.ContainsRune(",]}\r\n#", rune(s.peek())) {
			s.at++
		}
	}
	n.end = max(n.start, s.at)
}

// array reads [a, b]; every round consumes something.
func (s *scanner) array(n *node, depth int) {
	n.list = true
	s.next()
	for {
		s.blank()
		switch {
		case s.eof():
			return
		case s.peek() == ']':
			s.next()
			return
		case s.peek() == ',' || s.peek() == '}':
			s.next()
			continue
		}
		s.value(n.add(&node{line: s.line}), depth+1)
	}
}

// inline reads {a = 1, b = 2}; every round consumes something.
func (s *scanner) inline(n *node, depth int) {
	s.next()
	for {
		s.blank()
		switch {
		case s.eof():
			return
		case s.peek() == '}':
			s.next()
			return
		case s.peek() == ',':
			s.next()
			continue
		}
		before := s.at
		s.pair(n, depth+1)
		if s.at == before {
			s.next()
		}
	}
}

// quoted skips a string of any of the four kinds.
func (s *scanner) quoted() {
	quote := s.peek()
	if triple := strings.Repeat(string(quote), 3); strings.HasPrefix(s.text[s.at:], triple) {
		s.at += 3
		for s.at < len(s.text) && !strings.HasPrefix(s.text[s.at:], triple) {
			if s.next() == '\\' && quote == '"' {
				s.next()
			}
		}
		s.at = min(s.at+3, len(s.text))
		for s.peek() == quote { // """" ends with a quote of its own
			s.at++
		}
		return
	}
	s.at++
	for s.at < len(s.text) && s.peek() != quote && s.peek() != '\n' {
		if s.next() == '\\' && quote == '"' {
			s.next()
		}
	}
	if s.peek() == quote {
		s.at++
	}
}
