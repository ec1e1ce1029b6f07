package netlab

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// A Raw sends IPv4 packets as they are given, whatever their source, by the
// routes of its node. It belongs to one goroutine at a time.
type Raw struct{ fd int }

// OpenRaw opens one in the node; the node closes it.
func (n *Node) OpenRaw() (*Raw, error) {
	r := &Raw{}
	err := n.Do(func() (err error) {
		r.fd, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open a raw socket in %s: %w", n.Name, err)
	}
	n.OnClose(func() { unix.Close(r.fd) })
	return r, nil
}

// Send sends one packet; the kernel fills in total length and header checksum.
func (r *Raw) Send(pkt []byte) error {
	to := &unix.SockaddrInet4{Addr: [4]byte(pkt[16:20])}
	return unix.Sendto(r.fd, pkt, 0, to)
}

// Datagram makes a UDP packet without a UDP checksum.
func Datagram(src, dst netip.AddrPort, payload string) []byte {
	b := header(src.Addr(), dst.Addr(), unix.IPPROTO_UDP, 8+len(payload))
	t := b[20:]
	binary.BigEndian.PutUint16(t, src.Port())
	binary.BigEndian.PutUint16(t[2:], dst.Port())
	binary.BigEndian.PutUint16(t[4:], uint16(len(t)))
	copy(t[8:], payload)
	return b
}

// SYN makes the first segment of a TCP connection.
func SYN(src, dst netip.AddrPort, seq uint32) []byte {
	b := header(src.Addr(), dst.Addr(), unix.IPPROTO_TCP, 20)
	t := b[20:]
	binary.BigEndian.PutUint16(t, src.Port())
	binary.BigEndian.PutUint16(t[2:], dst.Port())
	binary.BigEndian.PutUint32(t[4:], seq)
	t[12], t[13] = 5<<4, 2
	binary.BigEndian.PutUint16(t[14:], 65535)
	sum := uint32(unix.IPPROTO_TCP + len(t))
	for _, part := range [][]byte{b[12:20], t} {
		for i := 0; i < len(part); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(part[i:]))
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(t[16:], ^uint16(sum))
	return b
}

func header(src, dst netip.Addr, proto, size int) []byte {
	h := ipv4.Header{Version: 4, Len: 20, TotalLen: 20 + size, TTL: 64, Protocol: proto, Src: net.IP(src.AsSlice()), Dst: net.IP(dst.AsSlice())}
	b, err := h.Marshal()
	if err != nil {
		panic(err) // only of lengths that are wrong here
	}
	return append(b, make([]byte, size)...)
}
