package classifier

import "turnout/classifier/packet"

// A Table is a compiled Policy: immutable, safe for concurrent use.
type Table struct {
	policy   *Policy
	tags     *Tags
	v4, v6   plane
	outcomes []outcome // by entry
	covers   []cover
}

// An outcome is what an entry answers.
type outcome struct {
	exit  ExitID
	by    By
	cover int32 // index in covers plus one; 0: the exit carries everything
}

// Policy returns the policy that t was compiled from. It must not be changed.
func (t *Table) Policy() *Policy { return t.policy }

// Tags returns what t knows of single addresses. See Tags for who may write.
func (t *Table) Tags() *Tags { return t.tags }

// Lookup returns the policy's answer for a decoded packet. It does not
// allocate, and never fails: where no entry matches, the answer is Reject by
// default with Entry -1.
func (t *Table) Lookup(v *packet.View) Verdict {
	return t.verdict(v, t.plane(v).first(v, t.tags))
}

func (t *Table) plane(v *packet.View) *plane {
	if v.Version == 6 {
		return &t.v6
	}
	return &t.v4
}

func (t *Table) verdict(v *packet.View, entry int32) Verdict {
	if entry == nothing {
		return Verdict{Exit: Reject, By: ByDefault, Entry: -1}
	}
	o := &t.outcomes[entry]
	if o.cover != 0 && !t.covers[o.cover-1].has(v) {
		return Verdict{Exit: Reject, By: o.by, NotCovered: true, Entry: entry}
	}
	return Verdict{Exit: o.exit, By: o.by, Entry: entry}
}

// has reports whether the destination of v is among those of c.
func (c *cover) has(v *packet.View) bool {
	if v.Version == 6 {
		return c.v6.has(v.Dst)
	}
	return c.v4.has(v.Dst)
}

func (s *addresses) has(a packet.Addr) bool {
	if s.all {
		return true
	}
	n := s.find(a)
	return s.in[n>>6]>>(n&63)&1 != 0
}
