package hostile

import (
	"encoding/binary"

	"turnout/classifier/packet"
	"turnout/dataplane/segment"
)

// offload appends M75 to M79. What comes out of a tunnel has no virtio header.
func (l *list) offload() {
	tcp := segment.Header{Flags: segment.NeedsChecksum, GSOType: segment.GSOTCPv4, HdrLen: 40, GSOSize: 1000, CsumStart: 20, CsumOffset: 16}
	udp := segment.Header{Flags: segment.NeedsChecksum, GSOType: segment.GSOUDP, HdrLen: 28, GSOSize: 1000, CsumStart: 20, CsumOffset: 6}
	super := func(class int, name string, h segment.Header, want Result, n int) {
		*l = append(*l, Case{
			Class: class, Name: name, Header: h, Want: [Sides]Result{LAN: want},
			make: func(t Talk) [][]byte {
				if h.GSOType == segment.GSOUDP {
					return [][]byte{partial(t.udp(data(n)), 6)}
				}
				return [][]byte{partial(t.tcp(packet.ACK, nil, data(n)), 16)}
			},
		})
	}
	with := func(h segment.Header, f func(*segment.Header)) segment.Header {
		f(&h)
		return h
	}
	size := func(h segment.Header, n uint16) segment.Header {
		return with(h, func(h *segment.Header) { h.GSOSize = n })
	}
	start := func(h segment.Header, kind uint8, n uint16) segment.Header {
		return with(h, func(h *segment.Header) { h.GSOType, h.CsumStart = kind, n })
	}
	hdrLen := func(h segment.Header, n uint16) segment.Header {
		return with(h, func(h *segment.Header) { h.HdrLen = n })
	}
	bad := drop(packet.BadOffload)
	super(75, "TCP of size 0", size(tcp, 0), bad, 5000)
	super(75, "UDP of size 0", size(udp, 0), bad, 5000)
	super(76, "beyond the packet", start(tcp, segment.GSONone, 1000), bad, 100)
	super(76, "the last byte", start(tcp, segment.GSONone, 139), bad, 100)
	super(76, "65,535", start(tcp, segment.GSONone, 65535), bad, 100)
	super(76, "inside the IP header", start(tcp, segment.GSONone, 8), bad, 100)
	super(76, "over the TCP header", start(tcp, segment.GSONone, 32), bad, 100)
	super(76, "into the ports", with(start(tcp, segment.GSONone, 20), func(h *segment.Header) { h.CsumOffset = 0 }), bad, 100)
	super(76, "beyond a super-packet", start(tcp, tcp.GSOType, 65535), bad, 5000)
	for _, n := range []uint16{0, 1, 39, 1000, 65535} {
		super(77, "TCP, "+decimal(int(n)), hdrLen(tcp, n), forward, 5000)
		super(77, "UDP, "+decimal(int(n)), hdrLen(udp, n), forward, 5000)
	}
	super(78, "in segments that fit", size(tcp, 1380), forward, 65000)
	super(79, "segments of 8 bytes", size(tcp, 8), forward, 65000)
	super(79, "segments of 1 byte", size(tcp, 1), forward, 20000)
	super(79, "datagrams of 8 bytes", size(udp, 8), forward, 65000)
	l.tooLarge(with(tcp, func(h *segment.Header) { h.GSOSize = 1381 }))
}

// tooLarge appends what of M78 does not fit the tunnel as it is.
func (l *list) tooLarge(h segment.Header) {
	df := func(b []byte) []byte {
		b[6] |= 0x40
		return Mend(b)
	}
	big := answer(packet.TooBig)
	l.add(78, "whole, DF", big, big, func(t Talk) []byte { return df(t.udp(data(65507))) })
	l.pass(78, "whole", func(t Talk) []byte { return t.udp(data(65507)) })
	*l = append(*l, Case{
		Class: 78, Name: "in segments of a byte too many, DF", Header: h, Want: [Sides]Result{LAN: big},
		make: func(t Talk) [][]byte { return [][]byte{partial(df(t.tcp(packet.ACK, nil, data(65000))), 16)} },
	})
}

// partial leaves of the transport checksum, at bytes into its header, what the
// kernel leaves of one that is to be completed: the sum of the pseudo-header.
func partial(b []byte, at int) []byte {
	pseudo := packet.Checksum(b[12:20], uint64(b[9])+uint64(len(b)-20))
	binary.BigEndian.PutUint16(b[20+at:], pseudo)
	return b
}
