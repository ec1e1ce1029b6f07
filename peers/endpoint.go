package peers

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"
)

// A sockaddr is a socket address as the kernel reads and writes it: struct
// sockaddr_in in the first 16 bytes, or struct sockaddr_in6. Bytes that the
// kernel does not use are zero, so sockaddrs compare by ==.
type sockaddr [unix.SizeofSockaddrInet6]byte

// An endpoint is where a peer is. It is immutable and shared freely; the
// kernel chooses the source address of each datagram by route, so that a new
// address of the uplink is in use at once.
type endpoint struct {
	addr netip.AddrPort // never IPv4-mapped
	name sockaddr       // the same for the kernel
	len  uint32         // bytes of name in use
}

var _ conn.Endpoint = (*endpoint)(nil)

// newEndpoint prepares a for sending. The zone of an IPv6 address is an
// interface's name or number.
func newEndpoint(a netip.AddrPort) (*endpoint, error) {
	name, n, err := sockaddrOf(a)
	if err != nil {
		return nil, err
	}
	return &endpoint{netip.AddrPortFrom(a.Addr().Unmap(), a.Port()), name, n}, nil
}

// sockaddrOf returns a for the kernel, and how many bytes of that are in use.
func sockaddrOf(a netip.AddrPort) (name sockaddr, n uint32, err error) {
	ip := a.Addr().Unmap()
	binary.BigEndian.PutUint16(name[2:], a.Port())
	if ip.Is4() {
		binary.NativeEndian.PutUint16(name[:], unix.AF_INET)
		as4 := ip.As4()
		copy(name[4:], as4[:])
		return name, unix.SizeofSockaddrInet4, nil
	}
	scope, err := scopeID(ip.Zone())
	if err != nil {
		return name, 0, err
	}
	binary.NativeEndian.PutUint16(name[:], unix.AF_INET6)
	as16 := ip.As16()
	copy(name[8:], as16[:])
	binary.NativeEndian.PutUint32(name[24:], scope)
	return name, unix.SizeofSockaddrInet6, nil
}

func scopeID(zone string) (uint32, error) {
	if zone == "" {
		return 0, nil
	}
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(n), nil
	}
	i, err := net.InterfaceByName(zone)
	if err != nil {
		return 0, fmt.Errorf("zone %q of an endpoint is no interface here: %w", zone, err)
	}
	return uint32(i.Index), nil
}

// endpointOf is the way back: from what the kernel wrote.
func endpointOf(name *sockaddr) *endpoint {
	port := binary.BigEndian.Uint16(name[2:])
	if binary.NativeEndian.Uint16(name[:]) == unix.AF_INET {
		ip := netip.AddrFrom4([4]byte(name[4:8]))
		return &endpoint{netip.AddrPortFrom(ip, port), *name, unix.SizeofSockaddrInet4}
	}
	ip := netip.AddrFrom16([16]byte(name[8:24]))
	if scope := binary.NativeEndian.Uint32(name[24:]); scope != 0 {
		ip = ip.WithZone(strconv.FormatUint(uint64(scope), 10))
	}
	return &endpoint{netip.AddrPortFrom(ip, port), *name, unix.SizeofSockaddrInet6}
}

func (e *endpoint) ClearSrc()           {}
func (e *endpoint) SrcToString() string { return "" }
func (e *endpoint) SrcIP() netip.Addr   { return netip.Addr{} }
func (e *endpoint) DstToString() string { return e.addr.String() }
func (e *endpoint) DstIP() netip.Addr   { return e.addr.Addr() }

// DstToBytes feeds WireGuard's cookies: anything will do that differs from
// sender to sender.
func (e *endpoint) DstToBytes() []byte {
	b, _ := e.addr.MarshalBinary()
	return b
}

// maxSenders bounds the endpoints that one receiver remembers. Sources are
// forgeable; peers are few.
const maxSenders = 1024

// senders gives the same endpoint for the same source again, so that a
// received packet allocates nothing. It belongs to one goroutine.
type senders struct {
	last *endpoint
	all  map[sockaddr]*endpoint
}

func (s *senders) of(name *sockaddr) *endpoint {
	if s.last != nil && s.last.name == *name {
		return s.last
	}
	e := s.all[*name]
	if e == nil {
		if s.all == nil || len(s.all) >= maxSenders {
			s.all = make(map[sockaddr]*endpoint)
		}
		e = endpointOf(name)
		s.all[*name] = e
	}
	s.last = e
	return e
}
