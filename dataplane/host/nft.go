package host

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// The words of an nft rule. Each returns the expressions that nft itself makes
// of the words in its comment, so that `nft list` can read them back.

const (
	reg1 = 1 // 16 bytes; the 4-byte registers 8 to 11 are its parts
	reg4 = 8 // first 4-byte register
)

// Kernel values that x/sys does not have.
const (
	ctRelated   = 1 << 2 // NF_CT_STATE_BIT(IP_CT_RELATED)
	ctUntracked = 1 << 6 // NF_CT_STATE_UNTRACKED_BIT
	ctDNAT      = 1 << 5 // IPS_DST_NAT
	ctOriginal  = 0      // IP_CT_DIR_ORIGINAL
	ctReply     = 1      // IP_CT_DIR_REPLY
	dynsetOpDel = 2      // NFT_DYNSET_OP_DELETE
)

type words = []expr.Any

// rule joins words.
func rule(parts ...words) words {
	var all words
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

func verdict(k expr.VerdictKind) words { return words{&expr.Verdict{Kind: k}} }

var (
	accept  = verdict(expr.VerdictAccept)
	drop    = verdict(expr.VerdictDrop)
	counter = words{&expr.Counter{}}
)

func meta(key expr.MetaKey) words { return words{&expr.Meta{Key: key, Register: reg1}} }

func is(data []byte) words  { return words{&expr.Cmp{Op: expr.CmpOpEq, Register: reg1, Data: data}} }
func not(data []byte) words { return words{&expr.Cmp{Op: expr.CmpOpNeq, Register: reg1, Data: data}} }

func in(set string) words { return words{&expr.Lookup{SourceRegister: reg1, SetName: set}} }
func notIn(set string) words {
	return words{&expr.Lookup{SourceRegister: reg1, SetName: set, Invert: true}}
}

// ifName is an interface's name as the kernel compares it.
func ifName(name string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, name)
	return b
}

// iifname "name", oifname "name"
func iifname(name string) words { return rule(meta(expr.MetaKeyIIFNAME), is(ifName(name))) }
func oifname(name string) words { return rule(meta(expr.MetaKeyOIFNAME), is(ifName(name))) }

func nfproto(f family) []byte {
	if f == ipv4 {
		return []byte{unix.NFPROTO_IPV4}
	}
	return []byte{unix.NFPROTO_IPV6}
}

// meta nfproto ipv4
func only(f family) words { return rule(meta(expr.MetaKeyNFPROTO), is(nfproto(f))) }

// meta l4proto tcp
func l4proto(proto byte) words { return rule(meta(expr.MetaKeyL4PROTO), is([]byte{proto})) }

func payload(base expr.PayloadBase, offset, length, register uint32) *expr.Payload {
	return &expr.Payload{DestRegister: register, Base: base, Offset: offset, Len: length}
}

// ip saddr, ip6 saddr
func saddr(f family) words { return address(f, 12, 8) }

// ip daddr, ip6 daddr
func daddr(f family) words { return address(f, 16, 24) }

// address loads an address from its offset in either family's header.
func address(f family, offset4, offset6 uint32) words {
	if f == ipv4 {
		return rule(only(f), words{payload(expr.PayloadBaseNetworkHeader, offset4, 4, reg1)})
	}
	return rule(only(f), words{payload(expr.PayloadBaseNetworkHeader, offset6, 16, reg1)})
}

// fib daddr type
func fibType() words { return words{&expr.Fib{Register: reg1, ResultADDRTYPE: true, FlagDADDR: true}} }

// snat ip to, dnat ip to the address in register 1
func nat(kind expr.NATType) words {
	return words{&expr.NAT{Type: kind, Family: unix.NFPROTO_IPV4, RegAddrMin: reg1}}
}

// masked is the mask-and-compare of the 4 bytes in register 1, host byte order.
func masked(mask, value uint32) words {
	return rule(bitwise(mask, 0), is(binaryutil.NativeEndian.PutUint32(value)))
}

// anyOf is true when one of the bits in register 1 is set.
func anyOf(bits uint32) words { return rule(bitwise(bits, 0), not(make([]byte, 4))) }

// noneOf is true when none is.
func noneOf(bits uint32) words { return rule(bitwise(bits, 0), is(make([]byte, 4))) }

func bitwise(mask, xor uint32) words {
	return words{&expr.Bitwise{
		SourceRegister: reg1, DestRegister: reg1, Len: 4,
		Mask: binaryutil.NativeEndian.PutUint32(mask), Xor: binaryutil.NativeEndian.PutUint32(xor),
	}}
}

// meta mark set (mark & ^mask) ^ value
func setMark(mask, value uint32) words {
	return rule(meta(expr.MetaKeyMARK), bitwise(^mask, value),
		words{&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: reg1}})
}

func ct(key expr.CtKey) words { return words{&expr.Ct{Key: key, Register: reg1}} }

// ct state related
func ctState(bit uint32) words { return rule(ct(expr.CtKeySTATE), anyOf(bit)) }

// ct direction reply
func ctDirection(dir byte) words { return rule(ct(expr.CtKeyDIRECTION), is([]byte{dir})) }

// tuple loads ip saddr . ip daddr . meta l4proto . th sport . th dport, with
// the sides swapped when reversed, for a lookup or update. A packet without
// ports ends the rule.
func tuple(reversed bool) words {
	src, dst, sport, dport := uint32(12), uint32(16), uint32(0), uint32(2)
	if reversed {
		src, dst, sport, dport = dst, src, dport, sport
	}
	network, transport := expr.PayloadBaseNetworkHeader, expr.PayloadBaseTransportHeader
	return rule(only(ipv4), words{
		payload(network, src, 4, reg4),
		payload(network, dst, 4, reg4+1),
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg4 + 2},
		payload(transport, sport, 2, reg4+3),
		payload(transport, dport, 2, reg4+4),
	})
}

// update @set { loaded tuple timeout t }
func update(set string, t time.Duration) words {
	return words{&expr.Dynset{SrcRegKey: reg4, SetName: set, Operation: uint32(unix.NFT_DYNSET_OP_UPDATE), Timeout: t}}
}

// delete @set { loaded tuple }
func remove(set string) words {
	return words{&expr.Dynset{SrcRegKey: reg4, SetName: set, Operation: dynsetOpDel}}
}

// prefixElements are the half-open intervals of an interval set. The last one
// of the address space has no end.
func prefixElements(prefixes []netip.Prefix) []nftables.SetElement {
	var all []nftables.SetElement
	for _, p := range prefixes {
		all = append(all, nftables.SetElement{Key: p.Addr().AsSlice()})
		if next := lastOf(p).Next(); next.IsValid() {
			all = append(all, nftables.SetElement{Key: next.AsSlice(), IntervalEnd: true})
		}
	}
	return all
}

// lastOf is the highest address of p.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for bit := p.Bits(); bit < len(b)*8; bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

func nameElements(names []string) []nftables.SetElement {
	var all []nftables.SetElement
	for _, n := range names {
		all = append(all, nftables.SetElement{Key: ifName(n)})
	}
	return all
}

func byteElements(values []byte) []nftables.SetElement {
	var all []nftables.SetElement
	for _, v := range values {
		all = append(all, nftables.SetElement{Key: []byte{v}})
	}
	return all
}

// prefixWords is an IPv4 prefix as two host-order numbers for masked.
func prefixWords(p netip.Prefix) (mask, value uint32) {
	m := [4]byte{}
	binary.BigEndian.PutUint32(m[:], ^uint32(0)<<(32-p.Bits()))
	return binaryutil.NativeEndian.Uint32(m[:]), binaryutil.NativeEndian.Uint32(p.Masked().Addr().AsSlice())
}
