package host

import (
	"bytes"
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// A firewall is the foreign IPv4 forward chains with all that they jump to. To
// know whether it drops us, a packet is run through its rules: a small
// interpreter of nft's register machine (net/netfilter/nf_tables_core.c). What
// it does not understand does not match, as if the rule were not there.
type firewall struct {
	bases  []*nftables.Chain
	rules  map[*nftables.Chain][]*nftables.Rule
	chains map[chainKey]*nftables.Chain
	sets   map[chainKey]*members
}

type chainKey struct {
	family nftables.TableFamily
	table  string
	name   string
}

func readFirewall(c *nftables.Conn) (*firewall, error) {
	all, err := c.ListChains()
	if err != nil {
		return nil, fmt.Errorf("listing the nft chains: %w", err)
	}
	f := &firewall{nil, map[*nftables.Chain][]*nftables.Rule{}, map[chainKey]*nftables.Chain{}, map[chainKey]*members{}}
	tables := map[string]*nftables.Table{}
	for _, ch := range all {
		switch ch.Table.Family {
		case nftables.TableFamilyINet, nftables.TableFamilyIPv4:
		default:
			continue
		}
		if ch.Table.Family == nftables.TableFamilyINet && ch.Table.Name == tableName {
			continue
		}
		if ch.Type != "" && !isForward(ch) {
			continue // another hook's base chain: nothing jumps there
		}
		if ch.Type != "" {
			f.bases = append(f.bases, ch)
		}
		f.chains[chainKey{ch.Table.Family, ch.Table.Name, ch.Name}] = ch
		if f.rules[ch], err = c.GetRules(ch.Table, ch); err != nil {
			return nil, fmt.Errorf("listing the rules of nft chain %s: %w", nameOf(ch), err)
		}
		tables[nameOf(ch).Family+ch.Table.Name] = ch.Table
	}
	if len(f.bases) == 0 {
		return f, nil
	}
	for _, t := range tables {
		if err := f.readSets(c, t); err != nil {
			return nil, err
		}
	}
	return f, nil
}

func isForward(ch *nftables.Chain) bool {
	return ch.Hooknum != nil && *ch.Hooknum == *nftables.ChainHookForward && ch.Type == nftables.ChainTypeFilter
}

func (f *firewall) readSets(c *nftables.Conn, t *nftables.Table) error {
	sets, err := c.GetSets(t)
	if err != nil {
		return fmt.Errorf("listing the sets of nft table %s: %w", t.Name, err)
	}
	for _, s := range sets {
		elements, err := c.GetSetElements(s)
		if err != nil {
			return fmt.Errorf("listing the elements of nft set %s %s: %w", t.Name, s.Name, err)
		}
		f.sets[chainKey{t.Family, t.Name, s.Name}] = &members{s.Interval, elements}
	}
	return nil
}

// drops runs p through a base chain.
func (f *firewall) drops(base *nftables.Chain, p sample) bool {
	switch f.run(base, &p, 0) {
	case expr.VerdictDrop:
		return true
	case expr.VerdictAccept:
		return false
	}
	return base.Policy != nil && *base.Policy == nftables.ChainPolicyDrop
}

const maxJumps = 16 // NFT_JUMP_STACK_SIZE

// run returns accept, drop, or return for a chain that has no more to say.
func (f *firewall) run(ch *nftables.Chain, p *sample, depth int) expr.VerdictKind {
	if ch == nil || depth > maxJumps {
		return expr.VerdictReturn
	}
	for _, r := range f.rules[ch] {
		v := f.apply(r, p)
		switch v.Kind {
		case expr.VerdictAccept, expr.VerdictDrop, expr.VerdictReturn:
			return v.Kind
		case expr.VerdictJump, expr.VerdictGoto:
			next := f.chains[chainKey{ch.Table.Family, ch.Table.Name, v.Chain}]
			if k := f.run(next, p, depth+1); k != expr.VerdictReturn || v.Kind == expr.VerdictGoto {
				return k
			}
		}
	}
	return expr.VerdictReturn
}

// registers are nft's: four of 16 bytes, or the same as sixteen of 4.
type registers [64]byte

// at returns n bytes of a register; nil where there is no such place.
func (r *registers) at(register uint32, n int) []byte {
	offset := int(register-1) * 16
	if register >= reg4 {
		offset = int(register-reg4) * 4
	}
	if register == 0 || n < 0 || offset < 0 || offset+n > len(r) {
		return nil
	}
	return r[offset : offset+n]
}

var goOn = expr.Verdict{Kind: expr.VerdictContinue}

// apply evaluates one rule; a rule that does not match gives goOn.
func (f *firewall) apply(r *nftables.Rule, p *sample) expr.Verdict {
	var regs registers
	for _, e := range r.Exprs {
		switch e := e.(type) {
		case *expr.Verdict:
			return *e
		case *expr.Reject:
			return expr.Verdict{Kind: expr.VerdictDrop}
		case *expr.Target:
			if e.Name == "REJECT" {
				return expr.Verdict{Kind: expr.VerdictDrop}
			}
		case *expr.Lookup:
			v, found := f.lookup(r.Table, e, &regs)
			if found == e.Invert {
				return goOn
			}
			if v != nil {
				return *v
			}
		default:
			if !match(e, &regs, p) {
				return goOn
			}
		}
	}
	return goOn
}

// match evaluates an expression that ends the rule or lets it go on.
func match(e expr.Any, regs *registers, p *sample) bool {
	switch e := e.(type) {
	case *expr.Counter, *expr.Log, *expr.Limit, *expr.Quota, *expr.Notrack, *expr.Dynset, *expr.FlowOffload:
		return true
	case *expr.Meta:
		return e.SourceRegister || load(regs, e.Register, p.meta(e.Key))
	case *expr.Payload:
		return load(regs, e.DestRegister, p.payload(e))
	case *expr.Ct:
		return e.SourceRegister || load(regs, e.Register, p.ct(e.Key))
	case *expr.Fib:
		if !e.ResultADDRTYPE {
			return false
		}
		return load(regs, e.Register, binaryutil.NativeEndian.PutUint32(unix.RTN_UNICAST))
	case *expr.Immediate:
		return load(regs, e.Register, e.Data)
	case *expr.Bitwise:
		return mask(regs, e)
	case *expr.Cmp:
		return compare(e.Op, bytes.Compare(regs.at(e.Register, len(e.Data)), e.Data))
	case *expr.Range:
		v := regs.at(e.Register, len(e.FromData))
		inside := bytes.Compare(v, e.FromData) >= 0 && bytes.Compare(v, e.ToData) <= 0
		return inside == (e.Op == expr.CmpOpEq)
	case *expr.Match:
		return p.xtMatch(e)
	}
	return false
}

func load(regs *registers, register uint32, value []byte) bool {
	to := regs.at(register, len(value))
	if value == nil || to == nil {
		return false
	}
	// A short value fills its 4-byte register with zeroes.
	if pad := regs.at(register, (len(value)+3)/4*4); pad != nil {
		clear(pad)
	}
	copy(to, value)
	return true
}

func mask(regs *registers, e *expr.Bitwise) bool {
	from, to := regs.at(e.SourceRegister, int(e.Len)), regs.at(e.DestRegister, int(e.Len))
	if from == nil || to == nil || len(e.Mask) < len(from) || len(e.Xor) < len(from) {
		return false
	}
	for i := range from {
		to[i] = from[i]&e.Mask[i] ^ e.Xor[i]
	}
	return true
}

func compare(op expr.CmpOp, c int) bool {
	switch op {
	case expr.CmpOpEq:
		return c == 0
	case expr.CmpOpNeq:
		return c != 0
	case expr.CmpOpLt:
		return c < 0
	case expr.CmpOpLte:
		return c <= 0
	case expr.CmpOpGt:
		return c > 0
	case expr.CmpOpGte:
		return c >= 0
	}
	return false
}
