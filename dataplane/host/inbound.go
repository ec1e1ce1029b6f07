package host

import (
	"net/netip"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Connections that someone outside opened to a LAN host, by an administrator's
// port forward for example, must be answered the way they came. The capture
// rule would send the answers to the process. So the kernel notes each such
// flow, reversed, as it passes to the LAN; an answer that is found there is
// tracked, gets the direct mark and goes by main.
const (
	inboundSet = "inbound" // LAN address . remote address . protocol . LAN port . remote port
	outsideSet = "outside" // uplinks, and the LAN because of sticks
	privateSet = "private4"

	inboundSetID = 1
	inboundFlows = 131072
	// As long as a NAT must remember an idle connection (RFC 5382, 5; RFC 4787,
	// 4.3). Either side's packets renew it.
	inboundTCP = 2*time.Hour + 4*time.Minute
	inboundUDP = 5 * time.Minute
)

func newInboundSet(t *nftables.Table) *nftables.Set {
	return &nftables.Set{
		Table: t, ID: inboundSetID, Name: inboundSet, Dynamic: true, HasTimeout: true, Concatenation: true, Size: inboundFlows,
		KeyType: nftables.MustConcatSetType(nftables.TypeIPAddr, nftables.TypeIPAddr, nftables.TypeInetProto,
			nftables.TypeInetService, nftables.TypeInetService),
	}
}

func inTuple(set string) words { return words{&expr.Lookup{SourceRegister: reg4, SetName: set}} }
func notInTuple(set string) words {
	return words{&expr.Lookup{SourceRegister: reg4, SetName: set, Invert: true}}
}

// inboundChain notes the flows. It sees only what every foreign firewall let
// pass. From the uplink a private address must have been reached by dnat: a
// neighbour there who sends to a LAN address outright could otherwise pull a
// tunnel's flow out into the open.
func inboundChain(s *Spec, has func(string) bool) chain {
	c := chain{"inbound", nftables.ChainTypeFilter, nftables.ChainHookForward, afterForeign, []words{
		rule(iifname(s.TUN), accept),
		rule(notToLAN(), accept),
		rule(meta(expr.MetaKeyNFPROTO), not(nfproto(ipv4)), accept),
		rule(notTo(ipv4, lanSet), accept),
	}}
	if has(privateSet) {
		c.rules = append(c.rules, rule(meta(expr.MetaKeyIIFNAME), in(outsideSet),
			daddr(ipv4), in(privateSet), ct(expr.CtKeySTATUS), noneOf(ctDNAT), accept))
	}
	// Only what started outside: the answers to direct traffic pass here too.
	c.rules = append(c.rules,
		rule(l4proto(unix.IPPROTO_TCP), ctDirection(ctOriginal), tuple(true), update(inboundSet, inboundTCP)),
		rule(l4proto(unix.IPPROTO_UDP), ctDirection(ctOriginal), tuple(true), update(inboundSet, inboundUDP)))
	return c
}

// directChain marks the answers. It runs after mangle, where others may set
// marks anew, and makes the direct mark ours alone. An answer that conntrack
// does not know any more would leave with its LAN source: it is dropped and
// its flow forgotten, so that a new one goes by policy.
func directChain(s *Spec) chain {
	answer := func(proto byte, t time.Duration) words {
		return rule(l4proto(proto), ctDirection(ctReply), tuple(false), update(inboundSet, t),
			setMark(s.DirectMask, s.DirectMark), accept)
	}
	return chain{"direct", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, *nftables.ChainPriorityMangle + 10, []words{
		rule(notFromLAN(), accept),
		rule(meta(expr.MetaKeyMARK), anyOf(s.DirectMask), setMark(s.DirectMask, 0)),
		rule(meta(expr.MetaKeyNFPROTO), not(nfproto(ipv4)), accept),
		rule(ctState(ctUntracked), accept),
		rule(tuple(false), notInTuple(inboundSet), accept),
		answer(unix.IPPROTO_TCP, inboundTCP),
		answer(unix.IPPROTO_UDP, inboundUDP),
		rule(tuple(false), inTuple(inboundSet), remove(inboundSet), drop),
	}}
}

// privateOf are the prefixes that only dnat can reach from outside.
func privateOf(prefixes []netip.Prefix) []netip.Prefix {
	shared := netip.MustParsePrefix("100.64.0.0/10") // RFC 6598
	var private []netip.Prefix
	for _, p := range prefixes {
		if p.Addr().IsPrivate() || p.Addr().IsLinkLocalUnicast() || shared.Contains(p.Addr()) {
			private = append(private, p)
		}
	}
	return private
}
