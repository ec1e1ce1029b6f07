package fragment

import "encoding/binary"

const (
	unit      = 8 // offsets of fragments count in it
	maxPacket = 65535
)

// A part is what a fragment says of itself.
type part struct {
	id       uint32
	from, to uint16 // the bytes of the datagram's data that it carries
	last     bool
	header   uint16 // where in the packet those bytes begin
	lead     uint16 // bytes of header that the whole datagram has before its data, if this is its first fragment
	link     uint16 // IPv6: where the number stands that announces the fragment header
}

// read finds out which part of its datagram fragment b is, all of it and no
// more. That it makes sense by itself Decode has seen to.
func read(b []byte) part {
	if b[0]>>4 == 4 {
		const more, offset = 0x2000, 0x1fff
		word := binary.BigEndian.Uint16(b[6:])
		from, header := word&offset*unit, uint16(b[0]&15)*4
		return part{
			id: uint32(binary.BigEndian.Uint16(b[4:])), from: from, to: from + uint16(len(b)) - header,
			last: word&more == 0, header: header, lead: header,
		}
	}
	// Headers for hops on the way come before the fragment header, those for
	// the far end after it, so it need not end where the transport header begins.
	const fragmentHeader, more, flags = 44, 1, 7
	link, at := 6, 40
	for b[link] != fragmentHeader {
		link, at = at, at+8+int(b[at+1])*8
	}
	word := binary.BigEndian.Uint16(b[at+2:])
	from, header := word&^flags, uint16(at+8)
	return part{
		id: binary.BigEndian.Uint32(b[at+4:]), from: from, to: from + uint16(len(b)) - header,
		last: word&more == 0, header: header, lead: uint16(at), link: uint16(link),
	}
}
