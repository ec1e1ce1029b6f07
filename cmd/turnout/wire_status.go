package main

import (
	"turnout/classifier"
	"turnout/classifier/packet"
	"turnout/cmd/internal/control"
	"turnout/dataplane"
)

// Status reads the counters of the data path and of every WireGuard device.
func (r *router) Status() control.Status {
	s := control.Status{TUN: r.cfg.Load().Host.TUN, Flows: r.engine.Flows().Len(), Tunnels: []control.Tunnel{}, Drops: []control.Drop{}}
	for _, l := range r.now().lan {
		s.LAN = append(s.LAN, control.LAN{Interface: l.name, Prefixes: l.prefixes()})
	}
	for _, t := range r.tunnels {
		s.Tunnels = append(s.Tunnels, t.status())
	}
	plan := r.engine.Plan()
	for id, x := range plan.Table.Policy().Exits {
		s.Exits = append(s.Exits, r.exitStatus(plan, classifier.ExitID(id), x))
	}
	r.engine.Dropped.Each(func(why packet.Reason, n uint64) {
		s.Drops = append(s.Drops, control.Drop{Reason: why.String(), Text: why.Text(), Packets: n})
	})
	return s
}

// exitStatus counts what went to one exit.
func (r *router) exitStatus(plan *dataplane.Plan, id classifier.ExitID, x classifier.Exit) control.Exit {
	s := control.Exit{Name: x.Name, Kind: x.Kind.String()}
	switch {
	case id == classifier.Direct:
		s.Packets, s.Bytes = r.engine.Direct.Packets.Load(), r.engine.Direct.Bytes.Load()
	case id == classifier.Drop:
		s.Packets = r.engine.Dropped[packet.PolicyDrop].Load()
	case id == classifier.Reject:
		s.Packets = r.engine.Dropped[packet.PolicyReject].Load()
	case x.Kind == classifier.KindGroup:
		s.Live = plan.Table.Policy().Exits[plan.Resolve(id)].Name
	case plan.Tunnels[id] != nil:
		t := plan.Tunnels[id]
		s.Packets, s.Bytes = t.Out.Packets.Load(), t.Out.Bytes.Load()
		s.PacketsBack, s.BytesBack = t.In.Packets.Load(), t.In.Bytes.Load()
	}
	return s
}

// status reads one WireGuard device.
func (t *tunnel) status() control.Tunnel {
	s := control.Tunnel{Name: t.conf.Name, Addresses: t.conf.Addresses, MTU: t.mtu}
	d := t.device.Status()
	s.ListenPort = d.ListenPort
	for _, p := range d.Peers {
		peer := control.Peer{
			PublicKey: p.PublicKey.String(), LastHandshake: p.LastHandshake, Rx: p.Rx, Tx: p.Tx,
		}
		if p.Endpoint.IsValid() {
			peer.Endpoint = p.Endpoint.String()
		}
		for i := range t.conf.Peers {
			if t.conf.Peers[i].PublicKey == p.PublicKey {
				peer.Name = t.conf.Peers[i].Name
			}
		}
		s.Peers = append(s.Peers, peer)
	}
	return s
}
