package nat

import "turnout/classifier/packet"

// RewriteOut makes packet b, which Out or Open found to be of flow f, what the
// far side is to see: the external address and port as its source, and the far
// end as its destination. v is brought up to date. partial says that the
// transport checksum is the pseudo-header's only. Where both sides see the
// same, nothing changes.
func (f *Flow) RewriteOut(b []byte, v *packet.View, partial bool) {
	moved := f.Far != packet.Addr{}
	if v.IsError && (f.Masquerade || moved) {
		var e packet.View
		if v.Embedded(b, &e) == packet.OK {
			if f.Masquerade {
				packet.SetEmbeddedDestination(b, v, &e, f.Addr, f.Port)
			}
			if moved {
				packet.SetEmbeddedSource(b, v, &e, f.Far, f.FarPort)
			}
		}
	}
	if f.Masquerade {
		packet.SetSource(b, v, f.Addr, f.Port, partial)
	}
	if moved {
		packet.SetDestination(b, v, f.Far, f.farPort(v), partial)
	}
}

// RewriteIn makes packet b, which In or OpenIn found to be of flow f, what the
// near side is to see. v is brought up to date. partial is as in RewriteOut.
// Where both sides see the same, nothing changes.
func (f *Flow) RewriteIn(b []byte, v *packet.View, partial bool) {
	moved := f.Far != packet.Addr{}
	if v.IsError && (f.Masquerade || moved) {
		var e packet.View
		if v.Embedded(b, &e) == packet.OK {
			if f.Masquerade {
				packet.SetEmbeddedSource(b, v, &e, f.LAN, f.LANPort)
			}
			if moved {
				packet.SetEmbeddedDestination(b, v, &e, f.Remote, f.nearPort(&e))
			}
		}
	}
	// The near side knows nothing of the far one's routers: their errors come
	// from the end that it knows, as those of the kernel's NAT do.
	if moved && (v.IsError || v.Src == f.Far) {
		packet.SetSource(b, v, f.Remote, f.nearPort(v), partial)
	}
	if f.Masquerade {
		packet.SetDestination(b, v, f.LAN, f.LANPort, partial)
	}
}

// farPort and nearPort are the numbers that the other end has in a packet on
// either side. Both ends of an echo have the same: the identifier, which goes
// with the near host.
func (f *Flow) farPort(v *packet.View) uint16 {
	if v.IsEcho() {
		return f.Port
	}
	return f.FarPort
}

func (f *Flow) nearPort(v *packet.View) uint16 {
	if v.IsEcho() {
		return f.LANPort
	}
	return f.RemotePort
}
