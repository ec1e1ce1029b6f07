package packet

// verifyError judges an ICMP error whose checksum is true. No router makes one
// that needs fragments (RFC 1812, 4.3.2.3), and its checksum could not be
// verified. Redirects and source quench are not for strangers to send (RFC 1812,
// 4.3.3.2; RFC 6633), nor are the errors that nobody has defined.
func (v *View) verifyError(b []byte) Reason {
	if v.Frag != Whole {
		return BadFragment
	}
	const carried4, carried6 = 1<<3 | 1<<11 | 1<<12, 1<<1 | 1<<2 | 1<<3 | 1<<4
	carried, tooBig := uint32(carried4), v.Type == 3 && v.Code == 4
	if v.Version == 6 {
		carried, tooBig = carried6, v.Type == 2
	}
	if carried>>v.Type&1 == 0 {
		return BadICMP
	}
	var e View
	if r := v.Embedded(b, &e); r != OK {
		return r
	}
	if tooBig && !e.tooBigFor(b[v.L4+4:]) {
		return BadICMP
	}
	return OK
}

// tooBigFor reports whether the quoted packet e can be too big for the MTU
// that the error's second word, at the start of b, tells: every link takes 68
// bytes (RFC 791, 3.2), 0 is of routers older than RFC 1191, and a packet that
// fits needs no fragments. Decode knows the least MTU of IPv6.
func (e *View) tooBigFor(b []byte) bool {
	mtu := be32(b)
	if e.Version == 4 {
		if mtu &= 0xffff; mtu < 68 {
			return false
		}
	}
	return mtu < uint32(e.Len)
}

// Embedded decodes the packet that an ICMP error quotes: e's offsets count
// from b[v.Payload:]. The quote may end after 8 bytes of its transport
// header, so less is asked of it than of a packet that travels: addresses,
// flags, lengths and transport checksum are as they come. e.Len is what the
// quoted header says, e.Payload means nothing. A bad checksum of a quoted
// IPv4 header is refused (RFC 5508, REQ-3), and so is an error about an error.
// Extensions behind the quote (RFC 4884) are no part of it.
func (v *View) Embedded(b []byte, e *View) Reason {
	*e = View{}
	if !v.IsError || int(v.Len) > len(b) || v.Payload > v.Len {
		return BadICMP
	}
	q, r := v.quote(b[v.Payload:v.Len], b[v.L4:])
	if r != OK {
		return r
	}
	if v.Version == 4 {
		r = e.quoted4(q)
	} else {
		r = e.quoted6(q)
	}
	if r != OK || e.Frag == Later {
		return r
	}
	return e.quotedTransport(q)
}

// quote returns what of an ICMP error's payload is the packet that it is
// about. Extensions may follow where the header h counts its words; 0 is an
// error without (RFC 4884, 4 and 5).
func (v *View) quote(payload, h []byte) ([]byte, Reason) {
	n := 0
	switch {
	case v.Version == 4 && (v.Type == 3 || v.Type == 11 || v.Type == 12):
		n = int(h[5]) * 4
	case v.Version == 6 && (v.Type == 1 || v.Type == 3):
		n = int(h[4]) * 8
	}
	if n > len(payload) {
		return nil, BadICMP
	}
	if n > 0 {
		payload = payload[:n]
	}
	return payload, OK
}

func (v *View) quoted4(q []byte) Reason {
	if len(q) < 20 || q[0]>>4 != 4 {
		return BadICMP
	}
	n, total := int(q[0]&15)*4, int(be16(q[2:]))
	if n < 20 || n > len(q) || total < n {
		return BadICMP
	}
	if Checksum(q[:n], 0) != 0xffff {
		return BadChecksum
	}
	v.Src, v.Dst = Addr4(be32(q[12:])), Addr4(be32(q[16:]))
	v.Version, v.Len, v.ID = 4, uint16(total), be16(q[4:])
	v.TOS, v.TTL, v.Proto = q[1], q[8], q[9]
	v.L4, v.Payload = uint16(n), uint16(n)
	frag := be16(q[6:])
	v.DF = frag&flagDF != 0
	if frag&offsetMask != 0 {
		v.Frag = Later
	} else if frag&flagMF != 0 {
		v.Frag = First
	}
	return OK
}

func (v *View) quoted6(q []byte) Reason {
	if len(q) < 40 || q[0]>>4 != 6 {
		return BadICMP
	}
	total := 40 + int(be16(q[4:]))
	if total > 65535 {
		return BadICMP
	}
	v.Src, v.Dst = addr16(q[8:24]), addr16(q[24:40])
	if v.Src.Is4() || v.Dst.Is4() { // never to be taken for an IPv4 flow
		return BadICMP
	}
	v.Version, v.Len, v.DF = 6, uint16(total), true
	v.TOS, v.TTL, v.Proto = q[0]<<4|q[1]>>4, q[7], q[6]
	l4, r := v.extensions(q)
	if r != OK {
		return BadICMP
	}
	v.L4, v.Payload = uint16(l4), uint16(l4)
	return OK
}

// quotedTransport reads the ports or the identifier, which are all that the
// 8 bytes that every error quotes (RFC 792) need to show.
func (v *View) quotedTransport(q []byte) Reason {
	t := q[v.L4:]
	switch {
	case v.Proto == TCP, v.Proto == UDP:
		if len(t) < 8 {
			return BadICMP
		}
		v.SrcPort, v.DstPort, v.HasPorts = be16(t), be16(t[2:]), true
		if v.Proto == TCP && len(t) > 13 {
			v.Flags = t[13] & 0x3f
		}
	case v.Proto == ICMP && v.Version == 4, v.Proto == ICMPv6 && v.Version == 6:
		if len(t) < 8 {
			return BadICMP
		}
		v.Type, v.Code = t[0], t[1]
		if v.icmpKind(t); v.IsError {
			return BadICMP
		}
	}
	return OK
}
