package host

import (
	"encoding/binary"
	"net"
	"net/netip"

	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"golang.org/x/sys/unix"
)

// A sample is a packet as it meets the forward hook.
type sample struct {
	pass
	state  uint32 // conntrack's, as nft's `ct state`
	header [40]byte
}

const (
	ctEstablished = 1 << 1 // NF_CT_STATE_BIT(IP_CT_ESTABLISHED)
	ctNew         = 1 << 3 // NF_CT_STATE_BIT(IP_CT_NEW)
)

// elsewhere stands for the internet (TEST-NET-3, RFC 5737).
var elsewhere = netip.MustParseAddr("203.0.113.1")

// samples are the ways that must be open: LAN to tunnels and back, untracked;
// the same ways for conversations of Inside, tracked; direct traffic out, and
// its answers.
func samples(s *Spec) []sample {
	var all []sample
	for _, l := range s.LAN {
		for _, p := range pick(l.Prefixes, ipv4) {
			host := p.Masked().Addr().Next().Next()
			all = append(all,
				newSample(pass{l.Name, s.TUN, false, "what the LAN sends into the tunnels"}, ctUntracked, host, elsewhere),
				newSample(pass{s.TUN, l.Name, false, "what the tunnels answer to the LAN"}, ctUntracked, elsewhere, host))
			if s.usesInside() {
				all = append(all,
					newSample(pass{l.Name, s.TUN, false, "what LAN hosts send to a listening forward"}, ctNew, host, Inside),
					newSample(pass{s.TUN, l.Name, false, "conversations with LAN hosts that the process starts"}, ctNew, Inside, host))
			}
			for _, up := range s.Uplinks {
				if up != l.Name {
					all = append(all, newSample(pass{s.TUN, up, false, "direct traffic"}, ctNew, host, elsewhere))
				}
				all = append(all, newSample(pass{up, l.Name, true, "the answers to direct traffic"}, ctEstablished, elsewhere, host))
			}
		}
	}
	return all
}

// newSample makes an IPv4 and TCP header of a packet between port 443 and a
// high port. Checksums do not matter to a firewall.
func newSample(p pass, state uint32, src, dst netip.Addr) sample {
	s := sample{pass: p, state: state}
	h := s.header[:]
	h[0], h[8], h[9] = 0x45, 63, unix.IPPROTO_TCP
	binary.BigEndian.PutUint16(h[2:], uint16(len(h)))
	copy(h[12:], src.AsSlice())
	copy(h[16:], dst.AsSlice())
	sport, dport, flags := uint16(40000), uint16(443), byte(0x02) // SYN
	if p.answers || src == elsewhere {
		sport, dport, flags = 443, 40000, 0x10 // ACK
	}
	binary.BigEndian.PutUint16(h[20:], sport)
	binary.BigEndian.PutUint16(h[22:], dport)
	h[32], h[33] = 5<<4, flags
	return s
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
