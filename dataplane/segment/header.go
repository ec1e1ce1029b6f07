package segment

import (
	"encoding/binary"

	"turnout/classifier/packet"
)

// HeaderLen is the size in bytes of the virtio header before every packet that
// a TUN device gives or takes: struct virtio_net_hdr without num_buffers.
const HeaderLen = 10

// Flags of a Header (include/uapi/linux/virtio_net.h).
const (
	NeedsChecksum = 1 // the checksum field holds the sum of the pseudo-header only
	DataValid     = 2 // somebody verified the checksum
)

// Kinds of super-packets. ECN is a bit beside the TCP kinds: the first segment
// carries CWR.
const (
	GSONone  = 0
	GSOTCPv4 = 1
	GSOTCPv6 = 4
	GSOUDP   = 5 // equal datagrams of one flow, the last may be shorter
	GSOECN   = 0x80
)

// A Header is what the kernel says about the packet behind it, or we to the
// kernel: struct virtio_net_hdr, in host byte order.
type Header struct {
	Flags, GSOType        uint8
	HdrLen                uint16 // a hint for the kernel; never believed when read
	GSOSize               uint16 // bytes of payload in each segment but the last
	CsumStart, CsumOffset uint16 // sum from here to the end, and put it there
}

// Decode reads the header from the first HeaderLen bytes of b, and reports
// whether there are so many.
func (h *Header) Decode(b []byte) bool {
	if len(b) < HeaderLen {
		return false
	}
	*h = Header{
		Flags:      b[0],
		GSOType:    b[1],
		HdrLen:     binary.NativeEndian.Uint16(b[2:]),
		GSOSize:    binary.NativeEndian.Uint16(b[4:]),
		CsumStart:  binary.NativeEndian.Uint16(b[6:]),
		CsumOffset: binary.NativeEndian.Uint16(b[8:]),
	}
	return true
}

// Encode writes the header into the first HeaderLen bytes of b, which must
// have them.
func (h *Header) Encode(b []byte) {
	b = b[:HeaderLen]
	b[0], b[1] = h.Flags, h.GSOType
	binary.NativeEndian.PutUint16(b[2:], h.HdrLen)
	binary.NativeEndian.PutUint16(b[4:], h.GSOSize)
	binary.NativeEndian.PutUint16(b[6:], h.CsumStart)
	binary.NativeEndian.PutUint16(b[8:], h.CsumOffset)
}

// Partial reports whether the transport checksum of the packet holds the sum
// of the pseudo-header only, so that a rewrite folds changed addresses into it
// but not changed ports.
func (h *Header) Partial(v *packet.View) bool {
	return h.Flags&NeedsChecksum != 0 && h.CsumStart == v.L4
}

// Largest returns the bytes of the largest packet that the super-packet stands
// for, to be held against an MTU.
func (h *Header) Largest(v *packet.View) int {
	if h.GSOType == GSONone {
		return int(v.Len)
	}
	return min(int(v.Len), int(v.Payload)+int(h.GSOSize))
}

// Segments returns how many packets the super-packet stands for.
func (h *Header) Segments(v *packet.View) int {
	if h.GSOType == GSONone || h.GSOSize == 0 {
		return 1
	}
	return max(1, (int(v.Len-v.Payload)+int(h.GSOSize)-1)/int(h.GSOSize))
}
