package dataplane

import (
	"turnout/classifier/packet"
	"turnout/dataplane/fragment"
	"turnout/dataplane/segment"
)

// translate makes packet b of a course what the side that it goes to is to see,
// and keeps v and the checksums true. id, not 0, is the identification of the
// datagram that b is a fragment of. Others get a new one where several hosts
// share the source address: two of them may use the same number towards one
// destination, which would mix their datagrams (RFC 6864, 5.3.1). Atomic
// packets, which nobody fragments, keep what they have.
func (c *course) translate(b []byte, v *packet.View, h *segment.Header, ids *fragment.IDs, id uint16) {
	if c.back {
		c.RewriteIn(b, v, h.Partial(v))
	} else {
		c.RewriteOut(b, v, h.Partial(v))
	}
	if v.DF || !c.shared() {
		return
	}
	if id == 0 {
		id = ids.Next(v.Dst, v.Proto, h.Segments(v))
	}
	packet.SetID(b, v, id)
}

// shared reports whether other hosts have the same source address on the side
// that the packet goes to.
func (c *course) shared() bool {
	if c.back {
		return c.Far != packet.Addr{}
	}
	return c.Masquerade
}

// target returns where packet v goes on the other side.
func (c *course) target(v *packet.View) packet.Addr {
	switch {
	case c.back:
		return c.LAN
	case c.Far != packet.Addr{}:
		return c.Far
	}
	return v.Dst
}

// wakes are tunnels that got something and sleep yet: each is woken once for a
// batch.
type wakes []*Tunnel

func (w *wakes) add(t *Tunnel) {
	for _, have := range *w {
		if have == t {
			return
		}
	}
	*w = append(*w, t)
}

func (w *wakes) flush() {
	for i, t := range *w {
		t.ring.signal()
		(*w)[i] = nil
	}
	*w = (*w)[:0]
}
