package conf

import (
	"slices"
	"strings"

	"turnout/classifier"
)

// A rawGroup is a [[group]] whose members have still to be looked up.
type rawGroup struct {
	Group
	name    setting
	members []setting
}

var modes = []string{"failover", "balance", "fastest"}

// group reads a [[group]].
func (l *loader) group(t *table) rawGroup {
	g := rawGroup{Group: Group{Pos: t.at, Mode: modes[0]}}
	var ok bool
	if g.name, ok = t.one("name"); ok {
		g.Name = g.name.text
		if err := checkName(g.Name); err != nil {
			l.failf(g.name.pos, "name = %s cannot name a group; %v", show(g.Name), err)
		}
	} else if !t.has("name") {
		l.failf(t.at, "the group has no name; name = \"…\" is wanted")
	}
	if s, ok := t.one("mode"); ok {
		if g.Mode = s.text; !slices.Contains(modes, s.text) {
			l.failf(s.pos, "mode = %s; failover, balance and fastest are allowed", show(s.text))
		}
	}
	g.members = t.texts("members")
	t.unknown()
	if list, isList := t.vals["members"].([]any); !t.has("members") || isList && len(list) == 0 {
		l.failf(t.pos("members"), "the group has no members; members = [\"TUNNEL\", …] is wanted")
	}
	for i, m := range g.members {
		if slices.ContainsFunc(g.members[:i], func(o setting) bool { return o.text == m.text }) {
			l.failf(m.pos, "members: %s is listed twice; once is enough", show(m.text))
		}
		g.Members = append(g.Members, m.text)
	}
	return g
}

// exits names every exit, and refuses two of one name.
type exits struct {
	list  []classifier.Exit
	ids   map[string]classifier.ExitID
	where map[string]classifier.Pos
}

func (l *loader) exits(d *draft) *exits {
	x := &exits{ids: map[string]classifier.ExitID{}, where: map[string]classifier.Pos{}}
	for i, kind := range []classifier.Kind{classifier.KindDirect, classifier.KindDrop, classifier.KindReject} {
		x.add(reserved[i], kind, classifier.Pos{})
	}
	if len(d.groups) > maxGroups {
		l.failf(classifier.Pos{File: l.main}, "%d groups; up to %d are allowed", len(d.groups), maxGroups)
		d.groups = d.groups[:maxGroups]
	}
	for i, t := range d.cfg.Tunnels {
		pos := namedAt(d.raw[i].name, t.Pos)
		l.unique(x, "tunnel", t.Name, pos)
		x.add(t.Name, classifier.KindTunnel, pos)
	}
	for _, g := range d.groups {
		pos := namedAt(g.name, g.Pos)
		l.unique(x, "group", g.Name, pos)
		x.add(g.Name, classifier.KindGroup, pos)
	}
	for i := range d.groups {
		l.members(x, &d.groups[i])
		d.cfg.Groups = append(d.cfg.Groups, d.groups[i].Group)
	}
	return x
}

// namedAt is the line that gives the name; owner's when a file's name does.
func namedAt(name setting, owner classifier.Pos) classifier.Pos {
	if name.pos.Line == 0 {
		return owner
	}
	return name.pos
}

func (x *exits) add(name string, kind classifier.Kind, pos classifier.Pos) {
	if _, taken := x.ids[name]; !taken && name != "" {
		x.ids[name] = classifier.ExitID(len(x.list))
		x.where[name] = pos
	}
	x.list = append(x.list, classifier.Exit{Name: name, Kind: kind})
}

func (l *loader) unique(x *exits, what, name string, pos classifier.Pos) {
	if first, taken := x.where[name]; taken && first.File != "" {
		l.failf(pos, "%s %s has a name that is taken at %s; tunnels and groups need names of their own", what, show(name), first)
	}
}

// members looks up a group's members.
func (l *loader) members(x *exits, g *rawGroup) {
	self := &x.list[x.ids[g.Name]]
	for _, m := range g.members {
		id, ok := x.ids[m.text]
		if !ok || id < classifier.FirstNamed {
			l.failf(m.pos, "members: %s is no tunnel and no group; there are %s", show(m.text), x.names(classifier.FirstNamed))
			continue
		}
		if self.Kind == classifier.KindGroup {
			self.Members = append(self.Members, id)
		}
	}
}

// names lists the exits from first on, for a message.
func (x *exits) names(first classifier.ExitID) string {
	var parts []string
	for _, e := range x.list[first:] {
		if e.Name != "" {
			parts = append(parts, e.Name)
		}
	}
	return someOf(parts)
}

// tunnelNamed looks up the tunnel that a setting names, and gives its index in
// Config.Tunnels.
func (l *loader) tunnelNamed(x *exits, s setting) (int, bool) {
	id, known := x.ids[s.text]
	if known && x.list[id].Kind == classifier.KindTunnel {
		return int(id - classifier.FirstNamed), true
	}
	var names []string
	for _, e := range x.list {
		if e.Kind == classifier.KindTunnel && e.Name != "" {
			names = append(names, e.Name)
		}
	}
	what := "no tunnel"
	if known && id < classifier.FirstNamed {
		what = "an exit without a tunnel"
	} else if known {
		what = "a group, not a tunnel"
	}
	l.failf(s.pos, "%s = %s is %s; there are %s", s.key, show(s.text), what, someOf(names))
	return 0, false
}

// someOf lists names for a message, the first dozen.
func someOf(names []string) string {
	const many = 12
	switch {
	case len(names) == 0:
		return "none yet"
	case len(names) > many:
		names = append(names[:many:many], "…")
	}
	return strings.Join(names, ", ")
}

// cycles refuses groups that lead back to themselves, each circle once.
func (l *loader) cycles(x *exits, groups []rawGroup) {
	const open, done = 1, 2
	state := map[classifier.ExitID]int{}
	var path []string
	var visit func(id classifier.ExitID)
	visit = func(id classifier.ExitID) {
		e := &x.list[id]
		if e.Kind != classifier.KindGroup || state[id] == done {
			return
		}
		if state[id] == open {
			circle := append(path[slices.Index(path, e.Name):], e.Name)
			l.failf(x.where[e.Name], "group %s contains itself: %s; members must not lead back", show(e.Name), strings.Join(circle, " > "))
			return
		}
		state[id] = open
		path = append(path, e.Name)
		for _, m := range e.Members {
			visit(m)
		}
		path = path[:len(path)-1]
		state[id] = done
	}
	for _, g := range groups {
		visit(x.ids[g.Name])
	}
}
