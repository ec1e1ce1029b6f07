package host

import (
	"bytes"
	"encoding/binary"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// members are the elements of a foreign set or map.
type members struct {
	interval bool
	elements []nftables.SetElement
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
