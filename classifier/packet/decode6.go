package packet

import "encoding/binary"

// Next-header numbers that are walked over (RFC 8200, 4.1). Everything else,
// AH and ESP included, counts as the transport protocol, as it does in IPv4.
const (
	hopByHop    = 0
	routing     = 43
	fragmentHdr = 44
	noNext      = 59
	destOptions = 60
)

// Bounds of the walk: nobody honest comes near them, and each header costs time.
const (
	maxExtensions     = 8
	maxExtensionBytes = 256
)

// decode6 reads an IPv6 header and its extensions into v, which is zero, and
// returns where the transport header stands.
func (v *View) decode6(b []byte) (l4 int, r Reason) {
	if len(b) < 40 {
		return 0, BadLength
	}
	// In int, because the sum of a hostile length and 40 wraps in 16 bits.
	total := 40 + int(be16(b[4:]))
	if total > len(b) || total > 65535 {
		return 0, BadLength
	}
	src, dst := addr16(b[8:24]), addr16(b[24:40])
	if bad6(src) || src.Hi>>56 == 0xff || bad6(dst) || src == dst {
		return 0, BadAddress
	}
	v.Src, v.Dst = src, dst
	v.Version, v.Len = 6, uint16(total)
	v.TOS, v.TTL, v.Proto = b[0]<<4|b[1]>>4, b[7], b[6]
	v.DF = true // no router fragments IPv6
	if v.TTL == 0 {
		return 0, BadHeader
	}
	switch v.Proto {
	case TCP, UDP, ICMPv6:
		return 40, OK
	}
	return v.extensions(b[:total])
}

// addr16 reads 16 bytes.
func addr16(b []byte) Addr {
	return Addr{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:16])}
}

// bad6 says of an address what no forwarded packet may have at either end:
// unspecified, loopback, IPv4-mapped (which our own tables would take for
// IPv4) and link-local (RFC 4291, 2.5).
func bad6(a Addr) bool {
	return a.Hi == 0 && (a.Lo <= 1 || a.Lo>>32 == 0xffff) || a.Hi>>54 == 0xfe80>>6
}

// extensions walks from the IPv6 header to the transport header, sets
// v.Proto and returns where that one starts.
func (v *View) extensions(b []byte) (l4 int, r Reason) {
	off, fragmented := 40, false
	for i := 0; ; i++ {
		switch v.Proto {
		case hopByHop:
			// A jumbogram has length 0 (RFC 2675); it is larger than any link here.
			if off != 40 || len(b) == 40 {
				return off, BadExtension
			}
		case fragmentHdr:
			if fragmented {
				return off, BadExtension
			}
			fragmented = true
		case routing, destOptions:
		case noNext:
			return off, BadExtension
		default:
			return off, OK
		}
		if i == maxExtensions {
			return off, BadExtension
		}
		n := extension(b, off, v.Proto)
		if n == 0 {
			return off, BadExtension
		}
		if v.Proto == fragmentHdr {
			if r := v.fragment6(b[off:off+8], off+8); r != OK || v.Frag == Later {
				return off + 8, r
			}
		} else {
			v.Proto = b[off]
		}
		off += n
	}
}

// extension returns the size of the extension header at off, 0 when it does
// not fit or asks for what must not be done.
func extension(b []byte, off int, kind uint8) int {
	if off+8 > len(b) {
		return 0
	}
	n := 8
	if kind != fragmentHdr {
		n += int(b[off+1]) * 8
	}
	if off+n > len(b) || off+n-40 > maxExtensionBytes {
		return 0
	}
	if kind == routing && b[off+2] == 0 { // RFC 5095
		return 0
	}
	return n
}

// fragment6 reads the fragment header h, which ends at header. An atomic
// fragment (RFC 6946) is a whole packet.
func (v *View) fragment6(h []byte, header int) Reason {
	v.Proto, v.ID = h[0], be16(h[6:])
	w := be16(h[2:])
	offset, more := int(w&^7), w&1 != 0
	if offset == 0 && !more {
		return OK
	}
	return v.fragment(offset, header, more)
}
