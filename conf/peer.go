package conf

import (
	"errors"
	"net/netip"
	"strings"
	"time"

	"turnout/classifier"
)

// peer reads the keys of [Peer], and collects what they mean for the policy.
func (l *loader) peer(p *policyTunnel, s section) Peer {
	peer := Peer{Name: s.name.text, Pos: s.pos}
	err := checkLabel(peer.Name)
	if err != nil {
		l.failf(s.name.pos, "%s = %s; %v", s.name.key, show(peer.Name), err)
	}
	if key := s.one("PublicKey"); !key.given() {
		l.failf(s.pos, "the peer has no public key; %v", errKey)
	} else if peer.PublicKey, err = ParsePublicKey(key.text); err != nil {
		l.failf(key.pos, "%s is no key; %v", key.key, err)
	}
	peer.PresharedKey = l.presharedKey(s)
	for _, a := range s.values["AllowedIPs"] {
		prefix, err := parseAllowed(a.text)
		if err != nil {
			l.failf(a.pos, "%s = %s; %v", a.key, show(a.text), err)
			continue
		}
		peer.AllowedIPs = append(peer.AllowedIPs, prefix)
		p.allowed = append(p.allowed, policyLine{route{to: prefix}, a})
	}
	if e := s.one("Endpoint"); e.given() {
		if peer.Endpoint, err = parseEndpoint(e.text); err != nil {
			l.failf(e.pos, "%s = %s; %v", e.key, show(e.text), err)
		}
	}
	if k := s.one("PersistentKeepalive"); k.text != "off" {
		peer.Keepalive = time.Duration(l.count(k, 0, 65535)) * time.Second
	}
	for _, r := range s.values["Route"] {
		route, err := parseRoute(r.text)
		if err != nil {
			l.failf(r.pos, "%s = %s; %v", r.key, show(r.text), err)
			continue
		}
		p.routes = append(p.routes, policyLine{route, r})
	}
	return peer
}

// parseAllowed reads one of AllowedIPs, as wg does.
func parseAllowed(text string) (netip.Prefix, error) {
	if strings.HasPrefix(text, "-") {
		return netip.Prefix{}, errors.New("nothing can be taken away here; list what is allowed")
	}
	return parseNetwork(strings.TrimPrefix(text, "+"), false)
}

func (l *loader) presharedKey(s section) PrivateKey {
	inline, file := s.one("PresharedKey"), s.one(presharedKeyFile)
	switch {
	case inline.given() && file.given():
		l.failf(file.pos, "the peer has two preshared keys; one of preshared_key and preshared_key_file is allowed")
	case inline.given():
		return l.key(inline)
	case file.given():
		return l.keyFile(file)
	}
	return PrivateKey{}
}

// samePeers refuses what one device cannot hold: a peer twice, or a prefix at
// two peers, which WireGuard would give to the last one in silence.
func (l *loader) samePeers(t *Tunnel, sections []section) {
	keys := map[PublicKey]classifier.Pos{}
	owner := map[netip.Prefix]int{}
	for i := range t.Peers {
		p := &t.Peers[i]
		if first, ok := keys[p.PublicKey]; ok && !p.PublicKey.IsZero() {
			l.failf(p.Pos, "this peer is listed twice; its public key is also at %s", first)
		} else {
			keys[p.PublicKey] = p.Pos
		}
		for j, prefix := range p.AllowedIPs {
			if first, ok := owner[prefix]; ok && first != i {
				at := p.Pos
				if list := sections[i].values["AllowedIPs"]; j < len(list) && len(list) == len(p.AllowedIPs) {
					at = list[j].pos
				}
				l.failf(at, "%s is allowed to two peers of one tunnel, also at %s; a tunnel gives a prefix to one peer", prefix, t.Peers[first].Pos)
				continue
			}
			owner[prefix] = i
		}
	}
}
