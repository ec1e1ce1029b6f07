package host

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Priorities of the rules, relative to Spec.Priority.
const (
	ruleOwn     = iota // A: our own sockets go by main
	ruleOwnStop        // B: ... and never into our own TUN device
	ruleDirect         //    LAN packets that answer an inbound connection
	ruleReturn         // C: what the process writes to the TUN device
	ruleLocal          // D: the LAN to itself and to [lan] local
	ruleCapture        // E: everything else of the LAN
	ruleInside         // F: all to Inside. What A takes before is stopped by insideChain
	numPriorities
)

// Rule is a policy rule of ours, comparable: it is recognised after a crash by
// all that it says.
type Rule struct {
	Family   family       `json:"family"`
	Priority uint32       `json:"priority"`
	In       string       `json:"iif,omitempty"`
	To       netip.Prefix `json:"to,omitzero"`
	Mark     uint32       `json:"fwmark,omitempty"`
	Mask     uint32       `json:"fwmask,omitempty"`
	Table    uint32       `json:"table,omitempty"` // 0: Refuse
	Refuse   uint8        `json:"refuse,omitempty"`
}

// String is the rule as `ip rule` writes it.
func (r Rule) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s rule %d: from all", r.Family, r.Priority)
	if r.To.IsValid() {
		fmt.Fprintf(&b, " to %s", r.To)
	}
	if r.Mask != 0 {
		fmt.Fprintf(&b, " fwmark %#x/%#x", r.Mark, r.Mask)
	}
	if r.In != "" {
		fmt.Fprintf(&b, " iif %s", r.In)
	}
	switch r.Refuse {
	case unix.RTN_UNREACHABLE:
		b.WriteString(" unreachable")
	case unix.RTN_PROHIBIT:
		b.WriteString(" prohibit")
	default:
		fmt.Fprintf(&b, " lookup %d", r.Table)
	}
	return b.String()
}

// wantedRules are all rules of s, in the order in which they are added: those
// that capture come after the exceptions from them.
func wantedRules(s *Spec, local []netip.Prefix) []Rule {
	var all []Rule
	for _, f := range families() {
		add := func(r Rule, nth uint32) {
			r.Family, r.Priority = f, s.Priority+nth
			all = append(all, r)
		}
		add(Rule{Mark: s.Mark, Mask: s.Mask, Table: unix.RT_TABLE_MAIN}, ruleOwn)
		add(Rule{Mark: s.Mark, Mask: s.Mask, Refuse: unix.RTN_UNREACHABLE}, ruleOwnStop)
		near := merge(append(pick(s.lanPrefixes(), f), pick(local, f)...))
		for _, in := range s.lanNames() {
			for _, p := range near {
				add(Rule{In: in, To: p, Table: unix.RT_TABLE_MAIN}, ruleLocal)
			}
			if f == ipv6 {
				// Answers the host with "administratively prohibited", with
				// IPv6 forwarding on or off; an nft reject needs it on.
				add(Rule{In: in, Refuse: unix.RTN_PROHIBIT}, ruleCapture)
			}
		}
		if f == ipv4 {
			add(Rule{Mark: s.DirectMark, Mask: s.DirectMask, Table: unix.RT_TABLE_MAIN}, ruleDirect)
			add(Rule{In: s.TUN, Table: unix.RT_TABLE_MAIN}, ruleReturn)
			for _, in := range s.lanNames() {
				add(Rule{In: in, Table: s.Table}, ruleCapture)
			}
			if s.usesInside() {
				add(Rule{To: insidePrefix, Table: s.Table}, ruleInside)
			}
		}
	}
	return all
}

func (r Rule) netlink() *netlink.Rule {
	n := netlink.NewRule()
	n.Family, n.Priority = int(r.Family), int(r.Priority)
	n.IifName = r.In
	n.Table, n.Type = int(r.Table), r.Refuse
	// systemd-networkd deletes foreign rules at its restart, except these.
	n.Protocol = unix.RTPROT_KERNEL
	if r.To.IsValid() {
		n.Dst = ipNet(r.To)
	}
	if r.Mask != 0 {
		n.Mark, n.Mask = r.Mark, &r.Mask
	}
	return n
}

// is reports whether the kernel's rule n is r. The library does not tell which
// refusal a rule without a table is; our priorities do.
func (r Rule) is(n netlink.Rule) bool {
	mask := uint32(0)
	if n.Mask != nil {
		mask = *n.Mask
	}
	return n.Priority == int(r.Priority) && n.Family == int(r.Family) &&
		n.IifName == r.In && prefixOf(n.Dst) == r.To && n.Mark == r.Mark && mask == r.Mask && n.Table == int(r.Table) &&
		n.Src == nil && n.OifName == "" && !n.Invert && n.Tos == 0 && n.IPProto == 0 && n.Sport == nil && n.Dport == nil &&
		n.UIDRange == nil && n.SuppressPrefixlen < 0 && n.SuppressIfgroup < 0 && n.Goto < 0
}

func listRules() ([]netlink.Rule, error) {
	var all []netlink.Rule
	for _, f := range families() {
		rules, err := dump(func() ([]netlink.Rule, error) { return netlink.RuleList(int(f)) })
		if err != nil {
			return nil, fmt.Errorf("listing the %s rules: %w", f, err)
		}
		all = append(all, rules...)
	}
	return all, nil
}

// setRules adds the wanted rules that are missing, then removes those among
// known that are not wanted any more.
func (h *hand) setRules(wanted, known []Rule) error {
	there, err := listRules()
	if err != nil {
		return err
	}
	for _, r := range wanted {
		if slices.ContainsFunc(there, r.is) {
			continue
		}
		err := h.step("adding "+r.String(), func() error { return netlink.RuleAdd(r.netlink()) })
		if err != nil && !errors.Is(err, syscall.EEXIST) {
			return err
		}
	}
	return h.removeRules(slices.DeleteFunc(slices.Clone(known), func(r Rule) bool { return slices.Contains(wanted, r) }))
}

// removeRules takes the last ones first: the capture goes before the
// exceptions from it.
func (h *hand) removeRules(rules []Rule) error {
	there, err := listRules()
	if err != nil {
		return err
	}
	var errs []error
	for _, r := range slices.Backward(rules) {
		if !slices.ContainsFunc(there, r.is) {
			continue
		}
		err := h.step("removing "+r.String(), func() error { return netlink.RuleDel(r.netlink()) })
		if !errors.Is(err, syscall.ENOENT) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
