package wgquick

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// A File is a wg-quick file taken apart.
type File struct {
	Interface Section // Line is 0 when the file has none
	Peers     []Section
}

// A Section is [Interface] or [Peer] with what stands in it.
type Section struct {
	Line  int  // of its header, from 1
	Name  Line // its "# Name =" comment; Number is 0 when it has none
	Lines []Line
}

// A Line is one "Key = Value".
type Line struct {
	Key    Key
	Value  string // without comment and surrounding space
	Text   string // the line as written, without surrounding space
	Number int    // from 1
}

// An Error is what is wrong with one line: what was read; what is allowed.
type Error struct {
	Line int // 0: the file as a whole
	Text string
}

// Parse takes data apart and reports every error in it. The File holds what
// could be read, whether or not there are errors.
func Parse(data []byte) (*File, []Error) {
	p := parser{file: &File{}}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if !utf8.Valid(data) || bytes.IndexByte(data, 0) >= 0 {
		return p.file, []Error{{0, "this is no text; a wg-quick file is UTF-8"}}
	}
	for rest, more := string(data), true; more; {
		var line string
		line, rest, more = strings.Cut(rest, "\n")
		p.number++
		p.line(strings.TrimSpace(line))
	}
	p.settleName(p.section)
	if p.file.Interface.Line == 0 {
		p.fail(0, "no [Interface]; a wg-quick file has one")
	}
	return p.file, p.errs
}

type parser struct {
	file    *File
	number  int
	section *Section // nil before the first header, and after an unknown one
	keys    []Key    // of the section
	lost    bool     // inside an unknown section: its lines are not reported one by one
	name    Line     // a "# Name =" comment that a header may still claim
	errs    []Error
}

func (p *parser) fail(line int, format string, args ...any) {
	p.errs = append(p.errs, Error{line, fmt.Sprintf(format, args...)})
}

var nameComment = regexp.MustCompile(`^#\s*(?i:name)\s*=\s*(.*)$`)

func (p *parser) line(text string) {
	bare, _, _ := strings.Cut(text, "#")
	bare = strings.TrimSpace(bare)
	if strings.HasPrefix(bare, "[") {
		p.header(bare)
		return
	}
	p.settleName(p.section)
	switch m := nameComment.FindStringSubmatch(text); {
	case m != nil:
		p.name = Line{Value: m[1], Text: text, Number: p.number}
	case bare != "":
		p.setting(bare, text)
	}
}

// settleName gives a pending "# Name =" to s, or to the interface when no
// section has begun.
func (p *parser) settleName(s *Section) {
	n := p.name
	p.name = Line{}
	if n.Number == 0 || p.lost {
		return
	}
	if s == nil {
		s = &p.file.Interface
	}
	if s.Name.Number != 0 {
		p.fail(n.Number, "a second # Name in one section; the first is on line %d", s.Name.Number)
		return
	}
	s.Name = n
}

func (p *parser) header(text string) {
	p.lost = false
	switch {
	case strings.EqualFold(text, "[Interface]"):
		p.section, p.keys = &p.file.Interface, Interface
		if p.section.Line != 0 {
			p.fail(p.number, "a second [Interface]; the first is on line %d, and a file has one", p.section.Line)
		} else {
			p.section.Line = p.number
		}
	case strings.EqualFold(text, "[Peer]"):
		p.file.Peers = append(p.file.Peers, Section{Line: p.number})
		p.section, p.keys = &p.file.Peers[len(p.file.Peers)-1], Peer
	default:
		name, closed := strings.CutSuffix(text[1:], "]")
		if !word.MatchString(name) {
			name = "…"
		}
		if closed {
			name += "]"
		}
		p.fail(p.number, "unknown section [%s; allowed are [Interface] and [Peer]", name)
		p.section, p.lost = nil, true
	}
	p.settleName(p.section)
}

// word is what may be repeated in a message: too short for a key, and with no
// character that only base64 has.
var word = regexp.MustCompile(`^[A-Za-z_-][A-Za-z0-9_-]{0,31}$`)

func (p *parser) setting(bare, text string) {
	if p.lost {
		return
	}
	name, value, ok := strings.Cut(bare, "=")
	name, value = strings.TrimSpace(name), strings.TrimSpace(value)
	if !ok || !word.MatchString(name) {
		p.fail(p.number, "this line is no setting; allowed are Key = Value, [Section] and # comment")
		return
	}
	if p.section == nil {
		p.fail(p.number, "%s stands before any section; [Interface] or [Peer] comes first", name)
		return
	}
	key, ok := find(p.keys, name)
	if !ok {
		p.unknown(name)
		return
	}
	if value == "" && !key.Empty {
		p.fail(p.number, "%s has no value; Key = Value is wanted", key.Name)
		return
	}
	if !key.Repeats {
		for _, l := range p.section.Lines {
			if l.Key.Name == key.Name {
				p.fail(p.number, "a second %s in one section; the first is on line %d", key.Name, l.Number)
				return
			}
		}
	}
	p.section.Lines = append(p.section.Lines, Line{Key: key, Value: value, Text: text, Number: p.number})
}

func (p *parser) unknown(name string) {
	here, other, there := "[Interface]", Peer, "[Peer]"
	if p.section != &p.file.Interface {
		here, other, there = there, Interface, here
	}
	if k, ok := find(other, name); ok {
		p.fail(p.number, "%s in %s; it belongs in %s", k.Name, here, there)
		return
	}
	p.fail(p.number, "unknown key %s in %s; allowed are %s", name, here, names(p.keys))
}
