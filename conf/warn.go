package conf

import (
	"net/netip"

	"turnout/classifier"
)

// warn says what is legal but probably not meant.
func (l *loader) warn(d *draft, p *classifier.Policy) {
	l.sharedPrefixes(d)
	l.sharedServers(d.cfg)
	l.takenServices(d.cfg)
	l.acceptTargets(d.cfg)
	l.outOfReach(d.cfg)
	for i := range d.cfg.Tunnels {
		l.lonely(&d.cfg.Tunnels[i], &p.Exits[tunnelExit(i)])
	}
	if len(p.Entries) == 0 {
		l.warnf(classifier.Pos{File: l.main}, "there is no rule, route, AllowedIPs or default; every packet is rejected")
	}
}

// outOfReach warns of tunnels that far hosts are to call while their server may
// not know the way: behind a NAT, and after a while without traffic, only what
// we send keeps it open.
func (l *loader) outOfReach(c *Config) {
	called := make([]bool, len(c.Tunnels))
	for i := range c.Tunnels {
		called[i] = len(c.Tunnels[i].Accept) > 0
	}
	for _, f := range c.Forwards {
		called[f.Tunnel] = called[f.Tunnel] || !f.FromLAN
	}
	for i, t := range c.Tunnels {
		for _, p := range t.Peers {
			if called[i] && p.Endpoint != (Endpoint{}) && p.Keepalive == 0 {
				l.warnf(p.Pos, "far hosts of tunnel %s may start conversations, but this peer has no persistent_keepalive; 25 keeps the way to us open behind a NAT", t.Name)
			}
		}
	}
}

// sharedPrefixes says which tunnel takes a prefix that several allow.
func (l *loader) sharedPrefixes(d *draft) {
	owner := map[netip.Prefix]int{}
	for i, t := range d.tunnels {
		for _, a := range t.allowed {
			if !t.routed || a.to.Bits() == 0 {
				continue
			}
			if first, ok := owner[a.to]; ok && first != i {
				l.warnf(a.pos, "%s = %s is also allowed to tunnel %s, which is listed first and takes it", a.key, a.to, d.cfg.Tunnels[first].Name)
				continue
			}
			owner[a.to] = i
		}
	}
}

// sharedPorts refuses two tunnels that would listen on one port.
func (l *loader) sharedPorts(c *Config) {
	owner := map[uint16]string{}
	for _, t := range c.Tunnels {
		if first, ok := owner[t.ListenPort]; ok && t.ListenPort != 0 {
			l.failf(t.Pos, "tunnel %s listens on port %d, as tunnel %s does; a port serves one tunnel", t.Name, t.ListenPort, first)
			continue
		}
		owner[t.ListenPort] = t.Name
	}
}

// sharedServers warns when two tunnels are the same client to the same server,
// which knows only the one that spoke last.
func (l *loader) sharedServers(c *Config) {
	type pair struct {
		own    PrivateKey
		server PublicKey
	}
	owner := map[pair]string{}
	for _, t := range c.Tunnels {
		for _, p := range t.Peers {
			k := pair{t.PrivateKey, p.PublicKey}
			if first, ok := owner[k]; ok && first != t.Name && !k.own.IsZero() {
				l.warnf(p.Pos, "tunnels %s and %s have the same key and the same peer, which will answer only the one that spoke last", first, t.Name)
				continue
			}
			owner[k] = t.Name
		}
	}
}

// lonely warns about peers that can never speak and tunnels that carry nothing.
func (l *loader) lonely(t *Tunnel, e *classifier.Exit) {
	for _, p := range t.Peers {
		if p.Endpoint.IsZero() && t.ListenPort == 0 {
			l.warnf(p.Pos, "this peer of tunnel %s has no Endpoint and the tunnel no ListenPort; neither can find the other", t.Name)
		}
	}
	if e.Covers != nil && len(e.Covers) == 0 {
		l.warnf(t.Pos, "tunnel %s carries nothing: it has no AllowedIPs and nothing names it", t.Name)
	}
}
