package packet

// The flags and the offset of IPv4's third word (RFC 791, 3.1).
const (
	flagReserved = 0x8000
	flagDF       = 0x4000
	flagMF       = 0x2000
	offsetMask   = 0x1fff // in units of 8 bytes
)

// length4 names what is wrong between three lengths: of the header, of the
// packet by its header, and of what is there.
//
//go:noinline
func length4(header, total, size int) Reason {
	if header < 20 || total < header && header <= size {
		return BadHeader
	}
	return BadLength
}

// noSource and noDestination tell by its first octet what an address may not
// be on a wire: "this network" and loopback neither end, multicast and class E
// not the source (RFC 6890, RFC 1122 3.2.1.3).
var (
	noSource = func() (t [256]bool) {
		t[0], t[127] = true, true
		for i := 224; i < 256; i++ {
			t[i] = true
		}
		return t
	}()
	noDestination = [256]bool{0: true, 127: true}
)

// rare4 reads on where an IPv4 packet is as few are: options in a header of n
// bytes, or flags and an offset that are not those of a whole packet.
func (v *View) rare4(b []byte, n int, frag uint16) Reason {
	if n > 20 && !ipOptions(b[20:n]) {
		return BadOption
	}
	if frag&^flagDF != 0 {
		if r := v.fragment4(frag, n); r != OK || v.Frag == Later {
			return r
		}
	}
	return v.transport(b[n:], n, v.Proto)
}

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
