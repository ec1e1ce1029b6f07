package control

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Query asks where one packet would go. Zero From, and absent FromPort, let a
// stand-in be chosen; the Answer echoes it.
type Query struct {
	To       netip.Addr `json:"to"`
	Proto    uint8      `json:"proto"`          // IP protocol number; TCP and UDP need Port
	Port     uint16     `json:"port,omitempty"` // destination port
	From     netip.Addr `json:"from,omitzero"`
	FromPort uint16     `json:"from_port,omitempty"`
	DSCP     uint8      `json:"dscp,omitempty"` // 0 to 63
}

// Validate says what is wrong with q, in the words of the command's flags.
func (q Query) Validate() error {
	ports := q.Proto == 6 || q.Proto == 17
	switch {
	case !q.To.IsValid():
		return fmt.Errorf("--to is missing: the address that the packet is for")
	case q.To.Zone() != "" || q.From.Zone() != "":
		return fmt.Errorf("an address with a zone (%%) is never routed")
	case q.From.IsValid() && q.From.Unmap().Is4() != q.To.Unmap().Is4():
		return fmt.Errorf("--from %v and --to %v are of different families", q.From, q.To)
	case ports && q.Port == 0:
		return fmt.Errorf("--proto %s needs --port, 1 to 65535", ProtoName(q.Proto))
	case !ports && (q.Port != 0 || q.FromPort != 0):
		return fmt.Errorf("--proto %s has no ports; ports go with tcp and udp", ProtoName(q.Proto))
	case q.DSCP > 63:
		return fmt.Errorf("--dscp %d is out of range, 0 to 63", q.DSCP)
	}
	return nil
}

// Complete sets the protocol by its name, or without one to TCP when there is a
// destination port and to ICMP elsewhere, and validates q.
func (q *Query) Complete(proto string) (err error) {
	switch {
	case proto == "" && q.Port != 0:
		proto = "tcp"
	case proto == "":
		proto = "icmp"
	}
	if q.Proto, err = ParseProto(proto); err != nil {
		return err
	}
	return q.Validate()
}

// MaxBatch is how many queries one request may ask.
const MaxBatch = 256

// A Batch asks about many packets at once, for their verdicts more than for
// all that lost.
type Batch struct {
	Queries []Query `json:"queries"` // at most MaxBatch
	All     bool    `json:"all,omitempty"`
}

// Validate says which query is wrong, and why.
func (b Batch) Validate() error {
	if len(b.Queries) > MaxBatch {
		return fmt.Errorf("%d queries in one request; at most %d are allowed", len(b.Queries), MaxBatch)
	}
	for i, q := range b.Queries {
		if err := q.Validate(); err != nil {
			return fmt.Errorf("query %d: %w", i+1, err)
		}
	}
	return nil
}

// Answer says where a packet goes and why. Every verdict is an answer, also
// one that drops the packet.
type Answer struct {
	Exit   string `json:"exit"`             // "tunnel", "direct", "drop" or "reject"
	Tunnel string `json:"tunnel,omitempty"` // its name when Exit is "tunnel"
	Group  string `json:"group,omitempty"`  // when policy named a group: Tunnel is its live member
	By     string `json:"by"`               // "rule", "route", "allowed-ips" or "default"
	Match  *Line  `json:"match"`            // the line that decided; null: nothing matched
	Reason string `json:"reason,omitempty"` // why it is rejected although the line names another exit
	Note   string `json:"note,omitempty"`   // what else happens to this packet

	Considered []Lost `json:"considered"`     // what lost, in the order of the policy
	More       int    `json:"more,omitempty"` // how many more lost, by their destination most of all

	// The packet that was asked about, stand-ins included.
	From     netip.Addr `json:"from"`
	FromPort uint16     `json:"from_port,omitempty"`
	To       netip.Addr `json:"to"`
	Proto    string     `json:"proto"`
	Port     uint16     `json:"port,omitempty"`
	DSCP     uint8      `json:"dscp"`

	// Depends lists the lines that could decide otherwise had the packet another
	// source than the stand-in; empty when the source was asked for.
	Depends []Line `json:"depends"`
}

// Line is one line of the configuration.
type Line struct {
	Text string `json:"text"` // as written
	At   string `json:"at"`   // where, for a person: "file:line"
	File string `json:"file"`
	Line int    `json:"line"`           // from 1; 0: the file as a whole
	Name string `json:"name,omitempty"` // of a rule
}

// Lost is a line that did not decide.
type Lost struct {
	Exit   string `json:"exit"`
	Tunnel string `json:"tunnel,omitempty"`
	Group  string `json:"group,omitempty"`
	By     string `json:"by"`
	Match  Line   `json:"match"`
	Lost   string `json:"lost"` // the field that did not match, or "later": it matches too, but comes after
}

var protoNames = map[uint8]string{1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6"}

// ProtoName returns the name of an IP protocol, or its number.
func ProtoName(n uint8) string {
	if s, ok := protoNames[n]; ok {
		return s
	}
	return strconv.Itoa(int(n))
}

// ParseProto reads what ProtoName writes.
func ParseProto(s string) (uint8, error) {
	for n, name := range protoNames {
		if strings.EqualFold(s, name) {
			return n, nil
		}
	}
	n, err := strconv.ParseUint(s, 10, 8)
	if err != nil {
		return 0, fmt.Errorf("protocol %q: tcp, udp, icmp, icmpv6 or a number from 0 to 255", s)
	}
	return uint8(n), nil
}
