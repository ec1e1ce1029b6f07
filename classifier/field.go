package classifier

// A field is what a packet can fail an entry by, in the order in which
// Explain asks.
type field uint8

const (
	destination field = iota
	notDestination
	source
	notSource
	protocol
	ports
	sourcePorts
	dscp
	tag
	none // all fields match
)

// String returns the field in words; "later" for none, because an entry that
// matches and did not decide came after the one that did.
func (f field) String() string {
	return [...]string{
		"destination", "not destination", "source", "not source",
		"protocol", "ports", "source ports", "dscp", "tag", "later",
	}[f]
}
