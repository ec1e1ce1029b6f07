package main

import (
	"slices"

	"turnout/classifier/packet"
	"turnout/conf"
	"turnout/dataplane"
	"turnout/dataplane/host"
	"turnout/dataplane/nat"
)

// setGates gives the plan what the configuration says beside policy.
func setGates(p *dataplane.Plan, cfg *conf.Config) {
	for i := range cfg.Forwards {
		f := &cfg.Forwards[i]
		p.Forwards = append(p.Forwards, dataplane.Forward{
			Exit: tunnelExit(f.Tunnel), FromLAN: f.FromLAN, Protos: f.Protos,
			First: f.Ports.Lo, Last: f.Ports.Hi,
			To: packet.AddrFrom(f.To), ToPort: f.ToPort,
		})
	}
	for i := range cfg.Tunnels {
		exit := tunnelExit(i)
		p.FullCone[exit] = cfg.Tunnels[i].FullCone
		for _, a := range cfg.Tunnels[i].Accept {
			gate := dataplane.Accept{
				From: dataplane.NewRange(a.From), Protos: a.Protos, Ports: a.Ports, Masquerade: a.Masquerade,
			}
			if a.To.IsValid() {
				gate.To = dataplane.NewRange(a.To)
			}
			p.Accepts[exit] = append(p.Accepts[exit], gate)
		}
	}
	p.Inside = packet.AddrFrom(host.Inside) // nobody else's, in use or not
}

// usesInside reports whether the gateway's own LAN address takes part in a
// conversation of a tunnel: as the one that LAN hosts call, as the one that
// they see in place of a far host, or as a forward's end.
func usesInside(cfg *conf.Config, around surroundings) bool {
	for _, f := range cfg.Forwards {
		if f.FromLAN || around.gateway(f.To) {
			return true
		}
	}
	for _, t := range cfg.Tunnels {
		for _, a := range t.Accept {
			if a.Masquerade {
				return true
			}
		}
	}
	return false
}

// sameInside reports whether two configurations ask the same of the host for
// conversations with the gateway's own LAN address.
func sameInside(a, b *conf.Config, around surroundings) bool {
	return usesInside(a, around) == usesInside(b, around) && slices.Equal(listening(a), listening(b))
}

// listening are the ports of the gateway's LAN address that are forwarded.
func listening(cfg *conf.Config) (out []host.Port) {
	for _, f := range cfg.Forwards {
		if !f.FromLAN {
			continue
		}
		for _, proto := range f.Protos {
			out = append(out, host.Port{Proto: proto, First: f.Ports.Lo, Last: f.Ports.Hi})
		}
	}
	return out
}

// reserve keeps the ports of forwards, and those by which other tunnels travel,
// out of the hands of LAN flows at each tunnel's own address.
func (r *router) reserve(cfg *conf.Config) {
	for i, t := range r.tunnels {
		var list []nat.Reservation
		for _, f := range cfg.Forwards {
			if f.FromLAN || f.Tunnel != i {
				continue
			}
			for _, proto := range f.Protos {
				list = append(list, nat.Reservation{Proto: proto, First: f.Ports.Lo, Last: f.Ports.Hi})
			}
		}
		for _, port := range t.path.ConduitPorts() {
			list = append(list, nat.Reservation{Proto: packet.UDP, First: port, Last: port})
		}
		own4, _ := ownAddresses(t.conf)
		r.engine.Flows().Reserve(uint16(t.exit), own4, list)
	}
}
