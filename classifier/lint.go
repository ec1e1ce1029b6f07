package classifier

// A Finding is something about a policy that is legal and probably not meant.
type Finding struct {
	Entry int32  // index in Policy.Entries; in Policy.Sets for EmptySet
	Other int32  // the entry that it is about besides, or -1
	Kind  string // one of the constants below
	Text  string // in words, without the two positions
}

const (
	Unreachable = "unreachable" // Other takes every packet that Entry could
	Overlap     = "overlap"     // Entry and Other partly match the same packets and differ in exit: order alone decides
	EmptySet    = "empty-set"   // the set holds no address
)

// Lint finds what a person should look at, in order of the entries.
func Lint(p *Policy) []Finding {
	var out []Finding
	for i := range p.Sets {
		if len(p.Sets[i].Prefixes) == 0 {
			out = append(out, Finding{int32(i), -1, EmptySet, "the set " + p.Sets[i].Name + " holds no address: whatever names it matches nothing"})
		}
	}
	return out
}
