package host

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Inside is the address that the process has within the host, so to speak. A
// conversation in which the gateway's own LAN address takes part cannot pass
// the TUN device under that address: the kernel would keep its packets. There
// it has this one instead, of the addresses that are for a node's inner
// translators (RFC 7335), and the kernel translates (G is the gateway's address
// on the LAN, H a host there):
//
//	               on the LAN            in the TUN device
//	a LAN host     H ──► G, a listed port      H ──► Inside, the same port
//	asks           H ◄── G                     H ◄── Inside
//	one is asked   H ◄── G, a free port        H ◄── Inside, any port
//	               H ──► G                     H ──► Inside
//	a service of   (nothing)                   G ◄── Inside, any port
//	the gateway                                G ──► Inside
//
// Nothing with this address is ever on a wire, or taken from one. An ICMP error
// about such a conversation has to carry it too, to be translated.
var Inside = netip.AddrFrom4([4]byte{192, 0, 0, 6})

var insidePrefix = netip.PrefixFrom(Inside, 32)

// Port is a range of ports of TCP or UDP, both ends included.
type Port struct {
	Proto       uint8 // unix.IPPROTO_TCP or unix.IPPROTO_UDP
	First, Last uint16
}

func (s *Spec) usesInside() bool { return s.UsesInside || len(s.Listen) > 0 }

func (s *Spec) validInside() error {
	for _, p := range s.Listen {
		if p.First == 0 || p.Last < p.First || p.Proto != unix.IPPROTO_TCP && p.Proto != unix.IPPROTO_UDP {
			return fmt.Errorf("protocol %d, ports %d to %d, cannot be listened at: TCP or UDP, from 1 on, the first before the last", p.Proto, p.First, p.Last)
		}
	}
	if !s.usesInside() {
		return nil
	}
	for _, p := range append(s.lanPrefixes(), s.Local...) {
		if p.Contains(Inside) {
			return fmt.Errorf("network %s contains %s, which turnout needs within the host (RFC 7335)", p, Inside)
		}
	}
	return nil
}

// insideConflicts refuses a host that has the address itself.
func insideConflicts(s *Spec, _ *State) ([]Conflict, error) {
	if !s.usesInside() {
		return nil, nil
	}
	addrs, err := dump(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, netlink.FAMILY_V4) })
	if err != nil {
		return nil, fmt.Errorf("listing the addresses: %w", err)
	}
	if !slices.ContainsFunc(addrs, func(a netlink.Addr) bool { return prefixOf(a.IPNet).Addr() == Inside }) {
		return nil, nil
	}
	return []Conflict{{Where: "address " + Inside.String(), Refuse: true,
		Why: "the host has it, and turnout needs it for forwards and accepted conversations: take it away"}}, nil
}

// listenSet holds the listed ports of a protocol.
func listenSet(proto byte) string {
	if proto == unix.IPPROTO_TCP {
		return "listentcp"
	}
	return "listenudp"
}

func listenSets(s *Spec) []set {
	var all []set
	for _, proto := range []byte{unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
		if elements := portElements(s.Listen, proto); len(elements) > 0 {
			all = append(all, set{listenSet(proto), nftables.TypeInetService, elements})
		}
	}
	return all
}

// portElements are the half-open intervals of the ports of a protocol, joined
// where they touch: an nft interval set takes no overlaps.
func portElements(ports []Port, proto byte) []nftables.SetElement {
	own := slices.DeleteFunc(slices.Clone(ports), func(p Port) bool { return p.Proto != proto })
	slices.SortFunc(own, func(a, b Port) int { return cmp.Compare(a.First, b.First) })
	var joined []Port
	for _, p := range own {
		if n := len(joined); n > 0 && int(p.First) <= int(joined[n-1].Last)+1 {
			joined[n-1].Last = max(joined[n-1].Last, p.Last)
			continue
		}
		joined = append(joined, p)
	}
	var all []nftables.SetElement
	for _, p := range joined {
		all = append(all, nftables.SetElement{Key: binary.BigEndian.AppendUint16(nil, p.First)})
		if p.Last < 65535 {
			all = append(all, nftables.SetElement{Key: binary.BigEndian.AppendUint16(nil, p.Last+1), IntervalEnd: true})
		}
	}
	return all
}

func fromInside() words { return rule(saddr(ipv4), is(Inside.AsSlice())) }
func toInside() words   { return rule(daddr(ipv4), is(Inside.AsSlice())) }

// rawInside keeps the conversations of the process tracked, for their
// translation. Answers to the address get it behind this chain: whoever sends
// to it or from it outright, on the LAN or beside the uplink, pretends.
func rawInside(s *Spec) []words {
	return []words{
		rule(toInside(), counter, drop),
		rule(iifname(s.TUN), fromInside(), accept),
		rule(fromInside(), counter, drop),
	}
}

// listenChain turns what LAN hosts send to listed ports over to the process. It
// comes before the usual priority: what is listed is meant, and Docker for one
// takes the same packets there (fib daddr type local) for a published port. The
// source counts, not the interface alone: on a stick the world comes by it too.
func listenChain(s *Spec, has func(string) bool) chain {
	c := chain{"listen", nftables.ChainTypeNAT, nftables.ChainHookPrerouting, *nftables.ChainPriorityNATDest - 10, nil}
	for _, proto := range []byte{unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
		if has(listenSet(proto)) {
			c.rules = append(c.rules, rule(meta(expr.MetaKeyIIFNAME), in(lanSet), from(ipv4, lanSet),
				fibType(), is([]byte{unix.RTN_LOCAL, 0, 0, 0}),
				l4proto(proto), words{payload(expr.PayloadBaseTransportHeader, 2, 2, reg1)}, in(listenSet(proto)),
				words{&expr.Immediate{Register: reg1, Data: Inside.AsSlice()}}, nat(expr.NATTypeDestNAT)))
		}
	}
	return c
}

// guardInside lets the process speak to the LAN only. Where the LAN's route is
// gone with its link, the main table would lead to the uplink.
func guardInside(s *Spec, has func(string) bool) []words {
	own := rule(iifname(s.TUN), fromInside())
	rules := []words{rule(own, toLAN(), to(ipv4, lanSet), accept)}
	if has(localSet) && has(localSet+ipv4.suffix()) {
		rules = append(rules, rule(own, meta(expr.MetaKeyOIFNAME), in(localSet), to(ipv4, localSet), accept))
	}
	return append(rules, rule(own, counter, drop))
}

// asIsChain lets the process see which LAN host asks. It comes before the usual
// priority, because a masquerade of everything that comes from the LAN is
// common there, and the first to decide about a source decides.
func asIsChain(s *Spec) chain {
	return chain{"asis", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, *nftables.ChainPriorityNATSource - 10, []words{
		rule(meta(expr.MetaKeyIIFNAME), in(lanSet), oifname(s.TUN), toInside(),
			words{payload(expr.PayloadBaseNetworkHeader, 12, 4, reg1)}, nat(expr.NATTypeSourceNAT)),
	}}
}

// insideChain sees every packet last, of the host itself too. To the address
// leads the TUN device alone, whatever the rules or a mark say; what still has
// it as source was not translated, as conntrack does not translate what it
// calls invalid, and nobody could answer.
func insideChain(s *Spec) chain {
	return chain{"inside", nftables.ChainTypeFilter, nftables.ChainHookPostrouting, afterForeign, []words{
		rule(oifname(s.TUN), accept),
		rule(toInside(), counter, drop),
		rule(fromInside(), counter, drop),
	}}
}

// insideRoute is a route of table T for the address alone. It names the source
// that a service of the gateway answers from when its socket names none, as
// most UDP servers' do: without it, the TUN device's address.
func insideRoute(table uint32, index int, source netip.Addr) *netlink.Route {
	r := viaTUN(table, index)
	r.Dst = ipNet(insidePrefix)
	if source.IsValid() {
		r.Src = source.AsSlice()
	}
	return r
}

// lanAddress is the first IPv4 address of the first LAN interface that has one.
func lanAddress(s *Spec) (netip.Addr, error) {
	for _, name := range s.lanNames() {
		own, err := Addresses(name)
		if err != nil {
			return netip.Addr{}, err
		}
		if own = pick(own, ipv4); len(own) > 0 {
			return own[0].Addr(), nil
		}
	}
	return netip.Addr{}, nil
}

// usedInside says whether a Set before asked for it.
func (s *State) usedInside() bool {
	return s != nil && slices.ContainsFunc(s.Rules, func(r Rule) bool { return r.To == insidePrefix })
}

// leaveInside undoes what setRoutes and the kernel did for it, behind its rule.
func (h *hand) leaveInside(s *Spec) error {
	tun, err := link(s.TUN)
	if err != nil {
		return err
	}
	h.forgetInside()
	return h.removeRoute(insideRoute(s.Table, tun.Attrs().Index, netip.Addr{}))
}

// forgetInside makes conntrack forget the conversations of the process. It
// would go on translating to an address that leads nowhere any more, or to the
// uplink.
func (h *hand) forgetInside() {
	err := h.step("forgetting the connections of "+Inside.String(), func() error {
		_, err := netlink.ConntrackDeleteFilters(netlink.ConntrackTable, netlink.FAMILY_V4, insideFlows{})
		return err
	})
	if err != nil { // a kernel without ctnetlink; it is no reason to stay closed
		h.log.Warn("connections of the process stay translated until they time out", "error", err)
	}
}

// insideFlows are those with the address on either side, in either direction.
type insideFlows struct{}

func (insideFlows) MatchConntrackFlow(f *netlink.ConntrackFlow) bool {
	return f.Forward.SrcIP.Equal(Inside.AsSlice()) || f.Reverse.SrcIP.Equal(Inside.AsSlice())
}
