package nat

import "turnout/classifier/packet"

// RewriteOut gives packet b, which Out or Open found to be of flow f, the
// flow's external address and port. v is brought up to date. partial says that
// the transport checksum is the pseudo-header's only. Without masquerade
// nothing changes.
func (f *Flow) RewriteOut(b []byte, v *packet.View, partial bool) {
	if !f.Masquerade {
		return
	}
	if v.IsError {
		var e packet.View
		if v.Embedded(b, &e) == packet.OK {
			packet.SetEmbeddedDestination(b, v, &e, f.Addr, f.Port)
		}
	}
	packet.SetSource(b, v, f.Addr, f.Port, partial)
}

// RewriteIn gives packet b, which In found to be of flow f, the LAN host's
// address and port. v is brought up to date. Without masquerade nothing
// changes.
func (f *Flow) RewriteIn(b []byte, v *packet.View) {
	if !f.Masquerade {
		return
	}
	if v.IsError {
		var e packet.View
		if v.Embedded(b, &e) == packet.OK {
			packet.SetEmbeddedSource(b, v, &e, f.LAN, f.LANPort)
		}
	}
	packet.SetDestination(b, v, f.LAN, f.LANPort, false)
}
