package host

import (
	"encoding/binary"
	"net/netip"

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
// direct traffic out, and its answers.
func samples(s *Spec) []sample {
	var all []sample
	for _, l := range s.LAN {
		for _, p := range pick(l.Prefixes, ipv4) {
			host := p.Masked().Addr().Next().Next()
			all = append(all,
				newSample(pass{l.Name, s.TUN, false, "what the LAN sends into the tunnels"}, ctUntracked, host, elsewhere),
				newSample(pass{s.TUN, l.Name, false, "what the tunnels answer to the LAN"}, ctUntracked, elsewhere, host))
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
