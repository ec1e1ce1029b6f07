package peers

import (
	"golang.zx2c4.com/wireguard/device"

	"turnout/conf"
)

// Handshake has every peer that has an endpoint start a handshake now, so that
// the far ends learn where we are before the LAN has anything to say. A peer
// whose endpoint is a name that has no address yet does so once it has one; a
// peer without an endpoint speaks first itself. Where a handshake began less
// than 5 s ago (WireGuard's Rekey-Timeout) that one goes on. It may wait as
// long as a full socket does.
func (d *Device) Handshake() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return
	}
	for _, p := range d.Status().Peers {
		if p.Endpoint.IsValid() {
			d.initiate(p.PublicKey)
		}
	}
}

// initiate sends peer k the first message of a handshake; WireGuard logs what
// is wrong with it, and tries again. d.mu is held.
func (d *Device) initiate(k conf.PublicKey) {
	if p := d.wg.LookupPeer(device.NoisePublicKey(k)); p != nil {
		p.SendHandshakeInitiation(false)
	}
}
