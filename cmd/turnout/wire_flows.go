package main

import (
	"turnout/classifier"
	"turnout/classifier/packet"
	"turnout/cmd/internal/control"
	answering "turnout/cmd/internal/explain"
	"turnout/dataplane"
	"turnout/dataplane/nat"
)

// Flows puts the flow table in words, a flow at a time: neither the table nor
// the data path waits for f.
func (r *router) Flows(filter control.Filter, f func(control.Flow) bool) {
	var w flowWriter
	r.engine.Flows().Each(func(g nat.Flow) bool {
		d := w.document(r.engine.Plan(), &g)
		return !filter.Match(&d) || f(d)
	})
}

// DropFlows forgets flows while the data path goes on, and may open them anew.
func (r *router) DropFlows(filter control.Filter) int {
	var w flowWriter
	n := 0
	r.engine.Flows().Each(func(g nat.Flow) bool {
		if d := w.document(r.engine.Plan(), &g); filter.Match(&d) && r.engine.Flows().Drop(g) {
			n++
		}
		return true
	})
	return n
}

// A flowWriter writes flows as documents; it remembers the lines of the plan
// that it saw last.
type flowWriter struct {
	plan  *dataplane.Plan
	lines map[int32]*control.Line
}

// document says of flow f what plan p, in force after f was read, knows of it.
func (w *flowWriter) document(p *dataplane.Plan, f *nat.Flow) control.Flow {
	if p != w.plan {
		w.plan, w.lines = p, map[int32]*control.Line{}
	}
	d := control.Flow{
		Near: "lan", Inbound: f.Inbound,
		Proto: control.ProtoName(f.Proto),
		From:  f.LAN.Netip(), FromPort: f.LANPort, To: f.Remote.Netip(),
		State:    f.State.String(),
		BytesOut: f.BytesOut, BytesIn: f.BytesIn, PacketsOut: f.PacketsOut, PacketsIn: f.PacketsIn,
	}
	if f.Near != nat.LAN {
		d.Near, d.NearTunnel = "tunnel", w.name(f.Near)
	}
	if f.Masquerade {
		d.Mapped, d.MappedPort = f.Addr.Netip(), f.Port
	}
	if f.Far != (packet.Addr{}) {
		d.Far = f.Far.Netip()
	}
	if f.Proto == packet.TCP || f.Proto == packet.UDP { // of an echo it says who began
		d.Port, d.FarPort = f.RemotePort, f.FarPort
	}
	w.exit(&d, f)
	w.decision(&d, f)
	times(&d, f)
	return d
}

func (w *flowWriter) name(id uint16) string { return w.plan.Table.Policy().Exits[id].Name }

func (w *flowWriter) exit(d *control.Flow, f *nat.Flow) {
	switch f.Exit {
	case nat.Direct:
		d.Exit = "direct"
	case nat.Hairpin:
		d.Exit, d.Tunnel = "hairpin", w.name(f.Pool)
	default:
		d.Exit, d.Tunnel = "tunnel", w.name(f.Exit)
	}
}

// decision names the line that decided, as long as it stands where it stood.
func (w *flowWriter) decision(d *control.Flow, f *nat.Flow) {
	by := classifier.By(f.By)
	d.By = by.String()
	if !w.plan.Decided(f) {
		d.Earlier = true
		return
	}
	if by >= classifier.ByForward {
		return // beside the policy; what stands there has no text
	}
	policy := w.plan.Table.Policy()
	entry := &policy.Entries[f.Entry]
	if x := &policy.Exits[entry.Exit]; x.Kind == classifier.KindGroup {
		d.Group = x.Name
	}
	if d.Match = w.lines[f.Entry]; d.Match == nil {
		l := answering.Line(entry)
		d.Match, w.lines[f.Entry] = &l, &l
	}
}

// times tells the ages of a flow. Its times may be a second ahead of now.
func times(d *control.Flow, f *nat.Flow) {
	now := dataplane.Now()
	ago := func(t nat.Tick) uint32 { return uint32(max(0, int32(now-t))) }
	d.Age, d.Idle = ago(f.StartedAt), ago(f.TouchedAt)
	d.Expires = uint32(f.State.Lifetime()) - min(d.Idle, uint32(f.State.Lifetime()))
}
