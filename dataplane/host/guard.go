package host

import (
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

const (
	guardChain = "guard"
	lanSet     = "lan"    // LAN interfaces; lan4 and lan6 their prefixes
	errorSet   = "errors" // types of ICMP errors
	localSet   = "local"  // interfaces that lead to [lan] local; local4 and local6 its prefixes

	// afterForeign is behind every usual firewall's chain of a hook: what it
	// sees, they let pass.
	afterForeign = 300
)

// newRuleset tells the whole table, in the order in which a packet meets it;
// the chains that only Inside needs follow, in that order too.
func newRuleset(s *Spec, local []netip.Prefix, localIfs []string) ruleset {
	r := ruleset{sets: newSets(s, local, localIfs)}
	has := func(name string) bool {
		for _, s := range r.sets {
			if s.name == name {
				return true
			}
		}
		return false
	}
	r.chains = []chain{
		rawChain(s, has),
		directChain(s),
		guardRules(s, has),
		inboundChain(s, has),
		quotesChain(s, has),
		srcnatChain(s),
	}
	if s.usesInside() {
		r.chains = append(r.chains, listenChain(s, has), asIsChain(s), insideChain(s))
	}
	return r
}

// newSets has no empty sets: the rules ask which are there.
func newSets(s *Spec, local []netip.Prefix, localIfs []string) []set {
	all := []set{{lanSet, nftables.TypeIFName, nameElements(s.lanNames())}}
	if len(localIfs) > 0 {
		all = append(all, set{localSet, nftables.TypeIFName, nameElements(localIfs)})
	}
	all = append(all, set{outsideSet, nftables.TypeIFName, nameElements(union(s.lanNames(), s.Uplinks))})
	for _, f := range []family{ipv4, ipv6} {
		key := nftables.TypeIPAddr
		if f == ipv6 {
			key = nftables.TypeIP6Addr
		}
		for _, group := range []struct {
			name     string
			prefixes []netip.Prefix
		}{{lanSet, s.lanPrefixes()}, {localSet, local}} {
			if some := pick(group.prefixes, f); len(some) > 0 {
				all = append(all, set{group.name + f.suffix(), key, prefixElements(some)})
			}
		}
	}
	all = append(all, listenSets(s)...)
	all = append(all, set{errorSet, nftables.TypeICMPType, byteElements(icmpErrors)})
	if private := privateOf(pick(s.lanPrefixes(), ipv4)); len(private) > 0 {
		all = append(all, set{privateSet, nftables.TypeIPAddr, prefixElements(private)})
	}
	return all
}

func notFromLAN() words { return rule(meta(expr.MetaKeyIIFNAME), notIn(lanSet)) }
func toLAN() words      { return rule(meta(expr.MetaKeyOIFNAME), in(lanSet)) }
func notToLAN() words   { return rule(meta(expr.MetaKeyOIFNAME), notIn(lanSet)) }

func from(f family, set string) words  { return rule(saddr(f), in(set+f.suffix())) }
func to(f family, set string) words    { return rule(daddr(f), in(set+f.suffix())) }
func notTo(f family, set string) words { return rule(daddr(f), notIn(set+f.suffix())) }

// rawChain keeps conntrack out of what the process handles. A LAN packet must
// leave no entry on its way in: written back for direct it would meet that
// entry, skip the nat chains and leave with its LAN source. A tunnel's packet
// must leave none either: to conntrack it is an answer to nothing, invalid.
func rawChain(s *Spec, has func(string) bool) chain {
	c := chain{"raw", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, *nftables.ChainPriorityRaw, nil}
	if s.usesInside() {
		c.rules = rawInside(s)
	}
	c.rules = append(c.rules,
		rule(iifname(s.TUN), to(ipv4, lanSet), words{&expr.Notrack{}}, accept),
		rule(notFromLAN(), accept),
		rule(meta(expr.MetaKeyNFPROTO), not(nfproto(ipv4)), accept),
		// The host's own addresses, broadcast and multicast are the host's business.
		rule(fibType(), not([]byte{unix.RTN_UNICAST, 0, 0, 0}), accept),
		rule(to(ipv4, lanSet), accept))
	if has(localSet + ipv4.suffix()) {
		c.rules = append(c.rules, rule(to(ipv4, localSet), accept))
	}
	c.rules = append(c.rules,
		rule(tuple(false), inTuple(inboundSet), accept),
		rule(words{&expr.Notrack{}}))
	return c
}

// guardRules is the guard: LAN packets go into the TUN device, to each other,
// or nowhere, and packets to the LAN go to the LAN. IPv6 has no way through the process yet, so it has none here.
func guardRules(s *Spec, has func(string) bool) chain {
	c := chain{guardChain, nftables.ChainTypeFilter, nftables.ChainHookForward, *nftables.ChainPriorityFilter - 10, nil}
	if s.usesInside() {
		c.rules = guardInside(s, has)
	}
	c.rules = append(c.rules,
		// A LAN interface that is down has taken its routes along: main's
		// default would lead what a tunnel sends to the LAN out of the uplink.
		rule(iifname(s.TUN), to(ipv4, lanSet), notToLAN(), counter, drop),
		rule(notFromLAN(), accept),
		rule(oifname(s.TUN), only(ipv4), accept),
		// The prefix counts, not the interface alone: on a stick the uplink is
		// a LAN interface.
		rule(toLAN(), to(ipv4, lanSet), accept))
	if has(lanSet + ipv6.suffix()) {
		c.rules = append(c.rules, rule(toLAN(), to(ipv6, lanSet), accept))
	}
	for _, f := range []family{ipv4, ipv6} {
		if has(localSet) && has(localSet+f.suffix()) {
			c.rules = append(c.rules, rule(meta(expr.MetaKeyOIFNAME), in(localSet), to(f, localSet), accept))
		}
	}
	c.rules = append(c.rules,
		rule(only(ipv4), meta(expr.MetaKeyMARK), masked(s.DirectMask, s.DirectMark), accept),
		rule(counter, drop))
	return c
}

// icmpErrors are the types that quote a packet (RFC 792; 4 and 5 obsolete).
var icmpErrors = []byte{3, 4, 5, 11, 12}

// quotesChain stops the kernel from telling a tunnel's far end who we are. A
// packet from a tunnel that it cannot deliver to the LAN makes it send an ICMP
// error by the uplink, from the uplink's address. Those about direct traffic
// are related to a connection and pass.
func quotesChain(s *Spec, has func(string) bool) chain {
	c := chain{"quotes", nftables.ChainTypeFilter, nftables.ChainHookOutput, *nftables.ChainPriorityFilter, []words{
		rule(meta(expr.MetaKeyL4PROTO), not([]byte{unix.IPPROTO_ICMP}), accept),
		rule(to(ipv4, lanSet), accept),
	}}
	if s.usesInside() {
		c.rules = append(c.rules, rule(toInside(), accept)) // no way but into the TUN device: insideChain
	}
	if has(localSet + ipv4.suffix()) {
		c.rules = append(c.rules, rule(to(ipv4, localSet), accept))
	}
	c.rules = append(c.rules, rule(ctState(ctRelated), accept))
	for _, p := range pick(s.lanPrefixes(), ipv4) {
		c.rules = append(c.rules, rule(only(ipv4), l4proto(unix.IPPROTO_ICMP),
			words{payload(expr.PayloadBaseTransportHeader, 0, 1, reg1)}, in(errorSet),
			// 8 bytes of ICMP, then the quoted header with its destination at 16.
			words{payload(expr.PayloadBaseTransportHeader, 24, 4, reg1)}, masked(prefixWords(p)), counter, drop))
	}
	return c
}

// srcnatChain gives direct traffic the address of whichever uplink it leaves
// by. What goes to the LAN comes from a tunnel and keeps its source, unless that
// is the process itself. It runs after the usual priority, so that an
// administrator's own snat comes first.
func srcnatChain(s *Spec) chain {
	c := chain{"srcnat", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, *nftables.ChainPriorityNATSource + 10, []words{
		rule(iifname(s.TUN), notTo(ipv4, lanSet), words{&expr.Masq{}}),
	}}
	if s.usesInside() {
		c.rules = append(c.rules, rule(iifname(s.TUN), fromInside(), words{&expr.Masq{}}))
	}
	return c
}
