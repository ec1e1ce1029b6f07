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

// addr16 reads 16 bytes.
func addr16(b []byte) Addr {
	return Addr{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:16])}
}

// odd6 tells by its first octet whether an IPv6 address may be one that bad6
// refuses. Those of hosts begin otherwise.
var odd6 = [256]bool{0: true, 0xfe: true, 0xff: true}

// bad6 reports whether no forwarded packet may go from src to dst: to or from
// the unspecified address, loopback, IPv4-mapped addresses (which our own
// tables would take for IPv4) and link-local ones, and from multicast (RFC
// 4291, 2.5).
func bad6(src, dst Addr) bool {
	return src.Hi>>56 == 0xff || local6(src) || local6(dst)
}

func local6(a Addr) bool {
	return a.Hi == 0 && (a.Lo <= 1 || a.Lo>>32 == 0xffff) || a.Hi>>54 == 0xfe80>>6
}

// rare6 reads on where an IPv6 header is not followed by what nearly all are.
func (v *View) rare6(b []byte) Reason {
	l4, r := v.extensions(b)
	if r != OK || v.Frag == Later {
		return r
	}
	return v.transport(b[l4:], l4, v.Proto)
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
