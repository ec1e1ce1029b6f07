package classifier

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
)

// Limits of one policy. They bound the memory of a table that a slip of the
// pen would make huge; no configuration that a person wrote comes near them.
const (
	maxBoxes    = 1 << 22 // combinations over all entries, 28 bytes each
	maxSets     = 4096    // different long port lists, 8 KiB each
	shortRanges = 8       // a list of more port ranges becomes a set
)

// Compile builds the table of p, whose entries it takes in the order in which
// they stand. It keeps p and does not change it. The error names the line of
// the first entry that cannot be compiled. No address has a tag yet.
func Compile(p *Policy) (*Table, error) { return CompileTags(p, new(Tags)) }

// CompileTags is Compile for a table that shares what is known of single
// addresses, with the table that it will replace.
func CompileTags(p *Policy, tags *Tags) (*Table, error) {
	c := compiler{known: map[portSet]uint16{}}
	t := &Table{policy: p, tags: tags}
	if err := p.validSets(); err != nil {
		return nil, err
	}
	if err := c.outcomes(t, p); err != nil {
		return nil, err
	}
	for i := range p.Entries {
		if err := c.add(int32(i), &p.Entries[i]); err != nil {
			return nil, fmt.Errorf("%s: %w", p.Entries[i].Pos, err)
		}
		if err := p.Entries[i].validRefs(len(p.Sets)); err != nil {
			return nil, fmt.Errorf("%s: %w", p.Entries[i].Pos, err)
		}
		t.walked = t.walked || p.Entries[i].extended()
	}
	t.v4, t.v6, t.sets = c.v4.plane(true), c.v6.plane(false), c.sets
	return t, nil
}

// A compiler collects boxes, each with the prefixes that will give it numbers.
type compiler struct {
	v4, v6 draft
	sets   []portSet
	known  map[portSet]uint16 // sets by content, numbered from 1
	boxes  int
}

// A draft is a plane before its prefixes are numbered.
type draft []drawn

type drawn struct {
	dst, src netip.Prefix
	noSource bool // the entry's sources are all of the other family
	box
}

// outcomes fills in what each entry answers.
func (c *compiler) outcomes(t *Table, p *Policy) error {
	cover := make([]int32, len(p.Exits))
	for i, x := range p.Exits {
		if x.Covers == nil {
			continue
		}
		for _, q := range x.Covers {
			if err := valid(q); err != nil {
				return fmt.Errorf("exit %q: AllowedIPs: %w", x.Name, err)
			}
		}
		t.covers = append(t.covers, newCover(x.Covers))
		cover[i] = int32(len(t.covers))
	}
	t.outcomes = make([]outcome, len(p.Entries))
	for i, e := range p.Entries {
		if int(e.Exit) >= len(p.Exits) {
			return fmt.Errorf("%s: exit number %d of %d does not exist", e.Pos, e.Exit, len(p.Exits))
		}
		t.outcomes[i] = outcome{e.Exit, e.By, cover[e.Exit]}
	}
	return nil
}

// newCover compiles a list of prefixes; an empty one covers nothing.
func newCover(list []netip.Prefix) cover {
	var four, six []netip.Prefix
	for _, p := range list {
		if p.Addr().Is4() {
			four = append(four, p.Masked())
		} else {
			six = append(six, p.Masked())
		}
	}
	var c cover
	c.v4, _ = newAxis(true, four)
	c.v6, _ = newAxis(false, six)
	c.all4 = slices.Contains(four, everything(true))
	c.all6 = slices.Contains(six, everything(false))
	return c
}

// add draws the boxes of one entry into the planes of the families it speaks of.
func (c *compiler) add(i int32, e *Entry) error {
	if err := e.valid(); err != nil {
		return err
	}
	rest, err := c.combinations(i, e)
	if err != nil {
		return err
	}
	for _, v4 := range []bool{true, false} {
		to, ok := family(e.To, v4)
		if !ok {
			continue
		}
		// Without a source of this family nothing can match, but Explain
		// wants to know how far a packet got.
		from, ok := family(e.From, v4)
		if !ok {
			from = []netip.Prefix{everything(v4)}
		}
		if c.boxes += len(to) * len(from) * len(rest); c.boxes > maxBoxes {
			return fmt.Errorf("too many combinations of its prefixes, protocols and ports: %d of at most %d in all; use shorter lists or wider prefixes", c.boxes, maxBoxes)
		}
		d := &c.v4
		if !v4 {
			d = &c.v6
		}
		for _, dst := range to {
			for _, src := range from {
				for _, b := range rest {
					*d = append(*d, drawn{dst, src, !ok, b})
				}
			}
		}
	}
	return nil
}

// combinations returns a box for each combination of e's protocols, ports and
// DSCP values.
func (c *compiler) combinations(i int32, e *Entry) ([]box, error) {
	to, toSet, err := c.portList(e.Ports)
	if err != nil {
		return nil, err
	}
	from, fromSet, err := c.portList(e.FromPorts)
	if err != nil {
		return nil, err
	}
	base := box{entry: i, portSet: toSet, fromSet: fromSet}
	if len(e.Ports)+len(e.FromPorts) > 0 {
		base.flags |= namesPorts
	}
	var out []box
	for _, p := range to {
		for _, f := range from {
			b := base
			b.ports, b.from = p, f
			out = append(out, b)
		}
	}
	out = times(out, e.Protos, func(b *box, proto uint8) { b.proto, b.flags = proto, b.flags|namesProto })
	return times(out, e.DSCP, func(b *box, value uint8) { b.dscp, b.flags = value, b.flags|namesDSCP }), nil
}

// times returns each box with each value set; with no values, the boxes.
func times(boxes []box, values []uint8, set func(*box, uint8)) []box {
	if len(values) == 0 {
		return boxes
	}
	values = slices.Clone(values)
	slices.Sort(values)
	values = slices.Compact(values)
	out := make([]box, 0, len(boxes)*len(values))
	for _, b := range boxes {
		for _, v := range values {
			c := b
			set(&c, v)
			out = append(out, c)
		}
	}
	return out
}

// portList returns the ranges to make boxes of, and the number of the set
// that says the rest when they are many.
func (c *compiler) portList(list []PortRange) ([]PortRange, uint16, error) {
	if len(list) == 0 {
		return []PortRange{{0, math.MaxUint16}}, 0, nil
	}
	list = merge(list)
	if len(list) <= shortRanges {
		return list, 0, nil
	}
	var s portSet
	for _, r := range list {
		s.add(r)
	}
	number, ok := c.known[s]
	if !ok {
		if len(c.sets) == maxSets {
			return nil, 0, fmt.Errorf("more than %d different port lists of more than %d ranges; use fewer or shorter ones", maxSets, shortRanges)
		}
		c.sets = append(c.sets, s)
		number = uint16(len(c.sets))
		c.known[s] = number
	}
	return []PortRange{{list[0].Lo, list[len(list)-1].Hi}}, number, nil
}

// plane numbers the prefixes and sorts the boxes into their lists.
func (d draft) plane(v4 bool) plane {
	var dsts, srcs []netip.Prefix
	for i := range d {
		dsts, srcs = append(dsts, d[i].dst), append(srcs, d[i].src)
	}
	var p plane
	var byDst, bySrc numbering
	p.dst, byDst = newAxis(v4, dsts)
	p.src, bySrc = newAxis(v4, srcs)

	p.nodes = make([]node, len(byDst.prefixes))
	number := make([]uint32, len(d))
	for i := range d {
		number[i] = byDst.number(d[i].dst)
		p.nodes[number[i]].end++
	}
	next := uint32(0)
	for n := range p.nodes {
		size := p.nodes[n].end
		p.nodes[n] = node{first: next, end: next, parent: byDst.parent[n], best: nothing}
		next += size
	}
	p.boxes = make([]box, len(d))
	for i := range d { // in order of priority, so each list is too
		b := d[i].box
		if d[i].noSource {
			b.srcLo, b.srcHi = math.MaxUint32, math.MaxUint32
		} else {
			b.srcLo = bySrc.number(d[i].src)
			b.srcHi = bySrc.last[b.srcLo]
		}
		n := &p.nodes[number[i]]
		p.boxes[n.end] = b
		n.end++
		n.best = min(n.best, b.entry)
	}
	for n := range p.nodes { // a parent's number is the smaller: it is done before
		p.nodes[n].best = min(p.nodes[n].best, p.nodes[p.nodes[n].parent].best)
	}
	return p
}
