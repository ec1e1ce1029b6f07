package ruleset

import (
	"math/rand/v2"
	"net/netip"
)

// Router draws a policy of the shape that a policy router has: 45 in 100 lines
// are destination prefixes of the lengths that routing tables have, 35 are
// single learnt addresses, the rest is destinations with ports, sources, DSCP
// and the like; the last line is the default.
func Router(r *rand.Rand, n int) []Rule {
	out := make([]Rule, n)
	for i := range out {
		out[i] = anything()
		if i < n-1 {
			out[i].route(r)
		}
	}
	return out
}

func (x *Rule) route(r *rand.Rand) {
	switch k := r.IntN(100); {
	case k < 45:
		x.Dst = public(r, routed(r))
	case k < 80:
		x.Dst = public(r, 32)
	case k < 88:
		x.Dst = public(r, routed(r))
		x.Proto, x.DstPorts = transport(r), service(r)
	case k < 91:
		x.Src = host(r)
	case k < 93:
		x.Src = host(r)
		x.Proto, x.DstPorts = transport(r), service(r)
	case k < 96:
		x.Src, x.Dst = host(r), public(r, routed(r))
	case k < 97:
		x.Dst, x.DSCP = public(r, routed(r)), r.IntN(64)
	case k < 98:
		x.Proto, x.DstPorts = transport(r), service(r)
	case k < 99:
		x.Src, x.DSCP = host(r), r.IntN(64)
	default:
		p := uint16(1024 + r.IntN(60000))
		x.Src, x.Proto, x.SrcPorts = host(r), transport(r), Ports{p, p}
	}
}

// routed draws a prefix length as routing tables have them.
func routed(r *rand.Rand) int {
	switch k := r.IntN(100); {
	case k < 56:
		return 24
	case k < 78:
		return 22 + r.IntN(2)
	case k < 96:
		return 16 + r.IntN(6)
	default:
		return 10 + r.IntN(6)
	}
}

// public draws a prefix among the addresses that are routed.
func public(r *rand.Rand, bits int) netip.Prefix {
	n := 1<<24 + r.Uint32N(222<<24)
	return netip.PrefixFrom(addr4(n), bits).Masked()
}

// host draws a host of a LAN of 65,536.
func host(r *rand.Rand) netip.Prefix {
	return netip.PrefixFrom(addr4(192<<24|168<<16|r.Uint32N(1<<16)), 32)
}

func addr4(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}

func transport(r *rand.Rand) int { return [...]int{6, 6, 17}[r.IntN(3)] }

// service draws the ports of a service: mostly one of the known, else a range.
func service(r *rand.Rand) Ports {
	known := [...]uint16{22, 25, 53, 80, 110, 123, 143, 443, 853, 993, 1194, 3389, 5060, 8080, 8443}
	if r.IntN(3) > 0 {
		p := known[r.IntN(len(known))]
		return Ports{p, p}
	}
	lo := uint16(1024 + r.IntN(60000))
	return Ports{lo, lo + uint16(r.IntN(1000))}
}
