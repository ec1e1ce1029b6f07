package conf

import (
	"net/netip"
	"slices"

	"turnout/classifier"
)

// called names a forward in a message.
func (f *Forward) called() string {
	if f.Name != "" {
		return "forward " + show(f.Name)
	}
	return "this forward"
}

// placeForwards looks up the tunnels of forwards, and checks where they lead.
func (l *loader) placeForwards(x *exits, d *draft) {
	for i := range d.forwards {
		f := &d.forwards[i]
		if !f.tunnel.given() {
			continue
		}
		n, ok := l.tunnelNamed(x, f.tunnel)
		if !ok || f.broken {
			continue
		}
		f.Tunnel = n
		if t := &d.cfg.Tunnels[n]; !f.FromLAN && !d.tunnels[n].broken && !t.hasIPv4() {
			l.failf(f.tunnel.pos, "tunnel = %s has no IPv4 Address for far hosts to connect to; it needs one, or accept lets them reach the LAN's own addresses", show(t.Name))
		}
		l.targetPlace(f, &d.cfg.LAN)
		l.sameListener(d.cfg, f)
		d.cfg.Forwards = append(d.cfg.Forwards, f.Forward)
	}
}

// targetPlace checks that to is on the other side of whoever connects.
func (l *loader) targetPlace(f *rawForward, lan *LAN) {
	own, isLAN := holder(lan.Prefixes, f.To)
	local, isLocal := holder(lan.Local, f.To)
	switch {
	case f.FromLAN && isLAN:
		l.failf(f.to.pos, "to = %s is in the LAN's own %s; listen = \"lan\" leads LAN hosts through the tunnel to a far address", show(f.to.text), own)
	case isLAN && isEdge(own, f.To):
		l.failf(f.to.pos, "to = %s is the network's or the broadcast address of %s; a host's address is wanted", show(f.to.text), own)
	case isLAN:
	case isLocal:
		l.failf(f.to.pos, "to = %s is in %s of [lan] local, where the kernel's own routes lead, past all tunnels; %s", show(f.to.text), local, wanted(f, lan))
	case !f.FromLAN && len(lan.Prefixes) > 0:
		l.failf(f.to.pos, "to = %s is no host of the LAN; %s", show(f.to.text), wanted(f, lan))
	}
}

// isEdge reports whether a is the first or the last address of p, which no host
// has (RFC 3021 makes an exception for two).
func isEdge(p netip.Prefix, a netip.Addr) bool {
	r := rangeOf(p)
	return p.Bits() < 31 && (a == r.first || a == r.last)
}

// wanted says where a forward may lead.
func wanted(f *rawForward, lan *LAN) string {
	switch {
	case f.FromLAN:
		return "an address behind the tunnel is wanted"
	case len(lan.Prefixes) == 0:
		return "an address of the LAN's own networks is wanted"
	}
	return "an address of " + prefixList(lan.Prefixes) + " is wanted"
}

// holder finds the prefix of a list that holds an address.
func holder(list []netip.Prefix, a netip.Addr) (netip.Prefix, bool) {
	i := slices.IndexFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
	if i < 0 {
		return netip.Prefix{}, false
	}
	return list[i], true
}

// sameListener objects when an earlier forward has the same ports already. The
// gateway's LAN address is one listener, whatever the tunnel.
func (l *loader) sameListener(c *Config, f *rawForward) {
	for i := range c.Forwards {
		o := &c.Forwards[i]
		if o.FromLAN != f.FromLAN || !f.FromLAN && o.Tunnel != f.Tunnel || o.Ports.Lo > f.Ports.Hi || f.Ports.Lo > o.Ports.Hi {
			continue
		}
		where := "tunnel " + c.Tunnels[f.Tunnel].Name
		if f.FromLAN {
			where = "the LAN address"
		}
		for _, p := range f.Protos {
			if slices.Contains(o.Protos, p) {
				l.failf(f.port.pos, "port = %s of %s on %s is taken by the forward at %s; a port leads to one place", show(f.port.text), protoName(p), where, o.Pos)
				return
			}
		}
	}
}

// forwards widens tunnels to what LAN hosts are led to.
func (w *widening) forwards() {
	for i := range w.cfg.Forwards {
		f := &w.cfg.Forwards[i]
		to := netip.PrefixFrom(f.To, f.To.BitLen())
		if id := tunnelExit(f.Tunnel); f.FromLAN && !w.of(id).holds(to) {
			w.send(id, &classifier.Entry{Pos: f.Pos, To: []netip.Prefix{to}}, f.called)
		}
	}
}

// takenServices warns when a forward hides what the LAN often wants of the
// gateway itself.
func (l *loader) takenServices(c *Config) {
	for i := range c.Forwards {
		f := &c.Forwards[i]
		for _, s := range []struct {
			proto uint8
			port  uint16
			name  string
		}{{protoTCP, 22, "SSH"}, {protoUDP, 53, "DNS"}, {protoUDP, 67, "DHCP"}} {
			if f.FromLAN && slices.Contains(f.Protos, s.proto) && f.Ports.Lo <= s.port && s.port <= f.Ports.Hi {
				l.warnf(f.Pos, "%s takes %s port %d of the gateway's LAN address; the gateway's own %s is not reached there any more", f.called(), protoName(s.proto), s.port, s.name)
			}
		}
	}
}

// protoName is the word of a forward's protocol.
func protoName(p uint8) string {
	if p == protoTCP {
		return "tcp"
	}
	return "udp"
}
