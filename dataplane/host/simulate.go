package host

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
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

type members struct {
	interval bool
	elements []nftables.SetElement
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

func (p *sample) meta(key expr.MetaKey) []byte {
	switch key {
	case expr.MetaKeyIIFNAME:
		return ifName(p.from)
	case expr.MetaKeyOIFNAME:
		return ifName(p.to)
	case expr.MetaKeyIIF:
		return ifIndex(p.from)
	case expr.MetaKeyOIF:
		return ifIndex(p.to)
	case expr.MetaKeyNFPROTO:
		return nfproto(ipv4)
	case expr.MetaKeyL4PROTO:
		return []byte{unix.IPPROTO_TCP}
	case expr.MetaKeyPROTOCOL:
		return []byte{0x08, 0x00}
	case expr.MetaKeyMARK:
		return make([]byte, 4)
	}
	return nil
}

// ifIndex is 0, which matches nothing, for an interface that is not there yet.
func ifIndex(name string) []byte {
	index := 0
	if i, err := net.InterfaceByName(name); err == nil {
		index = i.Index
	}
	return binaryutil.NativeEndian.PutUint32(uint32(index))
}

func (p *sample) payload(e *expr.Payload) []byte {
	offset := int(e.Offset)
	switch {
	case e.OperationType != expr.PayloadLoad:
		return nil
	case e.Base == expr.PayloadBaseTransportHeader:
		offset += 20
	case e.Base != expr.PayloadBaseNetworkHeader:
		return nil
	}
	if offset+int(e.Len) > len(p.header) {
		return nil
	}
	return p.header[offset : offset+int(e.Len)]
}

func (p *sample) ct(key expr.CtKey) []byte {
	switch {
	case key == expr.CtKeySTATE:
		return binaryutil.NativeEndian.PutUint32(p.state)
	case p.state == ctUntracked:
		return nil
	case key == expr.CtKeyDIRECTION && p.answers:
		return []byte{ctReply}
	case key == expr.CtKeyDIRECTION:
		return []byte{ctOriginal}
	case key == expr.CtKeySTATUS, key == expr.CtKeyMARK:
		return make([]byte, 4)
	}
	return nil
}

// xtMatch knows the one extension of iptables-nft that decides about answers.
func (p *sample) xtMatch(e *expr.Match) bool {
	states, ok := conntrackStates(e)
	if e.Name == "comment" {
		return true
	}
	state := p.state
	if state == ctUntracked {
		state = xtUntracked
	}
	return ok && states&state != 0
}

const xtUntracked = 1 << 8 // XT_CONNTRACK_STATE_UNTRACKED; the other states count as nft's

// conntrackStates is the mask of a match on states alone.
func conntrackStates(e *expr.Match) (uint32, bool) {
	if e.Name != "conntrack" {
		return 0, false
	}
	base, states := xt.ConntrackMtinfoBase{}, uint32(0)
	switch info := e.Info.(type) {
	case *xt.ConntrackMtinfo1:
		base, states = info.ConntrackMtinfoBase, uint32(info.StateMask)
	case *xt.ConntrackMtinfo2:
		base, states = info.ConntrackMtinfoBase, uint32(info.StateMask)
	case *xt.ConntrackMtinfo3:
		base, states = info.ConntrackMtinfoBase, uint32(info.StateMask)
	}
	state := uint16(xt.ConntrackState) | uint16(xt.ConntrackStateAlias)
	if base.MatchFlags&^state != 0 || base.MatchFlags&state == 0 {
		return 0, false
	}
	if base.InvertFlags&state != 0 {
		states = ^states
	}
	return states, true
}

// lookup finds register content in a set; in a verdict map the verdict too.
func (f *firewall) lookup(t *nftables.Table, e *expr.Lookup, regs *registers) (*expr.Verdict, bool) {
	s := f.sets[chainKey{t.Family, t.Name, e.SetName}]
	if s == nil {
		return nil, e.Invert // unknown: let the rule not match
	}
	element, found := s.find(e.SourceRegister, regs)
	if !found || !e.IsDestRegSet {
		return nil, found
	}
	if e.DestRegister == unix.NFT_REG_VERDICT {
		v, ok := verdictOf(element)
		return &v, ok
	}
	return nil, load(regs, e.DestRegister, element.Val)
}

func (s *members) find(register uint32, regs *registers) (nftables.SetElement, bool) {
	if s.interval {
		return s.findInterval(register, regs)
	}
	for _, e := range s.elements {
		if bytes.Equal(regs.at(register, len(e.Key)), e.Key) {
			return e, true
		}
	}
	return nftables.SetElement{}, false
}

// findInterval takes elements with both ends (concatenations), or the nearest
// start or end at or below the value.
func (s *members) findInterval(register uint32, regs *registers) (nftables.SetElement, bool) {
	var best *nftables.SetElement
	for i, e := range s.elements {
		v := regs.at(register, len(e.Key))
		if len(e.KeyEnd) == len(e.Key) && len(e.Key) > 0 {
			if within(v, e.Key, e.KeyEnd) {
				return e, true
			}
			continue
		}
		if bytes.Compare(e.Key, v) > 0 {
			continue
		}
		if best == nil || nearer(e, *best) {
			best = &s.elements[i]
		}
	}
	if best == nil || best.IntervalEnd {
		return nftables.SetElement{}, false
	}
	return *best, true
}

// nearer orders by key; where one interval ends and the next starts, the start
// counts.
func nearer(a, b nftables.SetElement) bool {
	c := bytes.Compare(a.Key, b.Key)
	return c > 0 || c == 0 && b.IntervalEnd
}

// within compares a concatenation field by field; fields are padded to 4
// bytes, and comparing those chunks is exact for all but 16-byte fields.
func within(v, from, to []byte) bool {
	for i := 0; i+4 <= len(v); i += 4 {
		if bytes.Compare(v[i:i+4], from[i:i+4]) < 0 || bytes.Compare(v[i:i+4], to[i:i+4]) > 0 {
			return false
		}
	}
	return true
}

// verdictOf reads a verdict map's element. The library leaves the nested
// attribute as bytes: NFTA_VERDICT_CODE, then NFTA_VERDICT_CHAIN.
func verdictOf(e nftables.SetElement) (expr.Verdict, bool) {
	if e.VerdictData != nil {
		return *e.VerdictData, true
	}
	v, found := goOn, false
	for b := e.Val; len(b) >= 4; {
		n, typ := int(binaryutil.NativeEndian.Uint16(b)), binaryutil.NativeEndian.Uint16(b[2:])&^unix.NLA_F_NESTED
		if n < 4 || n > len(b) {
			break
		}
		switch typ {
		case unix.NFTA_VERDICT_CODE:
			if n >= 8 {
				v.Kind, found = expr.VerdictKind(int32(binary.BigEndian.Uint32(b[4:]))), true
			}
		case unix.NFTA_VERDICT_CHAIN:
			v.Chain = string(bytes.TrimRight(b[4:n], "\x00"))
		}
		b = b[min((n+3)&^3, len(b)):]
	}
	return v, found
}
