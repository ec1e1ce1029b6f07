package conf

import (
	"errors"
	"net/netip"
	"strings"

	"turnout/classifier"
)

// A rawForward is a [[forward]] whose tunnel has still to be looked up.
type rawForward struct {
	Forward
	tunnel, port, to setting
	broken           bool // it has errors of its own; no more can be said about it
}

// forwards reads all [[forward]]s.
func (l *loader) forwards(t *table) (out []rawForward) {
	list := t.tables("forward")
	if len(list) > maxForwards {
		l.failf(t.pos("forward"), "%d forwards; up to %d are allowed", len(list), maxForwards)
		return nil
	}
	for _, sub := range list {
		out = append(out, l.forward(sub))
	}
	return out
}

// forward reads a [[forward]], but for its tunnel, which has still to be looked up.
func (l *loader) forward(t *table) (f rawForward) {
	before := l.failures()
	f.Pos, f.Text = t.at, tableText(t)
	if s, ok := t.one("name"); ok {
		if err := checkLabel(s.text); err != nil {
			l.failf(s.pos, "name = %s; %v", show(s.text), err)
		}
		f.Name = s.text
	}
	if s, ok := t.one("tunnel"); ok {
		f.tunnel = s
	}
	f.FromLAN = l.listen(t)
	f.Protos = l.forwardProtos(t)
	f.Ports, f.port = l.forwardPorts(t)
	if s, ok := t.one("to"); ok {
		f.to = s
		l.target(&f)
	}
	t.unknown()
	for _, key := range []struct{ name, what string }{
		{"tunnel", "the name of a tunnel"}, {"port", "a port or a range to listen to"}, {"to", "an address that it leads to, alone or with a port,"},
	} {
		if !t.has(key.name) {
			l.failf(t.at, "the forward has no %s; %s is wanted", key.name, key.what)
		}
	}
	f.broken = l.failures() > before
	return f
}

// listen reads who connects: LAN hosts, or far hosts.
func (l *loader) listen(t *table) (lan bool) {
	s, ok := t.one("listen")
	if ok && s.text != "lan" && s.text != "tunnel" {
		l.failf(s.pos, "listen = %s; \"tunnel\" and \"lan\" are allowed", show(s.text))
	}
	return s.text == "lan"
}

// forwardProtos reads proto: what has ports, and by default all that has.
func (l *loader) forwardProtos(t *table) []uint8 {
	if !t.has("proto") {
		return []uint8{protoTCP, protoUDP}
	}
	l.emptyLists(t, "proto")
	return l.protos(t, parsePortProto)
}

// forwardPorts reads port: one, or one range.
func (l *loader) forwardPorts(t *table) (ports classifier.PortRange, s setting) {
	list := t.settings("port")
	if _, isList := t.vals["port"].([]any); isList || len(list) > 0 && strings.Contains(list[0].text, ",") {
		l.failf(t.pos("port"), "port is a list; one port or one range such as \"8000-8010\" is wanted, and a [[forward]] for each")
		return ports, s
	}
	for _, s = range list {
		ranges, err := parsePorts(s.text)
		if err != nil {
			l.failf(s.pos, "port = %s; a port from 1 to 65535 or a range such as \"8000-8010\" is wanted", show(s.text))
			continue
		}
		ports = ranges[0]
	}
	return ports, s
}

var (
	errTarget = errors.New("an IPv4 address is wanted, alone or with the first port: \"192.168.77.20:443\"")
	errIPv6   = errors.New("IPv6 is not routed yet; an IPv4 address is wanted")
	errNoHost = errors.New("no host has this address")
)

// parseTarget reads an address with a port or without one, which gives 0.
func parseTarget(text string) (addr netip.Addr, port uint16, err error) {
	if addr, err = netip.ParseAddr(strings.Trim(text, "[]")); err != nil {
		both, err := netip.ParseAddrPort(text)
		if err != nil || both.Port() == 0 {
			return addr, 0, errTarget
		}
		addr, port = both.Addr(), both.Port()
	}
	switch {
	case !addr.Is4():
		return addr, 0, errIPv6
	case addr.IsUnspecified() || addr.IsMulticast() || addr.IsLoopback() || addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return addr, 0, errNoHost
	}
	return addr, port, nil
}

// target reads to; the ports that are listened to map to those there one to one.
func (l *loader) target(f *rawForward) {
	addr, port, err := parseTarget(f.to.text)
	if err != nil {
		l.failf(f.to.pos, "to = %s; %v", show(f.to.text), err)
		return
	}
	f.To, f.ToPort = addr, port
	if port == 0 {
		f.ToPort = f.Ports.Lo
	}
	if more := int(f.Ports.Hi) - int(f.Ports.Lo); int(f.ToPort)+more > 65535 {
		l.failf(f.to.pos, "to = %s; port = %s is %d ports, which from %d on would run past 65535; a first port up to %d is allowed",
			show(f.to.text), show(f.port.text), more+1, port, 65535-more)
	}
}
