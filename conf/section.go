package conf

import (
	"strings"

	"turnout/classifier"
	"turnout/conf/wgquick"
)

// A setting is one value as somebody wrote it, from whichever kind of file.
type setting struct {
	key    string // as the file spells it, for messages
	text   string // the value
	line   string // the line as written, for Entry.Text; never holds a key
	pos    classifier.Pos
	quoted bool // it is text in quotes, where that makes a difference
}

// given reports whether the setting was there at all.
func (s setting) given() bool { return s.pos.File != "" }

// A section is [Interface] or [Peer], or the same keys inline: the one form
// that the checks know. Its keys are wg-quick's.
type section struct {
	pos    classifier.Pos
	name   setting
	values map[string][]setting
}

// one returns the value of a key that stands once.
func (s *section) one(key string) setting {
	if v := s.values[key]; len(v) > 0 {
		return v[0]
	}
	return setting{}
}

// Keys that only turnout.toml has, beside those of wg-quick.
const (
	privateKeyFile    = "PrivateKeyFile"
	privateKeyCommand = "PrivateKeyCommand"
	presharedKeyFile  = "PresharedKeyFile"
)

// A rawTunnel is a tunnel before its values are checked.
type rawTunnel struct {
	name         setting
	pos          classifier.Pos
	iface        section
	peers        []section
	routeAllowed bool // its AllowedIPs take part in the policy
	extras
}

// extras are the keys of a [[tunnel]] that no wg-quick file has. The tunnels
// that one file becomes have them all.
type extras struct {
	nat      NATMode
	accept   []*rawAccept // shared by the tunnels of one file
	fullCone bool
	via      setting // names the tunnel that carries this one; not given: the uplink
}

// quickSection puts a section of a wg-quick file into the common form. Lists
// come apart, each value with its line.
func quickSection(file string, s *wgquick.Section) section {
	out := section{pos: classifier.Pos{File: file, Line: s.Line}, values: map[string][]setting{}}
	if n := s.Name; n.Number != 0 {
		out.name = setting{key: "# Name", text: n.Value, line: n.Text, pos: classifier.Pos{File: file, Line: n.Number}}
	}
	for _, l := range s.Lines {
		items := []string{l.Value}
		switch {
		case l.Key.Name == "Route":
			items = splitRoutes(l.Value)
		case l.Key.List:
			items = strings.Split(l.Value, ",")
		}
		for _, item := range items {
			item = strings.TrimSpace(item)
			if item == "" && l.Key.Empty && len(items) == 1 {
				continue
			}
			pos := classifier.Pos{File: file, Line: l.Number}
			out.values[l.Key.Name] = append(out.values[l.Key.Name], setting{key: l.Key.Name, text: item, line: hideKeys(l.Text), pos: pos})
		}
	}
	return out
}

// tomlSection puts the keys of an inline tunnel or peer into the common form.
// extra are the keys that wg-quick does not have.
func tomlSection(t *table, keys []wgquick.Key, extra map[string]string) section {
	out := section{pos: t.at, values: map[string][]setting{}}
	add := func(snake, name string, many bool) {
		list := t.settings(snake)
		if name == "Route" {
			list = inlineRoutes(list)
		}
		if len(list) > 1 && !many {
			t.failf(t.pos(snake), "%s is a list; one value is wanted", snake)
			return
		}
		if len(list) > 0 {
			out.values[name] = list
		}
	}
	for _, k := range keys {
		add(k.Snake, k.Name, k.Repeats)
	}
	for snake, name := range extra {
		add(snake, name, name == privateKeyCommand)
	}
	return out
}

// inlineRoutes takes apart list items that hold several routes.
func inlineRoutes(list []setting) (out []setting) {
	for _, s := range list {
		for _, item := range splitRoutes(s.text) {
			s.text = strings.TrimSpace(item)
			out = append(out, s)
		}
	}
	return out
}
