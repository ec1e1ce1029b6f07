package classifier

import (
	"net/netip"
	"slices"

	"turnout/classifier/packet"
)

// The oracle: first match over the policy as it is written, by net/netip, with
// nothing shared with the table but the types.

func oracleField(p *Policy, tags map[packet.Addr]uint32, e *Entry, v *packet.View) string {
	in := func(list []netip.Prefix, a netip.Addr) bool {
		return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
	}
	on := func(list []PortRange, port uint16) bool {
		return len(list) == 0 || v.HasPorts && slices.ContainsFunc(list, func(r PortRange) bool { return r.Lo <= port && port <= r.Hi })
	}
	with := func(list []netip.Prefix, sets []int) []netip.Prefix {
		for _, n := range sets {
			list = append(slices.Clip(list), p.Sets[n].Prefixes...)
		}
		return list
	}
	number, tagged := tags[v.Dst]
	switch src, dst := v.Src.Netip(), v.Dst.Netip(); {
	case len(e.To)+len(e.ToSets) > 0 && !in(with(e.To, e.ToSets), dst):
		return "destination"
	case in(with(e.NotTo, e.NotToSets), dst):
		return "not destination"
	case len(e.From)+len(e.FromSets) > 0 && !in(with(e.From, e.FromSets), src):
		return "source"
	case in(with(e.NotFrom, e.NotFromSets), src):
		return "not source"
	case len(e.Protos) > 0 && !slices.Contains(e.Protos, v.Proto):
		return "protocol"
	case !on(e.Ports, v.DstPort):
		return "ports"
	case !on(e.FromPorts, v.SrcPort):
		return "source ports"
	case len(e.DSCP) > 0 && !slices.Contains(e.DSCP, v.TOS>>2):
		return "dscp"
	case len(e.Tags) > 0 && !(tagged && slices.Contains(e.Tags, number)):
		return "tag"
	}
	return ""
}

func oracle(p *Policy, tags map[packet.Addr]uint32, v *packet.View) Verdict {
	for i := range p.Entries {
		e := &p.Entries[i]
		if oracleField(p, tags, e, v) != "" {
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

func oracleLost(p *Policy, tags map[packet.Addr]uint32, v *packet.View, winner int32) []Lost {
	var out []Lost
	for i := range p.Entries {
		if int32(i) == winner {
			continue
		}
		field := oracleField(p, tags, &p.Entries[i], v)
		if field == "" {
			field = "later"
		}
		out = append(out, Lost{int32(i), field})
	}
	return out
}
