package control

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Flow is one conversation of the flow table at one moment. The near side is
// where it touches the gateway first: the LAN, or of a relayed conversation the
// tunnel whose far host began it.
type Flow struct {
	Exit       string `json:"exit"`             // "tunnel", "direct", or "hairpin": two LAN hosts by a tunnel's own address
	Tunnel     string `json:"tunnel,omitempty"` // that carries it, or whose address a hairpin uses
	Group      string `json:"group,omitempty"`  // when policy named a group
	Near       string `json:"near"`             // "lan" or "tunnel"
	NearTunnel string `json:"near_tunnel,omitempty"`
	Inbound    bool   `json:"inbound"` // the far side began it

	// The ends as the near host knows them. Of an ICMP echo the identifier
	// stands in FromPort and MappedPort; other protocols have no ports.
	Proto    string     `json:"proto"`
	From     netip.Addr `json:"from"` // the near host
	FromPort uint16     `json:"from_port,omitempty"`
	To       netip.Addr `json:"to"`
	Port     uint16     `json:"port,omitempty"`
	// The ends as the far host knows them, where they differ. The kernel maps
	// direct flows, to what is not known here.
	Mapped     netip.Addr `json:"mapped,omitzero"` // in place of From
	MappedPort uint16     `json:"mapped_port,omitempty"`
	Far        netip.Addr `json:"far,omitzero"` // in place of To
	FarPort    uint16     `json:"far_port,omitempty"`

	State   string `json:"state"`          // "established"
	By      string `json:"by,omitempty"`   // "rule", "route", "allowed-ips", "default", "forward" or "accept"; absent: not known
	Match   *Line  `json:"match"`          // the line that decided; null: not known
	Earlier bool   `json:"earlier_policy"` // an earlier policy decided, whose lines are not known any more

	// Whole seconds: since the first packet, since the last that kept the flow
	// alive, and until it is forgotten if none comes; sooner in a full table.
	Age     uint32 `json:"age_seconds"`
	Idle    uint32 `json:"idle_seconds"`
	Expires uint32 `json:"expires_seconds"`

	// Traffic from the near host and to it, as far as it passed the TUN device:
	// nothing that comes back of a direct flow. A super-packet counts as one.
	BytesOut   uint64 `json:"bytes_out"`
	BytesIn    uint64 `json:"bytes_in"`
	PacketsOut uint32 `json:"packets_out"`
	PacketsIn  uint32 `json:"packets_in"`
}

// Filter selects flows: those that fit all of what is set.
type Filter struct {
	Tunnel string       `json:"tunnel,omitempty"` // the name of the exit or of the near side; "direct"
	From   netip.Prefix `json:"from,omitzero"`    // has the near host
	To     netip.Prefix `json:"to,omitzero"`      // has the other end, as either side knows it
	Proto  string       `json:"proto,omitempty"`  // as ProtoName writes it
	Port   uint16       `json:"port,omitempty"`   // of TCP and UDP: of the end that was called, as either side knows it
}

// String writes f as flags; "--all" when it selects every flow.
func (f Filter) String() string {
	var b strings.Builder
	add := func(flag, value string, set bool) {
		if set {
			fmt.Fprintf(&b, " --%s %s", flag, value)
		}
	}
	add("tunnel", f.Tunnel, f.Tunnel != "")
	add("from", f.From.String(), f.From.IsValid())
	add("to", f.To.String(), f.To.IsValid())
	add("proto", f.Proto, f.Proto != "")
	add("port", fmt.Sprint(f.Port), f.Port != 0)
	add("all", "", f == Filter{})
	return strings.TrimSpace(b.String())
}

// Validate says what is wrong with f, in the words of the command's flags.
func (f Filter) Validate() error {
	for _, p := range []netip.Prefix{f.From, f.To} {
		if p.Addr().Is4In6() {
			return fmt.Errorf("%v is an IPv4 address written as IPv6: leave ::ffff: away", p)
		}
	}
	if f.Proto == "" {
		return nil
	}
	n, err := ParseProto(f.Proto)
	if err != nil {
		return err
	}
	if name := ProtoName(n); name != f.Proto {
		return fmt.Errorf("protocol %q is called %q", f.Proto, name)
	}
	if f.Port != 0 && !hasPorts(f.Proto) {
		return fmt.Errorf("--proto %s has no ports; ports go with tcp and udp", f.Proto)
	}
	return nil
}

// known says which names there are when f asks for a tunnel that is not one.
func (f Filter) known(tunnels []Tunnel) error {
	if f.Tunnel == "" {
		return nil
	}
	names := []string{"direct"}
	for _, t := range tunnels {
		names = append(names, t.Name)
	}
	if slices.Contains(names, f.Tunnel) {
		return nil
	}
	return fmt.Errorf("there is no tunnel %q; there are: %s", f.Tunnel, strings.Join(names, ", "))
}

// Match reports whether w is a flow that f, which is valid, selects.
func (f *Filter) Match(w *Flow) bool {
	switch {
	case f.Proto != "" && f.Proto != w.Proto:
		return false
	case f.Port != 0 && !f.called(w):
		return false
	case f.From.IsValid() && !f.From.Contains(w.From):
		return false
	case f.To.IsValid() && !f.To.Contains(w.To) && !f.To.Contains(w.Far):
		return false
	case f.Tunnel == "direct":
		return w.Exit == "direct" // no tunnel has this name
	case f.Tunnel != "":
		return f.Tunnel == w.Tunnel || f.Tunnel == w.NearTunnel
	}
	return true
}

// called reports whether w was begun towards the filter's port.
func (f *Filter) called(w *Flow) bool {
	switch {
	case !hasPorts(w.Proto):
		return false
	case w.Inbound:
		return f.Port == w.FromPort || f.Port == w.MappedPort
	}
	return f.Port == w.Port || f.Port == w.FarPort
}

func hasPorts(proto string) bool { return proto == "tcp" || proto == "udp" }

// MaxFlows is how many flows a request may have chosen and sorted for it.
const MaxFlows = 50_000

// FlowsRequest is the body of POST /v1/flows.
type FlowsRequest struct {
	Filter
	Limit int `json:"limit,omitempty"` // the busiest so many, at most MaxFlows; 0: all, in no order
}

// Validate says what is wrong with q, in the words of the command's flags.
func (q FlowsRequest) Validate() error {
	if q.Limit < 0 || q.Limit > MaxFlows {
		return fmt.Errorf("--limit %d is out of range, 1 to %d", q.Limit, MaxFlows)
	}
	return q.Filter.Validate()
}

// DropRequest is the body of POST /v1/flows/drop.
type DropRequest struct {
	Filter
	All bool `json:"all,omitempty"` // every flow; without a filter only
}

// Validate says what is wrong with q, in the words of the command's flags.
func (q DropRequest) Validate() error {
	switch none := q.Filter == (Filter{}); {
	case none && !q.All:
		return errors.New("--drop needs one of --tunnel, --from, --to, --proto and --port, or --all")
	case !none && q.All:
		return errors.New("--all is every flow: it does not go with a filter")
	}
	return q.Filter.Validate()
}

// Dropped says how many flows were forgotten.
type Dropped struct {
	Flows int `json:"dropped"`
}
