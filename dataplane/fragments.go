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
	o, id, why := d.fragments.Take(uint32(nat.LAN), b, &d.view, uint32(d.now()))
	switch o {
	case fragment.Later:
		return d.goOn(b, lan, id)
	case fragment.Held, fragment.Dropped:
		return why
	}
	first := d.view
	way, why := d.decide(b, lan)
	if why == packet.OK && way.shared() && way.Exit != nat.Direct {
		id = d.ids.Next(way.target(&d.view), d.view.Proto, 1)
	}
	d.fragments.Decide(uint32(nat.LAN), &first, id, why == packet.OK)
	if why != packet.OK {
		return why
	}
	why = d.leave(b, &way, lan, id)
	d.fragments.Release(uint32(nat.LAN), &first, func(b []byte, v *packet.View) {
		d.view, d.header = *v, segment.Header{}
		d.lent = true
		if why := d.goOn(b, lan, id); why != packet.OK {
			d.Dropped.add(why)
		}
		d.lent = false
	})
	return why
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
	e, v, side := t.engine, &t.in.view, uint32(t.opt.Exit)
	o, id, why := e.fragments.Take(side, b, v, uint32(e.now()))
	first := *v
	switch {
	case o == fragment.Held || o == fragment.Dropped:
		return why
	case t.toConduitInPieces(b):
		if o == fragment.First {
			e.fragments.Decide(side, &first, 0, true)
			e.fragments.Release(side, &first, func(b []byte, held *packet.View) {
				*v = *held
				t.toConduitInPieces(b)
			})
		}
		return packet.OK
	case o == fragment.Later:
		return t.goOn(b, plan, id)
	}
	way, why := t.find(b, plan)
	if why == packet.OK && way.shared() {
		id = e.ids.Next(way.target(v), v.Proto, 1)
	}
	e.fragments.Decide(side, &first, id, why == packet.OK)
	if why != packet.OK {
		return why
	}
	why = t.arrive(b, plan, &way, id)
	e.fragments.Release(side, &first, func(b []byte, held *packet.View) {
		*v = *held
		if why := t.goOn(b, plan, id); why != packet.OK {
			t.drop(why)
		}
		// borrowed: what the coalescer has of b ends here.
		t.flush()
	})
	return why
}

func (t *Tunnel) goOn(b []byte, plan *Plan, id uint16) packet.Reason {
	way, why := t.find(b, plan)
	if why != packet.OK {
		return why
	}
	return t.arrive(b, plan, &way, id)
}
