package dataplane

import (
	"turnout/classifier"
	"turnout/classifier/packet"
	"turnout/dataplane/nat"
)

/* What a far host of a tunnel may begin, in order; nothing else comes in, and
 * nobody is told so:
 *
 * 1. forward    it calls the tunnel's own address, at a port that is forwarded
 * 2. accept     it calls a LAN host that it may call
 * 3. relay      it calls what policy sends to another tunnel, and may do so
 */

// admit makes the flow that the packet begins, if it may.
func (t *Tunnel) admit(b []byte, plan *Plan) (course, packet.Reason) {
	v := &t.in.view
	lan := plan.network(v.Dst)
	switch {
	case plan.ours(v.Src):
		return course{}, packet.SpoofedSource
	case v.Dst == t.opt.Address4:
		return t.forwarded(b, plan)
	case plan.ours(v.Dst), lan == nil && plan.within(v.Dst):
		return course{}, packet.NoFlow // neither the gateway's own services nor broadcast are for tunnels
	case len(plan.Accepts[t.opt.Exit]) == 0:
		return course{}, packet.NoFlow
	}
	a, n := plan.accept(v, t.opt.Exit, lan != nil)
	if a == nil {
		return course{}, packet.NotAccepted
	}
	if lan == nil {
		return t.relayed(b, plan, a, n)
	}
	d := nat.Door{LAN: v.Dst, LANPort: v.DstPort}
	if a.Masquerade {
		d.Inside = plan.Inside
	}
	return t.openIn(b, nat.Pin{Exit: uint16(t.opt.Exit), Entry: n, By: uint8(classifier.ByAccept), Generation: plan.Generation}, d)
}

// forwarded makes the flow of a call to the tunnel's own address. Who is sent on
// to the gateway itself is known there by Inside: the answers to a far host's
// own address would leave by the host's routes.
func (t *Tunnel) forwarded(b []byte, plan *Plan) (course, packet.Reason) {
	v := &t.in.view
	f, n := plan.forward(v, false, func(at *Tunnel) bool { return at == t })
	if f == nil {
		return course{}, packet.NoFlow
	}
	d := nat.Door{LAN: f.To, LANPort: f.port(v.DstPort)}
	if plan.gateway(f.To) {
		d.Inside = plan.Inside
	}
	return t.openIn(b, nat.Pin{
		Exit: uint16(t.opt.Exit), Masquerade: true, Addr: t.opt.Address4,
		Entry: n, By: uint8(classifier.ByForward), Generation: plan.Generation,
	}, d)
}

func (t *Tunnel) openIn(b []byte, pin nat.Pin, d nat.Door) (course, packet.Reason) {
	flow, why := t.engine.flows.OpenIn(b, &t.in.view, pin, d, t.engine.now())
	return course{flow, true}, why
}

// relayed makes the flow of a conversation with what is behind another tunnel,
// or behind another peer of this one. It never leaves by the uplink: the
// gateway is no way out for strangers.
func (t *Tunnel) relayed(b []byte, plan *Plan, a *Accept, n int32) (course, packet.Reason) {
	v := &t.in.view
	exit := plan.Resolve(plan.Table.Lookup(v).Exit)
	to := plan.tunnel(exit)
	if to == nil || to == t && t.opt.Peers < 2 {
		return course{}, packet.NoRelay
	}
	pin := to.pin(plan)
	pin.Entry, pin.By = n, uint8(classifier.ByAccept)
	if a.Masquerade {
		pin.Masquerade, pin.Addr = true, to.opt.Address4
	}
	flow, why := t.engine.flows.Open(b, v, uint16(t.opt.Exit), pin, t.engine.now())
	return course{Flow: flow}, why
}
