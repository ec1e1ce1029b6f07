package host

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"github.com/google/nftables/xt"
)

// A pass is a packet's way that a foreign forward chain must leave open.
type pass struct {
	from, to string // interfaces
	answers  bool   // only packets of known connections
	why      string
}

// String is the pass as an nft rule. It has no quotes where nft needs none: a
// log escapes them, and what stands there could not be pasted.
func (p pass) String() string {
	state := ""
	if p.answers {
		state = "ct state established,related "
	}
	return fmt.Sprintf("iifname %s oifname %s %saccept comment %s", nftName(p.from), nftName(p.to), state, tableName)
}

// same reports whether one rule does for both.
func (p pass) same(q pass) bool { return p.String() == q.String() }

// plainName is an interface's name that nft takes as one word, and for no word
// of its own language, which are letters only but for the second.
var (
	plainName = regexp.MustCompile(`^[A-Za-z][A-Za-z_.-]*[0-9][A-Za-z0-9_.-]*$`)
	nftWord   = regexp.MustCompile(`^(ip6|icmpv6)$`)
)

func nftName(name string) string {
	if plainName.MatchString(name) && !nftWord.MatchString(name) {
		return name
	}
	return strconv.Quote(name)
}

// command inserts the pass into a chain.
func (p pass) command(c ForeignChain) string {
	if !c.ofIPTables() {
		return fmt.Sprintf("nft insert rule %s '%s'", c, p)
	}
	state := ""
	if p.answers {
		state = "-m conntrack --ctstate ESTABLISHED,RELATED "
	}
	return fmt.Sprintf("iptables -I FORWARD -i '%s' -o '%s' %s-m comment --comment %s -j ACCEPT", p.from, p.to, state, tableName)
}

// ofIPTables says whether iptables-nft manages the chain (ufw and Docker use
// it). It refuses to list a table with expressions that it does not know, such
// as nft's own ct state.
func (c ForeignChain) ofIPTables() bool { return c == ForeignChain{"ip", "filter", "FORWARD"} }

func (p pass) exprs(c ForeignChain) words {
	state := words(nil)
	switch {
	case p.answers && c.ofIPTables():
		states := xt.ConntrackMtinfo2{StateMask: ctEstablished | ctRelated}
		states.MatchFlags = uint16(xt.ConntrackState)
		state = words{&expr.Match{Name: "conntrack", Rev: 3, Info: &xt.ConntrackMtinfo3{ConntrackMtinfo2: states}}}
	case p.answers:
		state = ctState(ctEstablished | ctRelated)
	}
	return rule(iifname(p.from), oifname(p.to), state, accept)
}

// insertPasses runs the commands of the conflicts, by netlink.
func (h *hand) insertPasses(all []Conflict) error {
	for _, conflict := range all {
		if conflict.pass == nil {
			continue
		}
		err := h.step("running "+conflict.Command, func() error {
			c, err := nftables.New()
			if err != nil {
				return err
			}
			t, ch := conflict.chain.nft()
			c.InsertRule(&nftables.Rule{Table: t, Chain: ch, Exprs: conflict.pass.exprs(conflict.chain),
				UserData: userdata.AppendString(nil, userdata.TypeComment, tableName)})
			return c.Flush()
		})
		if err != nil {
			return err
		}
		h.log.Info("made a foreign firewall let the LAN pass", "chain", conflict.chain.String(), "rule", conflict.pass.String())
	}
	return nil
}

// removePasses takes our rules, known by their comment, out of the chains. A
// chain that its owner has removed or loaded anew holds none.
func (h *hand) removePasses(chains []ForeignChain) error {
	if len(chains) == 0 {
		return nil
	}
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("opening nftables: %w", err)
	}
	there, err := c.ListChains()
	if err != nil {
		return fmt.Errorf("listing the nft chains: %w", err)
	}
	for _, name := range chains {
		if !slices.ContainsFunc(there, func(ch *nftables.Chain) bool { return nameOf(ch) == name }) {
			continue
		}
		if err := h.removeCommented(c, name); err != nil {
			return err
		}
	}
	return nil
}

func (h *hand) removeCommented(c *nftables.Conn, name ForeignChain) error {
	t, ch := name.nft()
	rules, err := c.GetRules(t, ch)
	if err != nil {
		return fmt.Errorf("listing the rules of %s: %w", name, err)
	}
	for _, r := range rules {
		if comment, ok := userdata.GetString(r.UserData, userdata.TypeComment); !ok || comment != tableName {
			continue
		}
		err := h.step(fmt.Sprintf("removing our rule %d from %s", r.Handle, name), func() error {
			if err := c.DelRule(&nftables.Rule{Table: t, Chain: ch, Handle: r.Handle}); err != nil {
				return err
			}
			return c.Flush()
		})
		if err != nil {
			return err
		}
	}
	return nil
}
