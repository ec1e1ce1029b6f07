package flows

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"

	"turnout/classifier/packet"
	"turnout/cmd/internal/control"
)

// Skipped counts the packets of a capture that start no flow.
type Skipped struct {
	NotIP     int // ARP and the like
	Malformed int // what the data path would drop unread
	NoFlow    int // ICMP errors and replies, later fragments, packets of port 0
	Answers   int // out of the internet, for the LAN
}

// ReadCapture gives the flows of a pcap or pcapng capture, in the order of
// their first packets. The packets are decoded as the data path does it; the
// direction of a flow is that of its first packet, but where the LAN's prefixes
// are known, only packets of its hosts start one. Packets that were captured in
// part do, as long as their headers are there.
func ReadCapture(in io.Reader, lan []netip.Prefix) (out []control.Query, s Skipped, err error) {
	defer func() {
		// A broken file must not look like a fault of ours, and the readers
		// trust what it says of itself.
		if what := recover(); what != nil {
			err = fmt.Errorf("the capture is broken: %v", what)
		}
	}()
	next, err := open(in)
	if err != nil {
		return nil, s, fmt.Errorf("it is no pcap or pcapng capture: %w", err)
	}
	f := finder{lan: lan, seen: map[tuple]struct{}{}}
	for {
		data, link, err := next()
		switch {
		case errors.Is(err, io.EOF):
			return f.flows, f.Skipped, nil
		case errors.Is(err, io.ErrUnexpectedEOF):
			return f.flows, f.Skipped, errors.New("the capture breaks off in a packet; it was still being written, or was cut")
		case err != nil:
			return f.flows, f.Skipped, fmt.Errorf("the capture is broken: %w", err)
		}
		f.packet(data, link)
	}
}

// open tells the two formats apart. The data is valid until the next call.
func open(in io.Reader) (func() ([]byte, layers.LinkType, error), error) {
	b := bufio.NewReaderSize(in, 1<<20)
	magic, err := b.Peek(4)
	if err != nil {
		return nil, errors.New("it has no 4 bytes")
	}
	if binary.LittleEndian.Uint32(magic) == 0x0a0d0d0a { // pcapng's section header, either byte order
		r, err := pcapgo.NewNgReader(b, pcapgo.NgReaderOptions{WantMixedLinkType: true, SkipUnknownVersion: true})
		if err != nil {
			return nil, err
		}
		return func() ([]byte, layers.LinkType, error) {
			data, ci, err := r.ZeroCopyReadPacketData()
			if err != nil {
				return nil, 0, err
			}
			return data, ci.AncillaryData[0].(layers.LinkType), nil
		}, nil
	}
	r, err := pcapgo.NewReader(b)
	if err != nil {
		return nil, err
	}
	return func() ([]byte, layers.LinkType, error) {
		data, _, err := r.ZeroCopyReadPacketData()
		return data, r.LinkType(), err
	}, nil
}

// A tuple names a flow by its first packet.
type tuple struct {
	src, dst         packet.Addr
	srcPort, dstPort uint16
	proto            uint8
}

func (t tuple) reverse() tuple { return tuple{t.dst, t.src, t.dstPort, t.srcPort, t.proto} }

// A finder turns packets into flows.
type finder struct {
	Skipped
	lan   []netip.Prefix
	flows []control.Query
	seen  map[tuple]struct{}
	view  packet.View
	whole []byte
}

func (f *finder) packet(data []byte, link layers.LinkType) {
	b := network(data, link)
	if b == nil {
		f.NotIP++
		return
	}
	v := &f.view
	if v.Decode(f.pad(b)) != packet.OK {
		f.Malformed++
		return
	}
	t, ok := start(v)
	if !ok {
		f.NoFlow++
		return
	}
	if f.foreign(v) {
		f.Answers++
		return
	}
	if _, known := f.seen[t]; known {
		return
	}
	if _, known := f.seen[t.reverse()]; known {
		return
	}
	f.seen[t] = struct{}{}
	f.flows = append(f.flows, control.Query{
		From: v.Src.Netip(), To: v.Dst.Netip(), Proto: v.Proto, FromPort: t.srcPort, Port: t.dstPort, DSCP: v.TOS >> 2,
	})
}

// start names the flow that a packet may start.
func start(v *packet.View) (t tuple, ok bool) {
	t = tuple{src: v.Src, dst: v.Dst, proto: v.Proto}
	switch {
	case v.IsError || v.Frag == packet.Later:
		return t, false
	case v.Proto == packet.TCP || v.Proto == packet.UDP:
		t.srcPort, t.dstPort = v.SrcPort, v.DstPort
		return t, v.HasPorts && v.SrcPort != 0 && v.DstPort != 0
	case v.Proto == packet.ICMP:
		return t, v.Type == 8
	case v.Proto == packet.ICMPv6:
		return t, v.Type == 128
	}
	return t, true
}

// foreign reports whether the packet comes from outside of a LAN that is known.
func (f *finder) foreign(v *packet.View) bool {
	known, a := false, v.Src.Netip()
	for _, p := range f.lan {
		if p.Contains(a) {
			return false
		}
		known = known || p.Addr().Is4() == a.Is4()
	}
	return known
}

// linuxSLL2 is the link type 276 of captures of all interfaces, as pcapgo, which
// keeps its lowest byte only, shows it. No other type ends in that byte.
const linuxSLL2 layers.LinkType = 276 & 0xff

// network returns the IP packet in a frame, nil when there is none.
func network(data []byte, link layers.LinkType) []byte {
	switch link {
	case linuxSLL2:
		if len(data) < 20 {
			return nil
		}
		if proto := binary.BigEndian.Uint16(data); proto != 0x0800 && proto != 0x86dd {
			return nil
		}
		return data[20:]
	case layers.LinkTypeRaw, layers.LinkTypeIPv4, layers.LinkTypeIPv6, 12, 14: // of BSDs
		return data
	}
	p := gopacket.NewPacket(data, link, gopacket.DecodeOptions{Lazy: true, NoCopy: true})
	if p.NetworkLayer() == nil {
		return nil
	}
	at := 0
	for _, l := range p.Layers() {
		if t := l.LayerType(); t == layers.LayerTypeIPv4 || t == layers.LayerTypeIPv6 {
			return data[at:]
		}
		at += len(l.LayerContents())
	}
	return nil
}

// pad gives a packet that was captured in part the length that its header
// says, in a buffer of its own: policy looks at headers only.
func (f *finder) pad(b []byte) []byte {
	var want int
	switch {
	case len(b) >= 20 && b[0]>>4 == 4:
		want = int(binary.BigEndian.Uint16(b[2:]))
	case len(b) >= 40 && b[0]>>4 == 6:
		want = 40 + int(binary.BigEndian.Uint16(b[4:]))
	}
	if want <= len(b) {
		return b
	}
	f.whole = slices.Grow(append(f.whole[:0], b...), want-len(b))[:want]
	clear(f.whole[len(b):])
	return f.whole
}
