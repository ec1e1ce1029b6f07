package conf

import (
	"errors"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

// Endpoint is a peer's address: a literal or a name, resolved later.
type Endpoint struct {
	Host string
	Port uint16
}

// IsZero reports whether there is no endpoint.
func (e Endpoint) IsZero() bool { return e == Endpoint{} }

// String returns "host:port", an IPv6 literal in brackets.
func (e Endpoint) String() string {
	if e.IsZero() {
		return ""
	}
	return net.JoinHostPort(e.Host, strconv.Itoa(int(e.Port)))
}

var errEndpoint = errors.New("host:port is wanted, the port from 1 to 65535, an IPv6 address in [brackets]")

// hostName is loose on purpose: the resolver has the last word.
var hostName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_.])?$`)

func parseEndpoint(text string) (Endpoint, error) {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return Endpoint{}, errEndpoint
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return Endpoint{}, errEndpoint
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		if addr.IsUnspecified() || addr.IsMulticast() {
			return Endpoint{}, errors.New("nobody answers at this address; the peer's own is wanted")
		}
		return Endpoint{host, uint16(n)}, nil
	}
	if !hostName.MatchString(host) || strings.HasPrefix(text, "[") {
		return Endpoint{}, errEndpoint
	}
	return Endpoint{host, uint16(n)}, nil
}
