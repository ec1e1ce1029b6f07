package dataplane

import (
	"turnout/classifier/packet"
	"turnout/dataplane/fragment"
	"turnout/dataplane/nat"
	"turnout/dataplane/segment"
)

/* What happens to a fragment, on either side, in order:
 *
 * 1. take      a later one before its first is held; one that contradicts is dropped
 * 2. go on     as a whole packet would, with the ports of the first
 * 3. decide    of a first one: what became of it becomes of the others
 * 4. release   those that waited for it go on
 */

// fragment is route for fragments of the LAN.
func (d *dispatcher) fragment(b []byte, lan *Network) packet.Reason {
	f := d.fragments.Take(uint32(nat.LAN), b, &d.view, uint32(d.now()))
	d.Dropped.lost(f.Reason, f.Lost)
	switch {
	case f.Action != fragment.Pass:
		return f.Reason
	case d.view.Frag == packet.Later:
		return d.goOn(b, lan, f.ID)
	}
	way, why := d.decideWhole(b, lan)
	id := way.newID(&d.view, d.ids, why)
	d.Dropped.lost(packet.FragmentUnknown, d.fragments.Decide(f.Datagram, id, why == packet.OK))
	if why != packet.OK {
		return why
	}
	why = d.leave(b, &way, lan, id)
	d.lent = true
	d.fragments.Release(f.Datagram, func(b []byte, v *packet.View) {
		d.view, d.header = *v, segment.Header{}
		if why := d.goOn(b, lan, id); why != packet.OK {
			d.Dropped.add(why)
		}
	})
	d.lent = false
	return why
}

// decideWhole is decide for a first fragment: an ICMP error in pieces is none
// that anybody sends, since it has 576 bytes at most (RFC 1812, 4.3.2.3).
func (d *dispatcher) decideWhole(b []byte, lan *Network) (course, packet.Reason) {
	if d.view.IsError {
		return course{}, packet.BadFragment
	}
	return d.decide(b, lan)
}

func (d *dispatcher) goOn(b []byte, lan *Network, id uint16) packet.Reason {
	way, why := d.decide(b, lan)
	if why != packet.OK {
		return why
	}
	return d.leave(b, &way, lan, id)
}

// fragment is deliver for fragments out of the tunnel.
func (t *Tunnel) fragment(b []byte, plan *Plan) packet.Reason {
	e, v := t.engine, &t.in.view
	f := e.fragments.Take(uint32(t.opt.Exit), b, v, uint32(e.now()))
	t.lost(f.Reason, f.Lost)
	switch {
	case f.Action != fragment.Pass:
		return f.Reason
	case v.Frag == packet.Later && t.toConduitInPieces(b):
		return packet.OK
	case v.Frag == packet.Later:
		return t.goOn(b, plan, f.ID)
	case t.toConduitInPieces(b):
		e.fragments.Decide(f.Datagram, 0, true)
		e.fragments.Release(f.Datagram, func(b []byte, held *packet.View) {
			*v = *held
			t.toConduitInPieces(b)
		})
		return packet.OK
	}
	way, why := t.findWhole(b, plan)
	id := way.newID(v, e.ids, why)
	t.lost(packet.FragmentUnknown, e.fragments.Decide(f.Datagram, id, why == packet.OK))
	if why != packet.OK {
		return why
	}
	why = t.arrive(b, plan, &way, id)
	e.fragments.Release(f.Datagram, func(b []byte, held *packet.View) {
		*v = *held
		if why := t.goOn(b, plan, id); why != packet.OK {
			t.drop(why)
		}
		t.flush() // borrowed: what the coalescer has of b ends here
	})
	return why
}

func (t *Tunnel) findWhole(b []byte, plan *Plan) (course, packet.Reason) {
	if t.in.view.IsError {
		return course{}, packet.BadFragment
	}
	return t.find(b, plan)
}

func (t *Tunnel) goOn(b []byte, plan *Plan, id uint16) packet.Reason {
	way, why := t.find(b, plan)
	if why != packet.OK {
		return why
	}
	return t.arrive(b, plan, &way, id)
}

// newID is the identification that all fragments of the datagram get whose
// first one v is; 0: their own.
func (c *course) newID(v *packet.View, ids *fragment.IDs, why packet.Reason) uint16 {
	if why != packet.OK || !c.shared() || c.Exit == nat.Direct {
		return 0
	}
	return ids.Next(c.target(v), v.Proto, 1)
}

// lost counts fragments that were held and are not any more.
func (t *Tunnel) lost(why packet.Reason, n int) {
	t.Dropped.lost(why, n)
	t.engine.Dropped.lost(why, n)
}
