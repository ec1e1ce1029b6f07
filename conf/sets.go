package conf

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"

	"turnout/classifier"
)

// sets are the [[set]] tables: prefixes under a name, which rules use as
// "@name". They are read before the rules, wherever they stand.
type sets struct {
	list  []classifier.Set
	ids   map[string]int // index in list by name
	kinds []family       // beside list; both for an empty set, which speaks of neither
}

// maxSet bounds the prefixes of one set. A list of every network of the
// internet has about a million.
const maxSet = 4 << 20

// set reads a [[set]].
func (l *loader) set(t *table, known *sets) {
	s := classifier.Set{Pos: t.at}
	name, ok := t.one("name")
	switch {
	case !t.has("name"):
		l.failf(t.at, "the set has no name; name = \"…\" is wanted, for rules to use as \"@…\"")
	case ok:
		s.Name = name.text
		if err := checkSetName(s.Name); err != nil {
			l.failf(name.pos, "name = %s cannot name a set; %v", show(s.Name), err)
		}
	}
	s.Prefixes = l.prefixes(t, "prefixes")
	if file, ok := t.one("file"); ok {
		s.Prefixes = append(s.Prefixes, l.setFile(t, file)...)
	}
	t.unknown()
	if !t.has("prefixes") && !t.has("file") {
		l.failf(t.at, "the set has no prefixes and no file; one of them is wanted, or both")
	} else if len(s.Prefixes) == 0 {
		l.warnf(t.at, "set %s is empty; nothing is in it", show(s.Name))
	}
	if len(s.Prefixes) > maxSet {
		l.failf(t.at, "set %s has %d prefixes; up to %d are allowed", show(s.Name), len(s.Prefixes), maxSet)
	}
	known.add(l, s)
}

// checkSetName objects to what cannot stand behind an "@".
func checkSetName(text string) error {
	if strings.HasPrefix(text, "@") {
		return errSetName
	}
	err := checkName(text)
	if err == errReserved {
		return nil // a set is no exit
	}
	return err
}

func (k *sets) add(l *loader, s classifier.Set) {
	if k.ids == nil {
		k.ids = map[string]int{}
	}
	if checkSetName(s.Name) != nil {
		return
	}
	if first, taken := k.ids[s.Name]; taken {
		l.failf(s.Pos, "set %s has a name that is taken at %s; sets need names of their own", show(s.Name), k.list[first].Pos.String())
		return
	}
	k.ids[s.Name] = len(k.list)
	k.list = append(k.list, s)
	k.kinds = append(k.kinds, families(s.Prefixes))
}

// names lists the sets for a message.
func (k *sets) names() string {
	var out []string
	for i := range k.list {
		out = append(out, "@"+k.list[i].Name)
	}
	return someOf(out)
}

// families of prefixes and sets together; without any, both.
func (k *sets) families(list []netip.Prefix, in []int) (f family) {
	if len(list) > 0 || len(in) == 0 {
		f = families(list)
	}
	for _, i := range in {
		f |= k.kinds[i]
	}
	return f
}

// setFile reads the prefixes of a file: one a line, # starts a comment.
func (l *loader) setFile(t *table, file setting) []netip.Prefix {
	if wholeKey.MatchString(file.text) {
		l.failf(file.pos, "file holds a key; the name of a file of prefixes is wanted")
		return nil
	}
	path := besides(t.file, file.text)
	data, _, ok := l.open(file.pos, path)
	if !ok {
		return nil
	}
	out := make([]netip.Prefix, 0, min(bytes.Count(data, []byte("\n"))+1, maxSet))
	at := classifier.Pos{File: path}
	for text := range strings.Lines(strings.TrimPrefix(string(data), "\ufeff")) {
		at.Line++
		text, _, _ = strings.Cut(text, "#")
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		p, err := parseNetwork(text, true)
		if err != nil {
			l.failf(at, "%s; %v", show(text), err)
			continue
		}
		out = append(out, p)
	}
	return out
}

// addresses reads from, to, not_from or not_to: prefixes, addresses and sets.
func (l *loader) addresses(t *table, key string, known *sets) (out []netip.Prefix, in []int) {
	for _, s := range t.texts(key) {
		if name, isSet := strings.CutPrefix(s.text, "@"); isSet {
			id, ok := known.ids[name]
			if !ok {
				l.failf(s.pos, "%s: %s is no set; there are %s", key, show(s.text), known.names())
				continue
			}
			in = append(in, id)
			continue
		}
		p, err := parseNetwork(s.text, true)
		if _, isSet := known.ids[s.text]; isSet && err != nil {
			err = fmt.Errorf("it is a set; write \"@%s\"", s.text)
		}
		if err != nil {
			l.failf(s.pos, "%s: %s; %v", key, show(s.text), err)
			continue
		}
		out = append(out, p)
	}
	return out, in
}
