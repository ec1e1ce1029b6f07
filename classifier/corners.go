package classifier

import (
	"math/rand/v2"
	"net/netip"

	"turnout/classifier/packet"
)

// corners draws n packets at the edges of a policy's entries, just beyond
// them, and inside: where a table goes wrong if it does.
func corners(p *Policy, n int, seed uint64) []packet.View {
	r := cornerer{rand.New(rand.NewPCG(seed, 0)), p}
	out := make([]packet.View, n)
	for i := range out {
		out[i] = r.view()
	}
	return out
}

type cornerer struct {
	*rand.Rand
	p *Policy
}

// view draws a packet about one entry; now and then it takes a field from
// another.
func (r cornerer) view() packet.View {
	v := packet.View{Version: 4, Proto: packet.TCP, TOS: uint8(r.Uint32())}
	if r.IntN(2) == 0 {
		v.Version = 6
	}
	one := r.entry()
	other := func() *Entry {
		if r.IntN(4) == 0 {
			return r.entry()
		}
		return one
	}
	e := other()
	v.Dst = r.addr(v.Version == 4, r.pick(e.To, e.NotTo, e.ToSets, e.NotToSets))
	e = other()
	v.Src = r.addr(v.Version == 4, r.pick(e.From, e.NotFrom, e.FromSets, e.NotFromSets))
	if e = other(); len(e.Protos) > 0 {
		v.Proto = e.Protos[r.IntN(len(e.Protos))]
	} else if r.IntN(3) == 0 {
		v.Proto = uint8(r.Uint32())
	}
	if v.Proto == packet.TCP || v.Proto == packet.UDP {
		v.HasPorts = r.IntN(16) > 0
		v.DstPort, v.SrcPort = r.port(other().Ports), r.port(other().FromPorts)
	}
	if e = other(); len(e.DSCP) > 0 {
		v.TOS = e.DSCP[r.IntN(len(e.DSCP))]<<2 | v.TOS&3
	}
	return v
}

var noEntry Entry

func (r cornerer) entry() *Entry {
	if len(r.p.Entries) == 0 {
		return &noEntry
	}
	return &r.p.Entries[r.IntN(len(r.p.Entries))]
}

// pick draws a prefix of one side of an entry; the zero Prefix when it names none.
func (r cornerer) pick(list, not []netip.Prefix, sets, notSets []int) netip.Prefix {
	if len(not) > 0 && r.IntN(3) == 0 {
		list = not
	}
	if len(notSets) > 0 && r.IntN(3) == 0 {
		sets = notSets
	}
	if len(sets) > 0 && (len(list) == 0 || r.IntN(2) == 0) {
		list = r.p.Sets[sets[r.IntN(len(sets))]].Prefixes
	}
	if len(list) == 0 {
		return netip.Prefix{}
	}
	return list[r.IntN(len(list))]
}

// addr draws an address of the family: of the prefix, at its edge or one
// beyond; anywhere when the prefix is of the other family.
func (r cornerer) addr(v4 bool, q netip.Prefix) packet.Addr {
	if !q.IsValid() || q.Addr().Is4() != v4 {
		q = everything(v4)
	}
	every, s := everySpan(v4), spanOf(q)
	inside := packet.Addr{
		Hi: s.lo.Hi | r.Uint64()&(s.hi.Hi^s.lo.Hi),
		Lo: s.lo.Lo | r.Uint64()&(s.hi.Lo^s.lo.Lo),
	}
	switch k := r.IntN(6); {
	case k == 0:
		return s.lo
	case k == 1:
		return s.hi
	case k == 2 && s.lo != every.lo:
		return prev(s.lo)
	case k == 3 && s.hi != every.hi:
		return next(s.hi)
	}
	return inside
}

func (r cornerer) port(list []PortRange) uint16 {
	if len(list) == 0 {
		return uint16(r.Uint32())
	}
	p := list[r.IntN(len(list))]
	return [...]uint16{p.Lo, p.Hi, p.Lo - 1, p.Hi + 1, p.Lo + (p.Hi-p.Lo)/2}[r.IntN(5)]
}
