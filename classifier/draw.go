package classifier

import (
	"cmp"
	"fmt"
	"slices"
)

// A drawer turns the entries of a policy into the boxes of one family.
type drawer struct {
	sideMaker
	ports  *portDrawer
	limits limits
	tags   []uint32       // the tags that entries name, in order
	asSets map[int32]bool // entries whose larger side becomes a set

	boxes    []box
	dst, src []span // of each box, where addresses are no numbers yet
	extras   []extra
	extraNo  map[extra]uint32 // numbers from 1
	sets     [][]span
	setNo    map[string]uint32 // numbers from 1, by side.key
}

// draw returns the boxes of a policy in one family, in order of the entries.
func draw(p *Policy, v4 bool, ports *portDrawer, tags []uint32, with limits) (*drawer, error) {
	d := &drawer{
		sideMaker: newSideMaker(p, v4), ports: ports, tags: tags, limits: with,
		extraNo: map[extra]uint32{}, setNo: map[string]uint32{},
	}
	d.boxes = make([]box, 0, len(p.Entries))
	d.choose()
	for i := range p.Entries {
		if err := d.entry(int32(i), &p.Entries[i]); err != nil {
			return nil, fmt.Errorf("%s: %w", p.Entries[i].Pos, err)
		}
	}
	return d, nil
}

// A large is an entry whose addresses could be many boxes.
type large struct {
	entry  int32
	side       // the larger one
	needed int // boxes
}

// choose fills in asSets: the entries of the few largest sides, and whatever
// else would make more boxes than there are lines to read.
func (d *drawer) choose() {
	list, lines := d.large()
	slices.SortFunc(list, func(a, b large) int {
		return cmp.Or(cmp.Compare(len(b.spans), len(a.spans)), cmp.Compare(a.entry, b.entry))
	})
	d.asSets = map[int32]bool{}
	chosen := map[string]bool{}
	for _, l := range list {
		if chosen[l.key] || len(chosen) < d.limits.bigSides && len(l.spans) >= d.limits.bigSide {
			chosen[l.key], d.asSets[l.entry] = true, true
		}
	}
	slices.SortFunc(list, func(a, b large) int {
		return cmp.Or(cmp.Compare(a.needed, b.needed), cmp.Compare(a.entry, b.entry))
	})
	room := d.limits.room + 2*lines
	for _, l := range list {
		if d.asSets[l.entry] {
			continue
		}
		if room -= l.needed; room < 0 {
			d.asSets[l.entry] = true
		}
	}
}

// large returns the entries that could be many boxes, and how many lines the
// policy has, those of sets included.
func (d *drawer) large() (list []large, lines int) {
	for i := range d.p.Sets {
		lines += len(d.p.Sets[i].Prefixes)
	}
	for i := range d.p.Entries {
		e := &d.p.Entries[i]
		lines += 1 + len(e.To) + len(e.From)
		if e.plain(d.limits.few) {
			continue
		}
		to, from := d.side(e.to()), d.side(e.from())
		l := large{int32(i), to, len(to.spans) * len(from.spans) * e.others()}
		if len(from.spans) > len(to.spans) {
			l.side = from
		}
		if l.needed > d.limits.few {
			list = append(list, l)
		}
	}
	return list, lines
}

// plain reports whether e surely makes few boxes.
func (e *Entry) plain(few int) bool {
	return len(e.ToSets)+len(e.FromSets)+len(e.NotToSets)+len(e.NotFromSets) == 0 &&
		(len(e.To)+len(e.NotTo)+1)*(len(e.From)+len(e.NotFrom)+1)*e.others() <= few
}

// others returns how many combinations there are, at most, besides addresses.
func (e *Entry) others() int {
	return max(1, len(e.Protos)) * max(1, min(shortList, len(e.Ports))) * max(1, min(shortList, len(e.FromPorts))) *
		max(1, len(e.DSCP)) * max(1, len(e.Tags))
}

// entry draws the boxes of one entry.
func (d *drawer) entry(i int32, e *Entry) error {
	dst, src := d.side(e.to()), d.side(e.from())
	if len(dst.spans) == 0 || len(src.spans) == 0 {
		return nil
	}
	rest, err := d.others(i, e)
	if err != nil {
		return err
	}
	var x extra
	if d.asSets[i] {
		larger, other := &dst, &src
		number, otherNumber := &x.dstSet, &x.srcSet
		if len(dst.spans) < len(src.spans) {
			larger, other, number, otherNumber = other, larger, otherNumber, number
		}
		*number = d.asSet(larger)
		if len(other.spans)*len(rest) > d.limits.few {
			*otherNumber = d.asSet(other)
		}
	}
	if err := d.fits(len(dst.spans), len(src.spans), len(rest)); err != nil {
		return err
	}
	for _, to := range dst.spans {
		for _, from := range src.spans {
			for _, r := range rest {
				d.add(r, to, from, x)
			}
		}
	}
	return nil
}

// fits refuses more boxes than a table may have.
func (d *drawer) fits(combinations ...int) error {
	n := 1
	for _, c := range combinations {
		n *= max(1, c)
	}
	if n += len(d.boxes); n > d.limits.boxes {
		return fmt.Errorf("too many combinations of its protocols, ports, DSCP values and prefixes: %d of at most %d in all; use shorter lists", n, d.limits.boxes)
	}
	return nil
}

// asSet puts one span around a side, and returns the number of the set that
// says which of its addresses are meant. One span needs none.
func (d *drawer) asSet(s *side) uint32 {
	if len(s.spans) == 1 {
		return 0
	}
	number, ok := d.setNo[s.key]
	if !ok {
		d.sets = append(d.sets, s.spans)
		number = uint32(len(d.sets))
		d.setNo[s.key] = number
	}
	s.spans = []span{bounds(s.spans)}
	return number
}

// drawn is a box without addresses, its extra not numbered yet.
type drawn struct {
	box
	extra
}

// add puts the addresses to a box and the box to the others.
func (d *drawer) add(r drawn, to, from span, x extra) {
	b := r.box
	x.portSet, x.fromSet, x.tag = r.portSet, r.fromSet, r.tag
	if x != (extra{}) {
		number, ok := d.extraNo[x]
		if !ok {
			d.extras = append(d.extras, x)
			number = uint32(len(d.extras))
			d.extraNo[x] = number
		}
		b.extra = number
	}
	if d.v4 {
		b.lo[dimDst], b.hi[dimDst] = to.lo.V4(), to.hi.V4()
		b.lo[dimSrc], b.hi[dimSrc] = from.lo.V4(), from.hi.V4()
	} else {
		d.dst, d.src = append(d.dst, to), append(d.src, from)
	}
	d.boxes = append(d.boxes, b)
}

// others returns a box for each combination of what e says besides addresses.
func (d *drawer) others(i int32, e *Entry) ([]drawn, error) {
	ports, portSet, err := d.ports.draw(e.Ports)
	if err != nil {
		return nil, err
	}
	from, fromSet, err := d.ports.draw(e.FromPorts)
	if err != nil {
		return nil, err
	}
	protos, values := e.protocols(), e.codepoints()
	if err := d.fits(len(protos), len(ports), len(from), len(values), len(e.Tags)); err != nil {
		return nil, err
	}
	var out []drawn
	base := drawn{box: anyBox(i), extra: extra{portSet: portSet, fromSet: fromSet}}
	for _, proto := range protos {
		base.lo[dimProto], base.hi[dimProto] = proto.lo, proto.hi
		for _, r := range ports {
			base.lo[dimPort], base.hi[dimPort] = r.lo, r.hi
			for _, r := range from {
				base.lo[dimFromPort], base.hi[dimFromPort] = r.lo, r.hi
				for _, base.dscp = range values {
					out = d.tagged(out, base, e.Tags)
				}
			}
		}
	}
	return out, nil
}

// tagged adds base, once for each tag.
func (d *drawer) tagged(out []drawn, base drawn, tags []uint32) []drawn {
	if len(tags) == 0 {
		return append(out, base)
	}
	for _, t := range tags {
		n, _ := slices.BinarySearch(d.tags, t)
		base.tag = uint32(n) + 1
		base.lo[dimTag], base.hi[dimTag] = base.tag, base.tag
		out = append(out, base)
	}
	return out
}
