package conf

import (
	"fmt"
	"io/fs"
	"net/netip"
	"path/filepath"
	"strings"

	"turnout/classifier"
	"turnout/conf/wgquick"
)

// tunnelOptions are what turnout.toml says about a wg-quick file.
type tunnelOptions struct {
	name     setting
	unrouted bool // route_allowed_ips = false
	extras
}

// quickFile reads a wg-quick file into the tunnels that it stands for.
func (l *loader) quickFile(path string, data []byte, mode fs.FileMode, o tunnelOptions) []rawTunnel {
	file, errs := wgquick.Parse(data)
	for _, e := range errs {
		l.failf(classifier.Pos{File: path, Line: e.Line}, "%s", e.Text)
	}
	if file.Interface.Line == 0 {
		return nil
	}
	whole := rawTunnel{
		pos:    classifier.Pos{File: path, Line: file.Interface.Line},
		iface:  quickSection(path, &file.Interface),
		extras: o.extras,
	}
	whole.routeAllowed = l.tableRoutes(whole.iface) && !o.unrouted
	for i := range file.Peers {
		whole.peers = append(whole.peers, quickSection(path, &file.Peers[i]))
	}
	l.guardSections(path, mode, whole.iface, whole.peers)
	if own, err := ParsePrivateKey(whole.iface.one("PrivateKey").text); err == nil {
		whole.peers = l.withoutSelf(own.Public(), whole.peers)
	}
	if len(whole.peers) == 0 && len(errs) == 0 {
		l.failf(classifier.Pos{File: path}, "no [Peer]; a tunnel has at least one, other than itself")
	}
	tunnels := split(whole)
	l.nameTunnels(path, tunnels, o.name)
	return tunnels
}

// guardSections objects once when a file holds a key and others can read it.
func (l *loader) guardSections(path string, mode fs.FileMode, iface section, peers []section) {
	for _, s := range append([]section{iface}, peers...) {
		for _, key := range []string{"PrivateKey", "PresharedKey"} {
			if k := s.one(key); k.given() {
				l.guard(k.pos, k.key, path, mode)
				return
			}
		}
	}
}

// withoutSelf leaves out the peers that are the interface itself, as WireGuard
// does: files that a whole mesh shares list everybody.
func (l *loader) withoutSelf(own PublicKey, peers []section) (out []section) {
	for _, p := range peers {
		if key, err := ParsePublicKey(p.one("PublicKey").text); err == nil && key == own {
			l.warnf(p.pos, "this peer is the interface itself; it is ignored")
			continue
		}
		out = append(out, p)
	}
	return out
}

// split applies the rule: when two peers name the same prefix or any carries a
// Route, each peer becomes a tunnel of its own, because one WireGuard device
// gives a prefix to one peer only. Peers without an Endpoint, who call us, stay
// together and keep ListenPort; when there are none the first tunnel keeps it.
func split(whole rawTunnel) []rawTunnel {
	if !mustSplit(whole.peers) {
		return []rawTunnel{whole}
	}
	var out []rawTunnel
	callers := -1
	for _, p := range whole.peers {
		called := !p.one("Endpoint").given()
		if called && callers >= 0 {
			out[callers].peers = append(out[callers].peers, p)
			continue
		}
		if called {
			callers = len(out)
		}
		t := whole
		t.peers = []section{p}
		out = append(out, t)
	}
	if len(out) == 1 {
		return out
	}
	for i := range out {
		out[i].pos = out[i].peers[0].pos
		if i != max(callers, 0) {
			out[i].iface = without(whole.iface, "ListenPort")
		}
	}
	return out
}

func mustSplit(peers []section) bool {
	owner := map[netip.Prefix]int{}
	for i, p := range peers {
		if len(p.values["Route"]) > 0 {
			return true
		}
		for _, s := range p.values["AllowedIPs"] {
			prefix, err := parseAllowed(s.text)
			if err != nil {
				continue
			}
			if first, ok := owner[prefix]; ok && first != i {
				return true
			}
			owner[prefix] = i
		}
	}
	return false
}

func without(s section, key string) section {
	values := make(map[string][]setting, len(s.values))
	for k, v := range s.values {
		if k != key {
			values[k] = v
		}
	}
	s.values = values
	return s
}

// nameTunnels names the tunnels of one file: by turnout.toml, by "# Name =" of
// the interface, by the file's stem. Of several, those whose peer has a
// "# Name =" take that, the others the file's name with -1, -2 and so on.
func (l *loader) nameTunnels(path string, tunnels []rawTunnel, given setting) {
	stem := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	for i := range tunnels {
		t := &tunnels[i]
		base := given
		if !base.given() {
			base = t.iface.name
		}
		peer := setting{}
		if len(t.peers) == 1 {
			peer = t.peers[0].name
		}
		file := setting{key: "the file's name", text: stem, pos: classifier.Pos{File: path}}
		switch {
		case len(tunnels) > 1 && peer.given():
			t.name = peer
		case base.given():
			t.name = base
		case peer.given():
			t.name = peer
		default:
			t.name = file
		}
		if len(tunnels) > 1 && !peer.given() {
			t.name.text = fmt.Sprintf("%s-%d", t.name.text, i+1)
		}
	}
}

// tableRoutes reads Table: with off, or with a table of the operator's own,
// wg-quick would not route the AllowedIPs, so neither do we.
func (l *loader) tableRoutes(iface section) bool {
	s := iface.one("Table")
	switch strings.ToLower(s.text) {
	case "auto", "":
		return true
	case "off":
		return false
	}
	if !name.MatchString(s.text) {
		l.failf(s.pos, "%s = %s; auto, off or a routing table is allowed", s.key, show(s.text))
		return true
	}
	l.warnf(s.pos, "%s = %s; Turnout fills no table of yours, so the AllowedIPs decide nothing here, as with off", s.key, show(s.text))
	return false
}
