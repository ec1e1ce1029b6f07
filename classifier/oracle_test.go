package classifier

import (
	"net/netip"
	"slices"

	"turnout/classifier/packet"
)

// The oracle: first match over the policy as it is written, by net/netip, with
// nothing shared with the table but the types.

func oracleField(e *Entry, v *packet.View) string {
	in := func(list []netip.Prefix, a netip.Addr) bool {
		return len(list) == 0 || slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
	}
	on := func(list []PortRange, port uint16) bool {
		return len(list) == 0 || v.HasPorts && slices.ContainsFunc(list, func(r PortRange) bool { return r.Lo <= port && port <= r.Hi })
	}
	switch {
	case !in(e.To, v.Dst.Netip()):
		return "destination"
	case len(e.Protos) > 0 && !slices.Contains(e.Protos, v.Proto):
		return "protocol"
	case !on(e.Ports, v.DstPort) || !on(e.FromPorts, v.SrcPort):
		return "ports"
	case !in(e.From, v.Src.Netip()):
		return "source"
	case len(e.DSCP) > 0 && !slices.Contains(e.DSCP, v.TOS>>2):
		return "dscp"
	}
	return ""
}

func oracle(p *Policy, v *packet.View) Verdict {
	for i := range p.Entries {
		e := &p.Entries[i]
		if oracleField(e, v) != "" {
			continue
		}
		covers := p.Exits[e.Exit].Covers
		if covers != nil && !slices.ContainsFunc(covers, func(q netip.Prefix) bool { return q.Contains(v.Dst.Netip()) }) {
			return Verdict{Exit: Reject, By: e.By, NotCovered: true, Entry: int32(i)}
		}
		return Verdict{Exit: e.Exit, By: e.By, Entry: int32(i)}
	}
	return Verdict{Exit: Reject, By: ByDefault, Entry: -1}
}

func oracleLost(p *Policy, v *packet.View, winner int32) []Lost {
	var out []Lost
	for i := range p.Entries {
		if int32(i) == winner {
			continue
		}
		field := oracleField(&p.Entries[i], v)
		if field == "" {
			field = "later"
		}
		out = append(out, Lost{int32(i), field})
	}
	return out
}
