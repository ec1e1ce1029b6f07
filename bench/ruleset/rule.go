// Package ruleset makes the rule sets that the classifier is measured and
// tried with: policies of a router's shape, sets of the shapes that ClassBench
// makes from real filters, shapes that are hard on purpose, and the ClassBench
// files themselves. A set follows from its seed. It says nothing in the
// classifier's own types, so that the classifier's tests can use it too.
package ruleset

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
)

// A Rule is one line of a set; the first that matches wins.
type Rule struct {
	Src, Dst           netip.Prefix
	SrcPorts, DstPorts Ports
	Proto              int // -1: any
	DSCP               int // -1: any
}

// Ports are Lo to Hi, both included.
type Ports struct{ Lo, Hi uint16 }

// AnyPort matches packets without ports too.
var AnyPort = Ports{0, 65535}

// A Header is what a packet shows to a rule.
type Header struct {
	Src, Dst         netip.Addr
	SrcPort, DstPort uint16
	Proto            uint8
	DSCP             uint8
}

// any4 and any6 are everything.
var (
	any4 = netip.MustParsePrefix("0.0.0.0/0")
	any6 = netip.MustParsePrefix("::/0")
)

// anything is the rule that matches everything of IPv4.
func anything() Rule {
	return Rule{Src: any4, Dst: any4, SrcPorts: AnyPort, DstPorts: AnyPort, Proto: -1, DSCP: -1}
}

// To6 returns the rules with their IPv4 prefixes moved into IPv6: each is
// spread over the first 64 bits of 2000::/3, and its length is doubled.
func To6(rules []Rule) []Rule {
	out := make([]Rule, len(rules))
	for i, r := range rules {
		r.Src, r.Dst = to6(r.Src), to6(r.Dst)
		out[i] = r
	}
	return out
}

func to6(p netip.Prefix) netip.Prefix {
	if p.Bits() == 0 {
		return any6
	}
	n := p.Addr().As4()
	var b [16]byte
	b[0] = 0x20 | n[0]>>3
	binary.BigEndian.PutUint32(b[1:], binary.BigEndian.Uint32(n[:])<<5)
	bits := 3 + p.Bits()
	if p.Bits() == 32 {
		bits = 128
	}
	return netip.PrefixFrom(netip.AddrFrom16(b), bits).Masked()
}

// Traffic draws n headers, each a random point in a random rule.
func Traffic(r *rand.Rand, rules []Rule, n int) []Header {
	out := make([]Header, n)
	for i := range out {
		out[i] = rules[r.IntN(len(rules))].Point(r)
	}
	return out
}

// Point draws a header that the rule matches.
func (x *Rule) Point(r *rand.Rand) Header {
	h := Header{
		Src: inside(r, x.Src), Dst: inside(r, x.Dst),
		SrcPort: x.SrcPorts.draw(r), DstPort: x.DstPorts.draw(r),
		Proto: [...]uint8{6, 6, 17}[r.IntN(3)], DSCP: uint8(r.IntN(64)),
	}
	if x.Proto >= 0 {
		h.Proto = uint8(x.Proto)
	}
	if x.DSCP >= 0 {
		h.DSCP = uint8(x.DSCP)
	}
	return h
}

func (p Ports) draw(r *rand.Rand) uint16 {
	return p.Lo + uint16(r.IntN(int(p.Hi)-int(p.Lo)+1))
}

// inside draws an address of a prefix.
func inside(r *rand.Rand, p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := range b {
		host := byte(0xff)
		switch {
		case p.Bits() >= 8*(i+1):
			host = 0
		case p.Bits() > 8*i:
			host = 0xff >> (p.Bits() - 8*i)
		}
		b[i] |= byte(r.Uint32()) & host
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}
