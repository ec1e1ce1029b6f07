package peers

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"turnout/conf"
)

// The text that wireguard-go is configured by: one key=value a line, keys of
// cryptography in hexadecimal
// (https://www.wireguard.com/xplatform/#configuration-protocol). It contains
// secrets, so it goes to IpcSet and nowhere else.

// setupText configures an empty device for t.
func setupText(t conf.Tunnel, mark uint32) string {
	var w strings.Builder
	fmt.Fprintf(&w, "private_key=%s\nfwmark=%d\nlisten_port=%d\n", t.PrivateKey.Hex(), mark, t.ListenPort)
	for _, p := range t.Peers {
		writePeer(&w, t, p)
	}
	return w.String()
}

func writePeer(w *strings.Builder, t conf.Tunnel, p conf.Peer) {
	fmt.Fprintf(w, "public_key=%s\n", p.PublicKey.Hex())
	if !p.PresharedKey.IsZero() {
		fmt.Fprintf(w, "preshared_key=%s\n", p.PresharedKey.Hex())
	}
	if a, ok := literal(p.Endpoint); ok {
		fmt.Fprintf(w, "endpoint=%v\n", a)
	}
	fmt.Fprintf(w, "persistent_keepalive_interval=%d\n", seconds(p.Keepalive))
	for _, a := range allowed(t, p) {
		fmt.Fprintf(w, "allowed_ip=%v\n", a)
	}
}

// changeText turns a device that runs old into one that runs t, the listening
// port excepted. New AllowedIPs come before any is taken away, so that no
// packet finds a gap between the two.
func changeText(old, t conf.Tunnel) string {
	var w strings.Builder
	if old.PrivateKey != t.PrivateKey {
		fmt.Fprintf(&w, "private_key=%s\n", t.PrivateKey.Hex())
	}
	for _, p := range t.Peers {
		if o, ok := peerOf(old, p.PublicKey); ok {
			writePeerChange(&w, allowed(old, o), allowed(t, p), o, p)
		} else {
			writePeer(&w, t, p)
		}
	}
	for _, o := range old.Peers {
		p, ok := peerOf(t, o.PublicKey)
		if !ok {
			fmt.Fprintf(&w, "public_key=%s\nremove=true\n", o.PublicKey.Hex())
			continue
		}
		gone := without(allowed(old, o), allowed(t, p))
		if len(gone) > 0 {
			fmt.Fprintf(&w, "public_key=%s\nupdate_only=true\n", o.PublicKey.Hex())
		}
		for _, a := range gone {
			fmt.Fprintf(&w, "allowed_ip=-%v\n", a)
		}
	}
	return w.String()
}

// writePeerChange writes what p has and o, the same peer before, had not.
func writePeerChange(w *strings.Builder, had, has []netip.Prefix, o, p conf.Peer) {
	var c strings.Builder
	if o.PresharedKey != p.PresharedKey {
		fmt.Fprintf(&c, "preshared_key=%s\n", p.PresharedKey.Hex())
	}
	if a, ok := literal(p.Endpoint); ok && o.Endpoint != p.Endpoint {
		fmt.Fprintf(&c, "endpoint=%v\n", a)
	}
	if o.Keepalive != p.Keepalive {
		fmt.Fprintf(&c, "persistent_keepalive_interval=%d\n", seconds(p.Keepalive))
	}
	for _, a := range without(has, had) {
		fmt.Fprintf(&c, "allowed_ip=%v\n", a)
	}
	if c.Len() > 0 {
		fmt.Fprintf(w, "public_key=%s\nupdate_only=true\n%s", p.PublicKey.Hex(), c.String())
	}
}

// allowed returns the AllowedIPs that the device gets for p: everything of a
// family that policy widened, which only a tunnel's single peer can be.
func allowed(t conf.Tunnel, p conf.Peer) []netip.Prefix {
	if len(t.Peers) != 1 || !t.Widened4 && !t.Widened6 {
		return p.AllowedIPs
	}
	var list []netip.Prefix
	if t.Widened4 {
		list = append(list, netip.PrefixFrom(netip.IPv4Unspecified(), 0))
	}
	if t.Widened6 {
		list = append(list, netip.PrefixFrom(netip.IPv6Unspecified(), 0))
	}
	for _, a := range p.AllowedIPs {
		if is4 := a.Addr().Is4(); is4 && !t.Widened4 || !is4 && !t.Widened6 {
			list = append(list, a)
		}
	}
	return list
}

// without returns what list has and other has not.
func without(list, other []netip.Prefix) []netip.Prefix {
	return slices.DeleteFunc(slices.Clone(list), func(a netip.Prefix) bool {
		return slices.Contains(other, a)
	})
}

func peerOf(t conf.Tunnel, k conf.PublicKey) (conf.Peer, bool) {
	for _, p := range t.Peers {
		if p.PublicKey == k {
			return p, true
		}
	}
	return conf.Peer{}, false
}

// literal returns e when it is an address and not a name.
func literal(e conf.Endpoint) (netip.AddrPort, bool) {
	a, err := netip.ParseAddr(e.Host)
	return netip.AddrPortFrom(a.Unmap(), e.Port), err == nil
}

func seconds(d time.Duration) int { return int(d / time.Second) }
