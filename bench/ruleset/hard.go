package ruleset

import (
	"math/rand/v2"
	"net/netip"
)

// Overlapping draws rules that overlap in three dimensions at once, none of
// which hides another: prefixes that nest, and ranges of ports that all share
// their middle. No structure of linear memory splits them well.
func Overlapping(r *rand.Rand, n int) []Rule {
	out := make([]Rule, n)
	for i := range out {
		x := anything()
		// The wider in one dimension, the narrower in another.
		a, b := r.IntN(30000), r.IntN(30000)
		c := max(0, 45000-a-b) + r.IntN(500)
		x.Proto = 17
		x.SrcPorts = Ports{uint16(32000 - a), uint16(33000 + a)}
		x.DstPorts = Ports{uint16(32000 - b), uint16(33000 + b)}
		x.Dst = netip.PrefixFrom(addr4(10<<24|uint32(r.IntN(4))), 8+min(24, c*25/45500)).Masked()
		out[i] = x
	}
	return out
}
