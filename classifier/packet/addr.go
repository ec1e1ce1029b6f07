package packet

import (
	"encoding/binary"
	"net/netip"
)

// Addr is an IP address of either family as a 128-bit number in host byte
// order. IPv4 addresses take their IPv4-mapped form (RFC 4291, 2.5.5.2), so
// that one engine and one table serve both families. It holds no pointer and
// is comparable; the zero Addr is "::" and stands for "none".
type Addr struct{ Hi, Lo uint64 }

const v4Mapped = 0xffff << 32 // the upper half of Lo of a mapped IPv4 address

// Addr4 returns the address whose IPv4 number, in host byte order, is n.
func Addr4(n uint32) Addr { return Addr{0, v4Mapped | uint64(n)} }

// AddrFrom converts from netip; the zone is lost. The invalid address gives
// the zero Addr.
func AddrFrom(a netip.Addr) Addr {
	if !a.IsValid() {
		return Addr{}
	}
	b := a.As16()
	return Addr{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

// Ends returns the lowest and the highest address of a prefix.
func Ends(p netip.Prefix) (first, last Addr) {
	p = p.Masked()
	first = AddrFrom(p.Addr())
	last = first
	host := p.Addr().BitLen() - p.Bits()
	if host >= 64 {
		last.Hi |= 1<<(host-64) - 1 // 1<<64 is 0 in Go, and 0-1 all ones
		last.Lo = ^uint64(0)
	} else {
		last.Lo |= 1<<host - 1
	}
	return first, last
}

// Is4 reports whether a is an IPv4 address.
func (a Addr) Is4() bool { return a.Hi == 0 && a.Lo>>32 == 0xffff }

// V4 returns the IPv4 number in host byte order; it has meaning only when Is4.
func (a Addr) V4() uint32 { return uint32(a.Lo) }

// Netip converts to netip, IPv4 addresses unmapped.
func (a Addr) Netip() netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], a.Hi)
	binary.BigEndian.PutUint64(b[8:], a.Lo)
	return netip.AddrFrom16(b).Unmap()
}

func (a Addr) String() string { return a.Netip().String() }
