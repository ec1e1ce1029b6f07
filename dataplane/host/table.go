package host

import (
	"fmt"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
)

// tableName is our nft table, in family inet. The guard in it must outlive the
// process, so it never gets the owner flag.
const tableName = "turnout"

func ourTable() *nftables.Table {
	return &nftables.Table{Name: tableName, Family: nftables.TableFamilyINet}
}

// A chain is a base chain with its rules. Its policy is accept.
type chain struct {
	name     string
	kind     nftables.ChainType
	hook     *nftables.ChainHook
	priority nftables.ChainPriority
	rules    []words
}

// A set is a named set that Set fills.
type set struct {
	name     string
	key      nftables.SetDatatype
	elements []nftables.SetElement
}

// A ruleset is the whole content of our table.
type ruleset struct {
	sets   []set
	chains []chain
}

// replace puts the ruleset in place of what the table held, in one transaction:
// at no moment is the guard missing. The set of inbound flows is kept, because
// the kernel fills it and connections hang on it.
func (h *hand) replace(r ruleset) error {
	return h.step("replacing the nft table inet "+tableName, func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		there, err := tableExists(c)
		if err != nil {
			return err
		}
		t := c.AddTable(ourTable())
		keepInbound := false
		if there {
			if keepInbound, err = clearTable(c, t); err != nil {
				return err
			}
		}
		if err := addSets(c, t, r.sets, keepInbound); err != nil {
			return err
		}
		for _, ch := range r.chains {
			if err := addChain(c, t, ch); err != nil {
				return err
			}
		}
		return c.Flush()
	})
}

func tableExists(c *nftables.Conn) (bool, error) {
	tables, err := c.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil {
		return false, fmt.Errorf("listing the nft tables: %w", err)
	}
	return slices.ContainsFunc(tables, func(t *nftables.Table) bool { return t.Name == tableName }), nil
}

// clearTable empties t within c's transaction, but for a usable inbound set.
func clearTable(c *nftables.Conn, t *nftables.Table) (keptInbound bool, err error) {
	chains, err := ourChains(c)
	if err != nil {
		return false, err
	}
	sets, err := c.GetSets(t)
	if err != nil {
		return false, fmt.Errorf("listing the sets of table %s: %w", tableName, err)
	}
	c.FlushTable(t)
	for _, ch := range chains {
		c.DelChain(ch)
	}
	for _, s := range sets {
		switch {
		case s.Anonymous: // gone with its rule
		case s.Name == inboundSet && sameKind(s, newInboundSet(t)):
			keptInbound = true
		default:
			c.DelSet(s)
		}
	}
	return keptInbound, nil
}

func ourChains(c *nftables.Conn) ([]*nftables.Chain, error) {
	all, err := c.ListChainsOfTableFamily(nftables.TableFamilyINet)
	if err != nil {
		return nil, fmt.Errorf("listing the nft chains: %w", err)
	}
	return slices.DeleteFunc(all, func(ch *nftables.Chain) bool { return ch.Table.Name != tableName }), nil
}

func sameKind(a, b *nftables.Set) bool {
	return a.Dynamic == b.Dynamic && a.HasTimeout == b.HasTimeout && a.KeyType.Bytes == b.KeyType.Bytes
}

func addSets(c *nftables.Conn, t *nftables.Table, sets []set, keepInbound bool) error {
	if !keepInbound {
		if err := c.AddSet(newInboundSet(t), nil); err != nil {
			return fmt.Errorf("encoding set %s: %w", inboundSet, err)
		}
	}
	for i, s := range sets {
		// A number within the transaction. Left to choose one, the library
		// counts in a global without a lock.
		id := inboundSetID + 1 + uint32(i)
		n := &nftables.Set{Table: t, ID: id, Name: s.name, KeyType: s.key, KeyByteOrder: binaryutil.BigEndian}
		switch s.key.Name {
		case nftables.TypeIFName.Name:
			n.KeyByteOrder = binaryutil.NativeEndian
		case nftables.TypeIPAddr.Name, nftables.TypeIP6Addr.Name, nftables.TypeInetService.Name:
			n.Interval = true
		}
		if err := c.AddSet(n, s.elements); err != nil {
			return fmt.Errorf("encoding set %s: %w", s.name, err)
		}
	}
	return nil
}

func addChain(c *nftables.Conn, t *nftables.Table, ch chain) error {
	n := c.AddChain(&nftables.Chain{
		Table: t, Name: ch.name, Type: ch.kind, Hooknum: ch.hook, Priority: &ch.priority,
		Policy: ref(nftables.ChainPolicyAccept),
	})
	for _, exprs := range ch.rules {
		c.AddRule(&nftables.Rule{Table: t, Chain: n, Exprs: exprs})
	}
	return nil
}

func ref[T any](v T) *T { return &v }

// removeTable takes the whole table away.
func (h *hand) removeTable() error {
	return h.step("removing the nft table inet "+tableName, func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		there, err := tableExists(c)
		if err != nil || !there {
			return err
		}
		c.DelTable(ourTable())
		return c.Flush()
	})
}

// keepGuard takes everything away but the guard, in one transaction.
func (h *hand) keepGuard() error {
	return h.step("reducing the nft table inet "+tableName+" to the guard", func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		if there, err := tableExists(c); err != nil || !there {
			return err
		}
		chains, err := ourChains(c)
		if err != nil {
			return err
		}
		sets, err := c.GetSets(ourTable())
		if err != nil {
			return fmt.Errorf("listing the sets of table %s: %w", tableName, err)
		}
		for _, ch := range chains {
			if ch.Name != guardChain {
				c.FlushChain(ch)
				c.DelChain(ch)
			}
		}
		for _, s := range sets {
			if s.Name == inboundSet {
				c.DelSet(s)
			}
		}
		return c.Flush()
	})
}
