// Package explain answers where one packet would go, by the very table that
// forwards: a control.Query becomes a packet.View, the classifier.Table says
// who won and who lost, and the result is put in words. The verb and the
// daemon both use it, so offline and online differ by their table only.
package explain

import (
	"net/netip"
	"slices"

	"turnout/classifier"
	"turnout/classifier/packet"
	"turnout/cmd/internal/control"
)

// A Source is what answers are made of. It is only read.
type Source struct {
	Table *classifier.Table
	// LAN lists the captured prefixes; empty when they are not known, as
	// offline for a configuration that names interfaces only.
	LAN []netip.Prefix
	// Local lists what the LAN reaches past all policy.
	Local []netip.Prefix
	// Live returns the member of a group that carries new flows now; nil means
	// each group's first.
	Live func(group classifier.ExitID) classifier.ExitID
	// Near, of the same Table, spares ExplainAll a walk through a long policy
	// for each packet; nil where only Explain is asked.
	Near *classifier.Near
}

// Stand-ins for what a query leaves open: a host of the most common home
// network where the LAN is not known, and the first dynamic port (RFC 6335, 6).
var (
	standIn4 = netip.MustParseAddr("192.168.1.2")
	standIn6 = netip.MustParseAddr("fd00::2")
)

const standInPort = 49152

// Explain answers q, which is valid, with all that lost and what another
// source would change.
func (s Source) Explain(q control.Query) control.Answer {
	asked := q
	q = s.complete(q)
	v := view(q)
	e := s.Table.Explain(&v)
	a := s.answer(q, e)
	a.Depends = s.depends(asked, v, e.Entry)
	a.Considered = s.allLost(e.Considered)
	return a
}

// Near is how many losers an answer of ExplainAll has at most, unless all are
// asked for.
const Near = 20

// ExplainAll answers each query of b, which is valid, as Explain does but for
// Depends. Of many losers it gives the first of those that have the packet's
// destination: the near misses.
func (s Source) ExplainAll(b control.Batch) []control.Answer {
	out := make([]control.Answer, len(b.Queries))
	short := b.All || len(s.Table.Policy().Entries) <= Near+1
	for i, q := range b.Queries {
		q = s.complete(q)
		v := view(q)
		var e classifier.Explanation
		more := 0
		if short {
			e = s.Table.Explain(&v)
		} else {
			e, more = s.Near.Explain(&v, Near)
		}
		out[i] = s.answer(q, e)
		out[i].Considered, out[i].More = s.allLost(e.Considered), more
	}
	return out
}

// answer is all of an answer but what lost and what it depends on.
func (s Source) answer(q control.Query, e classifier.Explanation) control.Answer {
	a := control.Answer{
		By:   e.By.String(),
		From: q.From, FromPort: q.FromPort, To: q.To, Port: q.Port, DSCP: q.DSCP,
		Proto:   control.ProtoName(q.Proto),
		Depends: []control.Line{},
		Note:    s.note(q),
	}
	a.Exit, a.Tunnel, a.Group = s.exit(e.Exit)
	if e.Entry >= 0 {
		l := line(&s.Table.Policy().Entries[e.Entry])
		a.Match = &l
	}
	switch {
	case q.To.Is6(): // the host refuses it before the table is asked
		a.Exit, a.Tunnel, a.Group, a.Reason = "reject", "", "", packet.IPv6Refused.String()
	case e.NotCovered:
		a.Reason = packet.NotCovered.String()
	case e.Entry < 0:
		a.Reason = packet.NoExit.String()
	}
	return a
}

func (s Source) allLost(list []classifier.Lost) []control.Lost {
	out := make([]control.Lost, len(list))
	for i, l := range list {
		out[i] = s.lost(&s.Table.Policy().Entries[l.Entry], l.Field)
	}
	return out
}

// complete fills in the stand-ins, and lets "icmp" mean the one of the
// address's family.
func (s Source) complete(q control.Query) control.Query {
	q.To, q.From = q.To.Unmap(), q.From.Unmap()
	if q.To.Is6() && q.Proto == packet.ICMP {
		q.Proto = packet.ICMPv6
	}
	if !q.From.IsValid() {
		q.From = s.firstHost(q.To.Is4())
	}
	if q.FromPort == 0 && hasPorts(q.Proto) {
		q.FromPort = standInPort
	}
	return q
}

// firstHost returns the first address of the LAN that a host can have.
func (s Source) firstHost(v4 bool) netip.Addr {
	for _, p := range s.LAN {
		if p.Addr().Is4() != v4 {
			continue
		}
		a := p.Masked().Addr()
		if p.Bits() < a.BitLen()-1 { // a /31 or /32 has no network address (RFC 3021)
			a = a.Next()
		}
		return a
	}
	if v4 {
		return standIn4
	}
	return standIn6
}

func hasPorts(proto uint8) bool { return proto == packet.TCP || proto == packet.UDP }

// view is what packet.Decode makes of a flow's first packet: a SYN, a
// datagram, an echo request.
func view(q control.Query) packet.View {
	v := packet.View{
		Src: packet.AddrFrom(q.From), Dst: packet.AddrFrom(q.To),
		SrcPort: q.FromPort, DstPort: q.Port,
		Proto: q.Proto, TOS: q.DSCP << 2, TTL: 64,
		HasPorts: hasPorts(q.Proto),
		Version:  4, L4: 20, Len: 40,
	}
	if q.To.Is6() {
		v.Version, v.L4, v.Len = 6, 40, 60
	}
	switch q.Proto {
	case packet.TCP:
		v.Flags = packet.SYN
	case packet.ICMP:
		v.Type = 8
	case packet.ICMPv6:
		v.Type = 128
	}
	return v
}

// exit names an exit: its kind, the tunnel that carries, and the group that
// policy spoke of.
func (s Source) exit(id classifier.ExitID) (kind, tunnel, group string) {
	exits := s.Table.Policy().Exits
	x := &exits[id]
	if x.Kind == classifier.KindGroup {
		group = x.Name
		// Groups may hold groups; conf refuses cycles, the bound makes sure.
		for n := 0; x.Kind == classifier.KindGroup && len(x.Members) > 0 && n < len(exits); n++ {
			if s.Live != nil {
				id = s.Live(id)
			} else {
				id = x.Members[0]
			}
			x = &exits[id]
		}
	}
	if x.Kind == classifier.KindTunnel {
		return "tunnel", x.Name, group
	}
	return exits[id].Name, "", group
}

func (s Source) lost(e *classifier.Entry, field string) control.Lost {
	l := control.Lost{By: e.By.String(), Match: line(e), Lost: field}
	l.Exit, l.Tunnel, l.Group = s.exit(e.Exit)
	return l
}

func line(e *classifier.Entry) control.Line { return Line(e.Name, e.Text, e.Pos) }

// Line says what a line of the configuration is called, what it says and where.
func Line(name, text string, pos classifier.Pos) control.Line {
	return control.Line{Text: text, At: pos.String(), File: pos.File, Line: pos.Line, Name: name}
}

// note says what the host does to the packet before policy is asked.
func (s Source) note(q control.Query) string {
	switch {
	case within(s.LAN, q.To):
		return "the destination is in the LAN: the kernel delivers it, policy is not asked"
	case within(s.Local, q.To):
		return "the destination is local by [lan]: the kernel delivers it, policy is not asked"
	case len(s.LAN) > 0 && !within(s.LAN, q.From) && q.To.Is4():
		return "the source is not a LAN address: such a packet is dropped, policy is not asked"
	}
	return ""
}

func within(list []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
}
