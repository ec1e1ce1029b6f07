package main

import (
	"turnout/classifier"
	"turnout/classifier/packet"
	"turnout/cmd/internal/control"
	answering "turnout/cmd/internal/explain"
	"turnout/conf"
	"turnout/dataplane"
	"turnout/dataplane/nat"
)

// Flows puts the flow table in words, a flow at a time: neither the table nor
// the data path waits for f.
func (r *router) Flows(filter control.Filter, f func(control.Flow) bool) {
	var w flowWriter
	r.engine.Flows().Each(func(g nat.Flow) bool {
		d := w.document(r.engine.Plan(), r.cfg.Load(), &g)
		return !filter.Match(&d) || f(d)
	})
}

// DropFlows forgets flows while the data path goes on, and may open them anew.
func (r *router) DropFlows(filter control.Filter) int {
	var w flowWriter
	return r.engine.Flows().DropIf(func(g nat.Flow) bool {
		d := w.document(r.engine.Plan(), r.cfg.Load(), &g)
		return filter.Match(&d)
	})
}

// A flowWriter writes flows as documents; it remembers the lines of the plan
// that it saw last.
type flowWriter struct {
	plan  *dataplane.Plan
	cfg   *conf.Config
	lines map[lineKey]*control.Line
}

// A lineKey is a place in a list of the configuration.
type lineKey struct {
	by    classifier.By
	exit  uint16 // whose accepts are meant
	entry int32
}

// document says of flow f what is known by p and cfg, in force after f was
// read.
func (w *flowWriter) document(p *dataplane.Plan, cfg *conf.Config, f *nat.Flow) control.Flow {
	if p != w.plan || cfg != w.cfg {
		w.plan, w.cfg, w.lines = p, cfg, map[lineKey]*control.Line{}
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
	if f.Entry >= 0 { // flows of the process before have forgotten who decided
		d.By = classifier.By(f.By).String()
	}
	// In the middle of a reload the plan may be another than cfg's.
	if d.Earlier = !w.plan.Decided(f) || w.plan.Table.Policy() != w.cfg.Policy; d.Earlier {
		return
	}
	key := lineKey{by: classifier.By(f.By), entry: f.Entry}
	switch key.by {
	case classifier.ByForward:
	case classifier.ByAccept:
		key.exit = f.Exit
		if f.Near != nat.LAN { // the tunnel that it came in by
			key.exit = f.Near
		}
	default:
		if x := w.cfg.Policy.Exits[w.cfg.Policy.Entries[f.Entry].Exit]; x.Kind == classifier.KindGroup {
			d.Group = x.Name
		}
	}
	if d.Match = w.lines[key]; d.Match == nil {
		d.Match = w.line(key)
		w.lines[key] = d.Match
	}
}

func (w *flowWriter) line(k lineKey) *control.Line {
	var l control.Line
	switch k.by {
	case classifier.ByForward:
		f := &w.cfg.Forwards[k.entry]
		l = answering.Line(f.Name, f.Text, f.Pos)
	case classifier.ByAccept:
		a := &w.cfg.Tunnels[k.exit-uint16(classifier.FirstNamed)].Accept[k.entry]
		l = answering.Line("", a.Text, a.Pos)
	default:
		e := &w.cfg.Policy.Entries[k.entry]
		l = answering.Line(e.Name, e.Text, e.Pos)
	}
	return &l
}

// times tells the ages of a flow. Its times may be a second ahead of now.
func times(d *control.Flow, f *nat.Flow) {
	now := dataplane.Now()
	ago := func(t nat.Tick) uint32 { return uint32(max(0, int32(now-t))) }
	d.Age, d.Idle = ago(f.StartedAt), ago(f.TouchedAt)
	d.Expires = uint32(f.State.Lifetime()) - min(d.Idle, uint32(f.State.Lifetime()))
}
