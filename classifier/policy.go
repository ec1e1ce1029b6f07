package classifier

import (
	"net/netip"
	"strconv"
)

// An ExitID names an exit by its index in Policy.Exits. The first three are
// always the built-in exits.
type ExitID uint16

const (
	Direct ExitID = iota
	Drop
	Reject
	FirstNamed // tunnels and groups follow
)

// Kind says what an exit is.
type Kind uint8

const (
	KindDirect Kind = iota
	KindDrop
	KindReject
	KindTunnel
	KindGroup
)

// String returns "direct", "drop", "reject", "tunnel" or "group".
func (k Kind) String() string {
	return [...]string{"direct", "drop", "reject", "tunnel", "group"}[k]
}

// An Exit is what policy can answer.
type Exit struct {
	Name string
	Kind Kind
	// Covers, when not nil, lists the only destinations that the exit can
	// carry: the AllowedIPs of a tunnel that is not widened. A verdict for
	// another destination becomes a rejection with reason NotCovered.
	Covers []netip.Prefix
	// Members of a group, in listed order; empty otherwise.
	Members []ExitID
}

// By says which part of the policy decided.
type By uint8

const (
	ByRule By = iota
	ByRoute
	ByAllowedIPs
	ByDefault

	// Beside the policy: a port forward, and what a tunnel's far hosts may
	// start. No Entry has these; flows do.
	ByForward
	ByAccept
)

// String returns "rule", "route", "allowed-ips", "default", "forward" or
// "accept".
func (b By) String() string {
	return [...]string{"rule", "route", "allowed-ips", "default", "forward", "accept"}[b]
}

// Pos is where a line of the configuration stands.
type Pos struct {
	File string // as the operator wrote it or as found relative to the main file
	Line int    // from 1; 0 when the file as a whole is meant
}

// String returns "file:line", or the file alone.
func (p Pos) String() string {
	if p.Line == 0 {
		return p.File
	}
	return p.File + ":" + strconv.Itoa(p.Line)
}

// A PortRange is Lo to Hi, both included.
type PortRange struct{ Lo, Hi uint16 }

// A Set is a named list of prefixes that any number of entries may use.
type Set struct {
	Name     string
	Pos      Pos
	Prefixes []netip.Prefix // none: no address is in the set
}

// An Entry is one line of the policy. Empty lists match everything.
// An entry that names ports (From or To side) never matches a packet without ports.
//
// The destination matches when it is in any of To or of the sets ToSets (or
// when both are empty), and in none of NotTo and of the sets NotToSets; the
// source likewise.
type Entry struct {
	By   By
	Exit ExitID
	Name string // of a rule, may be empty
	Text string // the line as written, for a person
	Pos  Pos

	From, To         []netip.Prefix
	FromSets, ToSets []int // indices in Policy.Sets
	NotFrom, NotTo   []netip.Prefix
	NotFromSets      []int
	NotToSets        []int
	Protos           []uint8     // empty: any. A rule with ports but no protocol has TCP and UDP here
	FromPorts, Ports []PortRange // source and destination ports
	DSCP             []uint8     // empty: any; else the values that match
	Tags             []uint32    // empty: any; else what Tags must say of the destination
}

// A Policy is one first-match list: rules as written, then routes and
// AllowedIPs in the order that Sort gives them, then the default. When no
// entry matches, the verdict is Reject by default.
type Policy struct {
	Exits   []Exit
	Entries []Entry
	Sets    []Set
}

// A Verdict is the policy's answer for one packet.
type Verdict struct {
	Exit       ExitID // Reject when NotCovered
	By         By
	NotCovered bool  // Entry's exit does not carry this destination
	Entry      int32 // index in Policy.Entries; -1: nothing matched
}
