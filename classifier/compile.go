package classifier

import (
	"fmt"
	"net/netip"
	"slices"
)

// Compile builds the table of p, whose entries it takes in the order in which
// they stand. It keeps p and does not change it. The error names the line of
// the first entry that cannot be compiled. No address has a tag yet.
func Compile(p *Policy) (*Table, error) { return CompileTags(p, new(Tags)) }

// CompileTags is Compile for a table that shares what is known of single
// addresses, with the table that it will replace.
func CompileTags(p *Policy, tags *Tags) (*Table, error) { return compile(p, tags, standard) }

func compile(p *Policy, tags *Tags, with limits) (*Table, error) {
	if err := p.valid(); err != nil {
		return nil, err
	}
	t := &Table{policy: p, tags: tags}
	t.setOutcomes(p)
	named := p.tags()
	ports := &portDrawer{limits: with, known: map[portSet]uint32{}}
	for _, v4 := range []bool{true, false} {
		d, err := draw(p, v4, ports, named, with)
		if err != nil {
			return nil, err
		}
		q := d.plane()
		q.tags = named
		if v4 {
			t.v4 = q
		} else {
			t.v6 = q
		}
	}
	t.v4.portSets, t.v6.portSets = ports.sets, ports.sets
	return t, nil
}

// tags returns the tags that entries name, in order.
func (p *Policy) tags() []uint32 {
	var out []uint32
	for i := range p.Entries {
		out = append(out, p.Entries[i].Tags...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// setOutcomes fills in what each entry answers.
func (t *Table) setOutcomes(p *Policy) {
	cover := make([]int32, len(p.Exits))
	for i, x := range p.Exits {
		if x.Covers != nil {
			t.covers = append(t.covers, newCover(x.Covers))
			cover[i] = int32(len(t.covers))
		}
	}
	t.outcomes = make([]outcome, len(p.Entries))
	for i := range p.Entries {
		e := &p.Entries[i]
		t.outcomes[i] = outcome{e.Exit, e.By, cover[e.Exit]}
	}
}

// plane compiles the boxes of one family.
func (d *drawer) plane() plane {
	var p plane
	if !d.v4 {
		d.addresses(&p)
	}
	p.extras = d.extras
	if len(d.sets) > 0 {
		p.sets = newAxis(d.v4, slices.Concat(d.sets...))
		for _, s := range d.sets {
			p.bits = append(p.bits, p.sets.bits(s))
		}
	}
	b := builder{boxes: d.boxes, out: &p, limits: d.limits, hasExtras: len(d.extras) > 0}
	list := make([]int32, len(d.boxes))
	for i := range list {
		list[i] = int32(i)
	}
	all := region{hi: anyBox(0).hi}
	tree := b.build(list, &all, d.limits.copies, 0)
	p.root, p.compared, p.depth = tree.way, int(tree.compared), int(tree.depth)
	p.boxes = len(d.boxes)
	p.clip()
	return p
}

// addresses gives the boxes of IPv6 their numbers.
func (d *drawer) addresses(p *plane) {
	p.dst, p.src = newAxis(false, d.dst), newAxis(false, d.src)
	number := func(x *axis, s span) (uint32, uint32) {
		lo, hi := x.interval(s)
		if s.hi == d.every[0].hi {
			hi = every.hi
		}
		return lo, hi
	}
	for i := range d.boxes {
		b := &d.boxes[i]
		b.lo[dimDst], b.hi[dimDst] = number(&p.dst, d.dst[i])
		b.lo[dimSrc], b.hi[dimSrc] = number(&p.src, d.src[i])
	}
}

// bits returns a bit for each interval, set where list is. The edges of list
// are known to x.
func (x *axis) bits(list []span) []uint64 {
	out := make([]uint64, len(x.edges)/64+1)
	for _, s := range list {
		lo, hi := x.interval(s)
		for n := lo; n <= hi; n++ {
			out[n>>6] |= 1 << (n & 63)
		}
	}
	return out
}

// clip gives back the memory that growing took too much.
func (p *plane) clip() {
	p.nodes, p.roots, p.cuts = slices.Clone(p.nodes), slices.Clone(p.roots), slices.Clone(p.cuts)
	p.entries, p.extraOf = slices.Clone(p.entries), slices.Clone(p.extraOf)
}

// A cover is the set of destinations that an exit carries.
type cover struct{ v4, v6 addresses }

// addresses is a set of addresses of one family.
type addresses struct {
	axis
	in  []uint64 // by interval
	all bool
}

// newCover compiles a list of prefixes; an empty one covers nothing.
func newCover(list []netip.Prefix) cover {
	return cover{newAddresses(true, list), newAddresses(false, list)}
}

func newAddresses(v4 bool, list []netip.Prefix) addresses {
	m := newSideMaker(&Policy{}, v4)
	spans := m.union(choice{list: list})
	a := addresses{axis: newAxis(v4, spans)}
	a.in = a.bits(spans)
	a.all = slices.Equal(spans, m.every)
	return a
}

// valid refuses what the configuration should not have let through: here it
// would become a table that answers wrongly.
func (p *Policy) valid() error {
	if len(p.Entries) > maxEntries {
		return fmt.Errorf("%d entries of at most %d", len(p.Entries), maxEntries)
	}
	for _, x := range p.Exits {
		for _, q := range x.Covers {
			if err := valid(q); err != nil {
				return fmt.Errorf("exit %q: AllowedIPs: %w", x.Name, err)
			}
		}
	}
	if err := p.validSets(); err != nil {
		return err
	}
	for i := range p.Entries {
		e := &p.Entries[i]
		if int(e.Exit) >= len(p.Exits) {
			return fmt.Errorf("%s: exit number %d of %d does not exist", e.Pos, e.Exit, len(p.Exits))
		}
		if err := e.valid(len(p.Sets)); err != nil {
			return fmt.Errorf("%s: %w", e.Pos, err)
		}
	}
	return nil
}
