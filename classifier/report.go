package classifier

// A Report is what a table costs. The worst path is over all packets that
// there can be, of the family that is worse off: a real packet may never see it.
type Report struct {
	Entries  int // lines of the policy
	Boxes    int // combinations of their lists that the table holds
	Nodes    int // decisions
	Bytes    int // memory of the table without the policy itself
	Compared int // entries compared on the worst path
	Depth    int // decisions taken on the worst path
}

// Report says what the table costs.
func (t *Table) Report() Report {
	return Report{Entries: len(t.policy.Entries)}
}
