package conf

import (
	"errors"
	"net/netip"
	"strings"

	"turnout/classifier"
)

// A route is what a Route line says: CIDR[:tcp|udp|icmp|any[:ports]].
//
// The CIDR is a prefix or a bare address. IPv6 may stand in brackets, with the
// length inside or behind them, or bare: a length or the protocol's name, which
// is no hexadecimal, always shows where it ends. Bits behind the length are
// dropped, as in AllowedIPs. Several routes may share a line, with commas
// between them; an item that is only a port or a range goes on with the ports
// of the route before it.
type route struct {
	to     netip.Prefix
	protos []uint8 // empty: any
	ports  []classifier.PortRange
}

// splitRoutes takes a list of routes apart. A route never starts with a bare
// number, so "10.0.0.0/8:tcp:22,3389" stays whole.
func splitRoutes(text string) (out []string) {
	for item := range strings.SplitSeq(text, ",") {
		if len(out) > 0 && onlyPorts(item) {
			out[len(out)-1] += "," + item
			continue
		}
		out = append(out, item)
	}
	return out
}

func onlyPorts(item string) bool {
	item = strings.TrimSpace(item)
	return item != "" && strings.Trim(item, "0123456789- ") == ""
}

var errRoute = errors.New("CIDR[:tcp|udp|icmp|any[:ports]] is wanted, such as 0.0.0.0/0:tcp:22,8000-9000")

// protoNames are the words that end a bare IPv6 address.
var protoNames = []string{":tcp", ":udp", ":icmp", ":any"}

// cutCIDR cuts a route behind its CIDR, which loses its brackets; rest is empty
// or starts with a colon.
func cutCIDR(text string) (cidr, rest string, ok bool) {
	if inner, found := strings.CutPrefix(text, "["); found {
		addr, rest, found := strings.Cut(inner, "]")
		length, more, colon := strings.Cut(rest, ":")
		if colon {
			more = ":" + more
		}
		length = strings.TrimSpace(length)
		return addr + length, more, found && (length == "" || length[0] == '/')
	}
	from := max(strings.IndexByte(text, '/'), 0)
	if from == 0 {
		if _, err := netip.ParseAddr(text); err == nil {
			return text, "", true
		}
		if first := strings.IndexByte(text, ':'); first >= 0 && !strings.Contains(text[:first], ".") {
			return cutProto(text)
		}
	}
	if i := strings.IndexByte(text[from:], ':'); i >= 0 {
		return text[:from+i], text[from+i:], true
	}
	return text, "", true
}

// cutProto cuts a bare IPv6 address before the name of a protocol.
func cutProto(text string) (cidr, rest string, ok bool) {
	lower := strings.ToLower(text)
	for _, p := range protoNames {
		if i := strings.Index(lower, p); i > 0 {
			return text[:i], text[i:], true
		}
	}
	return text, "", true
}

// parseRoute reads one route.
func parseRoute(text string) (r route, err error) {
	cidr, rest, ok := cutCIDR(text)
	if !ok {
		return r, errRoute
	}
	if r.to, err = parseNetwork(strings.TrimSpace(cidr), false); err != nil {
		return r, errRoute
	}
	if rest == "" {
		return r, nil
	}
	proto, ports, hasPorts := strings.Cut(rest[1:], ":")
	if r.protos, err = parseProto(strings.TrimSpace(proto), familyOf(r.to)); err != nil {
		return r, errRoute
	}
	if !hasPorts {
		return r, nil
	}
	if strings.EqualFold(strings.TrimSpace(proto), "icmp") {
		return r, errors.New("icmp has no ports; name tcp, udp or any, or leave the ports out")
	}
	r.ports, err = parsePorts(ports)
	return r, err
}
