package packet

// The flags and the offset of IPv4's third word (RFC 791, 3.1).
const (
	flagReserved = 0x8000
	flagDF       = 0x4000
	flagMF       = 0x2000
	offsetMask   = 0x1fff // in units of 8 bytes
)

func (v *View) decode4(b []byte) Reason {
	_ = b[19] // BCE: Decode has looked
	n, total := int(b[0]&15)*4, int(be16(b[2:]))
	switch {
	case n < 20:
		return BadHeader
	case n > len(b):
		return BadLength
	case total < n:
		return BadHeader
	case total > len(b):
		return BadLength
	}
	src, dst := be32(b[12:]), be32(b[16:])
	if bad4(src) || src >= 224<<24 || bad4(dst) || src == dst {
		return BadAddress
	}
	v.Src, v.Dst = Addr4(src), Addr4(dst)
	v.Version, v.Len, v.ID = 4, uint16(total), be16(b[4:])
	v.TOS, v.TTL, v.Proto = b[1], b[8], b[9]
	if v.TTL == 0 {
		return BadHeader
	}
	if n > 20 && !ipOptions(b[20:n]) {
		return BadOption
	}
	frag := be16(b[6:])
	v.DF = frag&flagDF != 0
	if frag&^flagDF != 0 {
		if r := v.fragment4(frag, n); r != OK || v.Frag == Later {
			return r
		}
	}
	return v.transport(b[:total], n)
}

// bad4 says of an address what neither end of a packet on a wire may have:
// "this network" and loopback (RFC 6890).
func bad4(a uint32) bool { return a>>24 == 0 || a>>24 == 127 }

// fragment4 reads flags and offset that are not those of a whole packet.
func (v *View) fragment4(frag uint16, header int) Reason {
	if frag&flagReserved != 0 {
		return BadHeader
	}
	if frag&flagDF != 0 && frag&flagMF != 0 {
		return BadFragment
	}
	return v.fragment(int(frag&offsetMask)*8, header, frag&flagMF != 0)
}

// fragment judges one piece of a datagram; offset is in bytes, header is
// where the piece starts in its packet. It is shared by both families.
func (v *View) fragment(offset, header int, more bool) Reason {
	size := int(v.Len) - header
	switch {
	case size == 0,
		more && size%8 != 0,
		header+offset+size > 65535:
		return BadFragment
	case offset == 8 && v.Proto == TCP: // would overwrite the flags: RFC 3128
		return BadFragment
	case offset > 0:
		v.Frag, v.L4, v.Payload = Later, uint16(header), uint16(header)
	case more:
		v.Frag = First
	}
	return OK
}
