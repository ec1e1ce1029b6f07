package ruleset

import (
	"bufio"
	"fmt"
	"io"
	"math/bits"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Parse reads a filter set in the form of ClassBench: one rule a line,
// "@src/len dst/len lo : hi lo : hi proto/mask flags/mask". The flags are not
// used.
func Parse(in io.Reader) ([]Rule, error) {
	var out []Rule
	lines := bufio.NewScanner(in)
	for n := 1; lines.Scan(); n++ {
		f := strings.Fields(lines.Text())
		if len(f) == 0 {
			continue
		}
		r, err := parse(f)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		out = append(out, r)
	}
	return out, lines.Err()
}

func parse(f []string) (Rule, error) {
	r := anything()
	if len(f) < 9 || !strings.HasPrefix(f[0], "@") || f[3] != ":" || f[6] != ":" {
		return r, fmt.Errorf("%q is no rule", strings.Join(f, " "))
	}
	var err error
	if r.Src, err = netip.ParsePrefix(f[0][1:]); err != nil {
		return r, err
	}
	if r.Dst, err = netip.ParsePrefix(f[1]); err != nil {
		return r, err
	}
	r.Src, r.Dst = r.Src.Masked(), r.Dst.Masked()
	for i, p := range []*uint16{&r.SrcPorts.Lo, &r.SrcPorts.Hi, &r.DstPorts.Lo, &r.DstPorts.Hi} {
		n, err := strconv.ParseUint(f[[...]int{2, 4, 5, 7}[i]], 10, 16)
		if err != nil {
			return r, err
		}
		*p = uint16(n)
	}
	value, mask, _ := strings.Cut(f[8], "/")
	if !strings.EqualFold(mask, "0x00") {
		n, err := strconv.ParseUint(value, 0, 8)
		if err != nil {
			return r, err
		}
		r.Proto = int(n)
	}
	return r, nil
}

// A Shape says what a set of Like looks like.
type Shape struct {
	Name string
	// How many of 100 rules have any source, any destination, any protocol.
	AnySrc, AnyDst, AnyProto int
	// How many of 100 prefixes are single addresses, and how many grow out of
	// a prefix that the set has already.
	Hosts, Nested int
	// How many of 100 rules name source ports, and destination ports.
	SrcPorts, DstPorts int
	// How many of 100 rules are an earlier one with one field changed.
	Similar int
}

// Shapes are of access lists, firewalls and IP chains, by the statistics that
// the authors of ClassBench published of real ones.
var Shapes = []Shape{
	{"acl", 2, 1, 8, 60, 70, 0, 85, 40},
	{"fw", 25, 20, 12, 30, 60, 30, 60, 30},
	{"ipc", 12, 12, 25, 55, 65, 12, 40, 35},
}

// Like draws n rules of a shape. Prefixes nest and repeat as they do in a real
// set, because each side draws from a pool that grows with it.
func Like(r *rand.Rand, s Shape, n int) []Rule {
	src, dst := pool{Rand: r, Shape: s, size: 8 + n/6}, pool{Rand: r, Shape: s, size: 8 + n/6}
	out := make([]Rule, 0, n)
	seen := map[Rule]bool{}
	for len(out) < n {
		x := anything()
		if len(out) > 0 && r.IntN(100) < s.Similar {
			x = out[r.IntN(len(out))]
			x.change(r, &src, &dst)
		} else {
			x.fill(r, s, &src, &dst)
		}
		if seen[x] && r.IntN(20) > 0 { // few are written twice
			continue
		}
		seen[x] = true
		out = append(out, x)
	}
	narrowFirst(r, out)
	return out
}

// narrowFirst brings rules into the order that people write them in: what is
// narrow before what is wide, more or less.
func narrowFirst(r *rand.Rand, rules []Rule) {
	type placed struct {
		Rule
		width int
	}
	list := make([]placed, len(rules))
	for i, x := range rules {
		width := 64 - x.Src.Bits() - x.Dst.Bits() + bits.Len16(x.SrcPorts.Hi-x.SrcPorts.Lo) + bits.Len16(x.DstPorts.Hi-x.DstPorts.Lo)
		if x.Proto < 0 {
			width += 8
		}
		list[i] = placed{x, width + r.IntN(16)}
	}
	slices.SortStableFunc(list, func(a, b placed) int { return a.width - b.width })
	for i := range list {
		rules[i] = list[i].Rule
	}
}

func (x *Rule) fill(r *rand.Rand, s Shape, src, dst *pool) {
	chance := func(n int) bool { return r.IntN(100) < n }
	if !chance(s.AnySrc) {
		x.Src = src.draw()
	}
	if !chance(s.AnyDst) {
		x.Dst = dst.draw()
	}
	if chance(s.AnyProto) {
		return
	}
	x.Proto = [...]int{6, 6, 6, 17, 17, 1, 47, 50}[r.IntN(8)]
	if x.Proto != 6 && x.Proto != 17 {
		return
	}
	if chance(s.DstPorts) {
		x.DstPorts = listed(r)
	}
	if chance(s.SrcPorts) {
		x.SrcPorts = listed(r)
	}
}

// change draws one field of a rule again.
func (x *Rule) change(r *rand.Rand, src, dst *pool) {
	switch k := r.IntN(3); {
	case k == 0:
		x.Src = src.draw()
	case k == 1 || x.Proto != 6 && x.Proto != 17:
		x.Dst = dst.draw()
	default:
		x.DstPorts = listed(r)
	}
}

// listed draws the ports of a rule as filters have them: mostly one, else all
// that are high or low, or a range.
func listed(r *rand.Rand) Ports {
	switch k := r.IntN(20); {
	case k < 14:
		return service(r)
	case k < 16:
		return Ports{1024, 65535}
	case k < 17:
		return Ports{0, 1023}
	}
	lo := uint16(r.IntN(60000))
	return Ports{lo, lo + uint16(r.IntN(5000))}
}

// A pool is the prefixes that one side of a set names.
type pool struct {
	*rand.Rand
	Shape
	size int
	list []netip.Prefix
}

func (p *pool) draw() netip.Prefix {
	if len(p.list) == p.size || len(p.list) > 0 && p.IntN(4) == 0 {
		return p.list[p.IntN(len(p.list))]
	}
	length := 16 + p.IntN(15)
	if p.IntN(100) < p.Hosts {
		length = 32
	}
	n := public(p.Rand, length)
	if len(p.list) > 0 && p.IntN(100) < p.Nested { // near one that is there
		near := p.list[p.IntN(len(p.list))]
		wide := netip.PrefixFrom(near.Addr(), max(8, min(near.Bits(), 24)-p.IntN(8))).Masked()
		n = netip.PrefixFrom(inside(p.Rand, wide), length).Masked()
	}
	p.list = append(p.list, n)
	return n
}
