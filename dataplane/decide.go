package dataplane

import (
	"turnout/classifier"
	"turnout/classifier/packet"
	"turnout/dataplane/nat"
)

/* Who decides about a packet of the LAN, in order:
 *
 * 1. its flow         a conversation keeps its exit
 * 2. a forward        it goes to an address of the gateway's that is forwarded
 * 3. policy           and the new flow is pinned
 */

// A course is a flow and the way that a packet takes in it: back is from the
// far side to the near one.
type course struct {
	nat.Flow
	back bool
}

// decide returns the packet's flow: the one it belongs to, or a new one. A flow
// whose exit is gone, or that is to ask policy again, gets the exit of a new
// one; if that is another, the flow is a new one.
func (d *dispatcher) decide(b []byte, lan *Network) (course, packet.Reason) {
	v := &d.view
	flow, known := d.flows.Out(b, v, nat.LAN, d.now())
	if known && (d.plan.keeps(&flow) || v.IsError || v.Frag == packet.Later) {
		return course{Flow: flow}, packet.OK
	}
	if !known {
		if flow, why := d.flows.In(b, v, nat.Hairpin, d.now()); why != packet.NoFlow {
			return course{flow, true}, why
		}
	}
	switch {
	case v.IsError:
		return course{}, packet.NoFlow
	case v.Frag == packet.Later:
		return course{}, packet.FragmentUnknown
	case known && besidePolicy(&flow):
		d.flows.Drop(flow)
		d.refuse(b, lan)
		return course{}, packet.TunnelDown
	}
	if pin, ok := d.forwarded(); ok {
		return d.open(b, lan, pin)
	}
	if v.Dst == d.plan.Inside {
		return course{}, packet.NoFlow
	}
	return d.ask(b, lan, flow, known)
}

// forwarded returns the pin of a new flow to an address of the gateway's: its
// LAN address, for which Inside stands here, or a tunnel's own, by which LAN
// hosts reach what the tunnel's far hosts reach (RFC 4787, REQ-9).
func (d *dispatcher) forwarded() (pin nat.Pin, ok bool) {
	v := &d.view
	if v.Dst == d.plan.Inside {
		f, n := d.plan.forward(v, true, func(*Tunnel) bool { return true })
		if f == nil {
			return pin, false
		}
		pin = d.plan.Tunnels[f.Exit].pin(d.plan)
		pin.Entry, pin.By, pin.Far, pin.FarPort = n, uint8(classifier.ByForward), f.To, f.port(v.DstPort)
		return pin, true
	}
	f, n := d.plan.forward(v, false, func(t *Tunnel) bool { return t.opt.Address4 == v.Dst })
	if f == nil || f.To == v.Src { // to itself: it would hear its own voice
		return pin, false
	}
	pin = nat.Pin{
		Exit: nat.Hairpin, Pool: uint16(f.Exit), Masquerade: true, Addr: v.Dst,
		Entry: n, By: uint8(classifier.ByForward), Generation: d.plan.Generation,
		Far: f.To, FarPort: f.port(v.DstPort),
	}
	if d.plan.gateway(f.To) { // whose answers to any other address take the host's own routes
		pin.Pool, pin.Addr = nat.Hairpin, d.plan.Inside
	}
	return pin, true
}

// ask has policy decide.
func (d *dispatcher) ask(b []byte, lan *Network, flow nat.Flow, known bool) (course, packet.Reason) {
	v := &d.view
	verdict := d.plan.Table.Lookup(v)
	exit := d.plan.Resolve(verdict.Exit)
	if d.debug {
		d.explain(verdict, exit)
	}
	pin := nat.Pin{Exit: uint16(exit), Entry: verdict.Entry, By: uint8(verdict.By), Generation: d.plan.Generation}
	if known && pin.Exit == flow.Exit && d.plan.carries(exit) {
		return course{Flow: d.flows.Keep(flow, pin)}, packet.OK
	}
	if known {
		d.flows.Drop(flow)
	}
	switch exit {
	case classifier.Drop:
		return course{}, packet.PolicyDrop
	case classifier.Reject:
		d.reject(b, lan)
		return course{}, rejection(verdict)
	case classifier.Direct:
	default:
		t := d.plan.tunnel(exit)
		if t == nil {
			d.unreachable(b, lan)
			return course{}, packet.TunnelDown
		}
		by := pin
		pin = t.pin(d.plan)
		pin.Entry, pin.By = by.Entry, by.By
	}
	if known && v.Proto == packet.TCP && v.Flags&packet.SYN == 0 {
		// The far end knows the connection by the address it had. The host
		// learns at once that it is over, and makes a new one.
		d.reject(b, lan)
		return course{}, packet.InvalidState
	}
	return d.open(b, lan, pin)
}

// open makes the flow that the packet begins.
func (d *dispatcher) open(b []byte, lan *Network, pin nat.Pin) (course, packet.Reason) {
	flow, why := d.flows.Open(b, &d.view, nat.LAN, pin, d.now())
	switch why {
	case packet.NoFreePort, packet.FlowTableFull, packet.HostLimit:
		d.unreachable(b, lan)
	}
	return course{Flow: flow}, why
}

// refuse tells a host that a conversation which it is in cannot go on.
func (d *dispatcher) refuse(b []byte, lan *Network) {
	if d.view.Proto == packet.TCP {
		d.reject(b, lan)
		return
	}
	d.unreachable(b, lan)
}

// rejection tells apart why a packet was rejected.
func rejection(v classifier.Verdict) packet.Reason {
	switch {
	case v.NotCovered:
		return packet.NotCovered
	case v.Entry < 0:
		return packet.NoExit
	}
	return packet.PolicyReject
}

// pin is that of a flow which leaves by tunnel t, but for who decided.
func (t *Tunnel) pin(p *Plan) nat.Pin {
	pin := nat.Pin{Exit: uint16(t.opt.Exit), Generation: p.Generation}
	if t.opt.Masquerade {
		pin.Masquerade, pin.FullCone, pin.Addr = true, p.FullCone[t.opt.Exit], t.opt.Address4
	}
	return pin
}
