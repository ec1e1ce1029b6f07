package conf

import (
	"errors"
	"io/fs"
	"strings"

	"github.com/BurntSushi/toml"

	"turnout/classifier"
	"turnout/conf/wgquick"
)

// toml reads a turnout.toml and the wg-quick files that it names.
func (l *loader) toml(d *draft, path string, data []byte, mode fs.FileMode) {
	t := l.decode(path, string(data))
	if t == nil {
		return
	}
	if s, ok := t.one("default"); ok {
		d.def = s
	}
	l.lan(t.table("lan"), &d.cfg.LAN)
	l.uplink(t.table("uplink"), &d.cfg.Uplink)
	l.host(t.table("host"), &d.cfg.Host)
	l.hooks(t.table("hooks"), &d.cfg.Hooks)
	l.limits(t.table("limits"), &d.cfg.Limits)
	for _, sub := range t.tables("tunnel") {
		d.add(l.tomlTunnel(sub, mode))
	}
	for _, sub := range t.tables("group") {
		d.groups = append(d.groups, l.group(sub))
	}
	for _, sub := range t.tables("set") {
		l.set(sub, &d.sets)
	}
	l.rules(t, d)
	d.forwards = l.forwards(t)
	t.unknown()
}

// decode parses the text without looking at its meaning; nil after an error.
func (l *loader) decode(path, text string) *table {
	text = strings.TrimPrefix(text, "\ufeff")
	at := classifier.Pos{File: path}
	place, deep := newIndex(text)
	if deep != 0 {
		at.Line = deep
		l.failf(at, "this is nested deeper than %d levels; a configuration needs 4", maxDepth)
		return nil
	}
	vals := map[string]any{}
	if _, err := toml.Decode(text, &vals); err != nil {
		l.syntax(at, text, err)
		return nil
	}
	return &table{report: &l.report, file: path, what: "the top level", at: at, src: text, vals: vals, place: place}
}

// syntax reports the first error of a file that is no TOML. What the library
// found there is left out where it may be part of a key.
func (l *loader) syntax(at classifier.Pos, text string, err error) {
	var parse toml.ParseError
	if !errors.As(err, &parse) {
		l.failf(at, "this is not TOML; see the reference configuration")
		return
	}
	at.Line = parse.Position.Line
	lines := strings.SplitN(text, "\n", at.Line+1)
	source := parse.LastKey
	if at.Line >= 1 && at.Line <= len(lines) {
		source += lines[at.Line-1]
	}
	what := strings.TrimSuffix(parse.Message, ".")
	if strings.Contains(strings.ToLower(source), "key") {
		what = "the value of a key is malformed, or stands in no quotes"
	}
	l.failf(at, "this is not TOML: %s; text stands in \"quotes\", lists in [brackets], and a key once", hideKeys(what))
}

// tomlTunnel reads a [[tunnel]]: a wg-quick file, or the same keys inline.
func (l *loader) tomlTunnel(t *table, mode fs.FileMode) []rawTunnel {
	name, named := t.one("name")
	if named && checkName(name.text) != nil {
		l.failf(name.pos, "name = %s cannot name a tunnel; %v", show(name.text), checkName(name.text))
		name = setting{}
	}
	file, fromFile := t.one("config")
	o := tunnelOptions{name: name, unrouted: !t.flag("route_allowed_ips", true), extras: l.extras(t)}
	iface := tomlSection(t, wgquick.Interface, map[string]string{"private_key_file": privateKeyFile, "private_key_command": privateKeyCommand})
	subs := t.tables("peer")
	t.unknown()
	if fromFile {
		return l.tomlFile(t, file, o, iface, subs)
	}
	raw := rawTunnel{name: name, pos: t.at, iface: iface, extras: o.extras}
	raw.routeAllowed = l.tableRoutes(iface) && !o.unrouted
	for _, sub := range subs {
		s := tomlPeer(sub)
		raw.peers = append(raw.peers, s)
	}
	if !t.has("name") {
		l.failf(t.at, "the tunnel has no name; name = \"…\" is wanted, or config = \"FILE.conf\"")
	}
	if len(subs) == 0 {
		l.failf(t.at, "the tunnel has no [[tunnel.peer]] and no config; one of them is wanted")
	}
	l.guardSections(t.file, mode, raw.iface, raw.peers)
	return []rawTunnel{raw}
}

// tomlPeer reads a [[tunnel.peer]].
func tomlPeer(t *table) section {
	name, _ := t.one("name")
	s := tomlSection(t, wgquick.Peer, map[string]string{"preshared_key_file": presharedKeyFile})
	s.name = name
	t.unknown()
	return s
}

// tomlFile reads the wg-quick file of a [[tunnel]]. It has to be all there is:
// a key in two places would have to win somewhere.
func (l *loader) tomlFile(t *table, file setting, o tunnelOptions, iface section, peers []*table) []rawTunnel {
	for _, list := range iface.values {
		for _, s := range list[:1] {
			l.failf(s.pos, "%s stands beside config; it belongs in %s, or config goes", s.key, show(file.text))
		}
	}
	for _, p := range peers {
		l.failf(p.at, "[[tunnel.peer]] stands beside config; it belongs in %s, or config goes", show(file.text))
	}
	path := besides(t.file, file.text)
	if wholeKey.MatchString(file.text) {
		l.failf(file.pos, "config holds a key; the name of a wg-quick file is wanted")
		return nil
	}
	data, mode, ok := l.open(file.pos, path)
	if !ok {
		return nil
	}
	return l.quickFile(path, data, mode, o)
}

// extras reads the keys of a [[tunnel]] that no wg-quick file has.
func (l *loader) extras(t *table) extras {
	e := extras{nat: l.nat(t), accept: l.accepts(t), fullCone: t.flag("full_cone", false)}
	if e.fullCone && e.nat == NoNAT {
		l.failf(t.pos("full_cone"), "full_cone = true stands beside nat = \"none\", which maps nothing; it is for nat = \"masquerade\", and accept lets far hosts in here")
	}
	if s, ok := t.one("via"); ok {
		e.via = s
	}
	return e
}

func (l *loader) nat(t *table) NATMode {
	s, ok := t.one("nat")
	switch {
	case ok && s.text == "none":
		return NoNAT
	case ok && s.text != "masquerade":
		l.failf(s.pos, "nat = %s; \"masquerade\" and \"none\" are allowed", show(s.text))
	}
	return Masquerade
}
