package classifier

import "turnout/classifier/packet"

// An Explanation is a verdict together with what lost.
type Explanation struct {
	Verdict
	Considered []Lost // every other entry, in order of priority
}

// A Lost is an entry that did not decide, and why.
type Lost struct {
	Entry int32 // index in Policy.Entries
	// Field is the first of "destination", "not destination", "source", "not
	// source", "protocol", "ports", "source ports", "dscp" and "tag" that the
	// packet fails the entry by; "later" for an entry that would match too but
	// comes after the one that decided.
	Field string
}

// Explain gives the verdict that Lookup gives, and says of every other entry
// why it did not decide. It takes time in proportion to the policy.
func (t *Table) Explain(v *packet.View) Explanation {
	x := Explanation{Verdict: t.Lookup(v)}
	w := t.policy.walk(v, t.tags)
	for i := range t.policy.Entries {
		if int32(i) != x.Entry {
			x.Considered = append(x.Considered, Lost{int32(i), w.fails(&t.policy.Entries[i]).String()})
		}
	}
	return x
}
