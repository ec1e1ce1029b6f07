package peers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.zx2c4.com/wireguard/device"

	"turnout/conf"
)

// Names of endpoints are looked up in the background, so that a router starts
// while DNS is down, and on marked sockets, so that the question never travels
// through the tunnel that waits for its answer. That holds for a tunnel inside
// of another one too: the host asks, by the uplink.

// Bounds of the pause between two attempts, and of one attempt.
const (
	firstPause = time.Second
	lastPause  = time.Minute
	lookupTime = 10 * time.Second
)

// A lookup returns the addresses of a host, at least one unless it fails.
type lookup func(ctx context.Context, host string) ([]netip.Addr, error)

// markedLookup asks the host's resolvers by sockets that carry mark.
func markedLookup(mark uint32) lookup {
	dialer := net.Dialer{Control: markControl(mark)}
	r := &net.Resolver{PreferGo: true, Dial: dialer.DialContext}
	return func(ctx context.Context, host string) ([]netip.Addr, error) {
		list, err := r.LookupNetIP(ctx, "ip", host)
		if err == nil && len(list) == 0 {
			err = errors.New("the name has no address")
		}
		return list, err
	}
}

// resolveNames starts and stops lookups so that every peer of t whose endpoint
// is a name has one, unless it is as it was in old. d.mu is held.
func (d *Device) resolveNames(old, t conf.Tunnel) {
	for _, o := range old.Peers {
		if p, ok := peerOf(t, o.PublicKey); !ok || p.Endpoint != o.Endpoint {
			if stop := d.lookups[o.PublicKey]; stop != nil {
				stop()
				delete(d.lookups, o.PublicKey)
			}
		}
	}
	for _, p := range t.Peers {
		if _, ok := literal(p.Endpoint); ok || p.Endpoint.Host == "" {
			continue
		}
		if o, ok := peerOf(old, p.PublicKey); ok && o.Endpoint == p.Endpoint {
			continue
		}
		ctx, stop := context.WithCancel(context.Background())
		d.lookups[p.PublicKey] = stop
		d.busy.Go(func() { d.resolve(ctx, p.PublicKey, p.Endpoint) })
	}
}

// resolve tries until the endpoint has an address or ctx ends.
func (d *Device) resolve(ctx context.Context, k conf.PublicKey, e conf.Endpoint) {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		try, stop := context.WithTimeout(ctx, lookupTime)
		list, err := d.lookup(try, e.Host)
		stop()
		if err == nil {
			d.setEndpoint(ctx, k, netip.AddrPortFrom(d.reachable(list), e.Port))
			return
		}
		if ctx.Err() != nil {
			return
		}
		d.log.warn("resolve "+e.Host, "the name of an endpoint cannot be resolved; trying again",
			"host", e.Host, "pause", pause, "err", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// reachable returns the first address of list that the host has a route to,
// else the first. Nothing is sent: connecting a UDP socket only asks for the
// route. The host's routes say nothing about a Transport.
func (d *Device) reachable(list []netip.Addr) netip.Addr {
	if d.inside {
		return firstIPv4(list)
	}
	dialer := net.Dialer{Control: markControl(d.mark), Timeout: time.Second}
	for _, a := range list {
		c, err := dialer.Dial("udp", netip.AddrPortFrom(a, 9).String())
		if err == nil {
			c.Close()
			return a.Unmap()
		}
	}
	return list[0].Unmap()
}

// firstIPv4 returns the first IPv4 address of list, else the first of all.
func firstIPv4(list []netip.Addr) netip.Addr {
	for _, a := range list {
		if a = a.Unmap(); a.Is4() {
			return a
		}
	}
	return list[0]
}

// setEndpoint gives peer k an address and lets it shake hands at once: what
// waits for the tunnel has waited for DNS already.
func (d *Device) setEndpoint(ctx context.Context, k conf.PublicKey, a netip.AddrPort) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	err := d.wg.IpcSet(fmt.Sprintf("public_key=%s\nupdate_only=true\nendpoint=%v\n", k.Hex(), a))
	if err != nil {
		d.log.warn("endpoint", "an endpoint's address was not taken", "endpoint", a, "err", err)
		return
	}
	d.log.to.Info("the name of an endpoint is resolved", "peer", k, "endpoint", a)
	if p := d.wg.LookupPeer(device.NoisePublicKey(k)); p != nil {
		p.ExpireCurrentKeypairs()
		p.SendHandshakeInitiation(false)
	}
}
