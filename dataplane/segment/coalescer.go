package segment

import "turnout/classifier/packet"

// A Writer takes packets for a TUN device. WriteVec writes one packet, the
// concatenation of iov, behind the virtio header h; both are borrowed until it
// returns. An error says that the packet is lost, nothing more.
type Writer interface {
	WriteVec(h *Header, iov [][]byte) error
}

const (
	// maxSegments bounds a super-packet, and so its scatter list.
	maxSegments = 128
	// maxDatagrams is what every kernel takes: UDP_MAX_SEGMENTS was 64 before
	// it became 128.
	maxDatagrams = 64
	maxPacket    = 65535
	buckets      = 128
)

// A Coalescer collects the packets of a batch and writes them as few
// super-packets. Within a flow packets leave in the order in which they came;
// a flow as a whole may overtake another. What cannot merge leaves as it came.
//
// Nothing is merged whose transport checksum is wrong: the kernel computes the
// checksums of what is merged anew, which would make a damaged segment whole
// again. The zero Coalescer is ready to use.
type Coalescer struct {
	// UDP also merges datagrams. The TUN device must have taken USO (Linux
	// 6.2), and whoever gets the datagrams must be able to take them all at
	// once.
	UDP bool

	packets []held   // borrowed: from Add until Flush, in order of arrival
	runs    []run    // in order of departure
	iov     [][]byte // of the run being written
	header  Header   // here, because what an interface is given escapes

	// newest leads from the hash of a flow to the last of its runs, plus one,
	// and run.other to the next with the same hash.
	newest [buckets]int32
}

// held is one packet of the batch and where its run goes on, 0 at the end.
type held struct {
	pkt  []byte
	next int32
}

// A run is one or more packets of a flow that will leave as one.
type run struct {
	flow                flow
	first, last         int32 // packets
	other               int32 // as newest
	count               int32
	l4, payload         int    // offsets of the headers that all share
	size                int    // payload of each packet but the last
	total               int    // bytes of the super-packet so far
	seq                 uint32 // TCP: what the next packet must start with
	open, verified, psh bool
}

// flow tells conversations apart.
type flow struct {
	src, dst packet.Addr
	ports    uint32
	proto    uint8
}

// bucket spreads flows over the table. Whoever finds collisions wins nothing
// but a walk over one batch.
func (f *flow) bucket() int {
	h := f.src.Lo ^ f.dst.Lo<<16 ^ f.src.Hi ^ f.dst.Hi<<16 ^ uint64(f.ports)<<24 ^ uint64(f.proto)
	return int(h * 0x9e3779b97f4a7c15 >> 57)
}

// Add takes a packet that v describes as it is now, and whose IPv4 header
// packet.VerifyHeader has found intact. pkt is borrowed until Flush, and its
// headers may be changed in place.
func (c *Coalescer) Add(pkt []byte, v *packet.View) {
	if int(v.Len) > len(pkt) {
		c.alone(pkt)
		return
	}
	pkt = pkt[:v.Len]
	switch {
	case v.Frag != packet.Whole:
		// Nothing may overtake a fragment, and who knows whose this one is.
		clear(c.newest[:])
		c.alone(pkt)
	case v.Proto == packet.TCP, v.Proto == packet.UDP && c.UDP:
		c.join(pkt, v)
	default:
		c.alone(pkt)
	}
}

// alone has a packet leave by itself.
func (c *Coalescer) alone(pkt []byte) *run {
	i := int32(len(c.packets))
	c.packets = append(c.packets, held{pkt: pkt})
	c.runs = append(c.runs, run{first: i, last: i, count: 1, total: len(pkt)})
	return &c.runs[len(c.runs)-1]
}

// join merges a packet into its flow's last run, or begins a new one. Older
// runs of a flow never grow again: that keeps the order.
func (c *Coalescer) join(pkt []byte, v *packet.View) {
	f := flow{v.Src, v.Dst, uint32(v.SrcPort)<<16 | uint32(v.DstPort), v.Proto}
	bucket := &c.newest[f.bucket()]
	last := c.find(*bucket, &f)
	fit := mergeable(pkt, v)
	if last != nil && fit && c.follows(last, pkt, v) {
		c.append(last, pkt, v)
		return
	}
	if last == nil && !fit {
		c.alone(pkt)
		return
	}
	r := c.alone(pkt)
	r.flow, r.other = f, *bucket
	*bucket = int32(len(c.runs))
	if fit {
		r.begin(pkt, v)
	}
}

// find returns the newest run of a flow, or nil.
func (c *Coalescer) find(at int32, f *flow) *run {
	for at != 0 {
		r := &c.runs[at-1]
		if r.flow == *f {
			return r
		}
		at = r.other
	}
	return nil
}

// append adds a packet to a run.
func (c *Coalescer) append(r *run, pkt []byte, v *packet.View) {
	i := int32(len(c.packets))
	c.packets = append(c.packets, held{pkt: pkt})
	c.packets[r.last].next = i
	r.last = i
	r.count++
	r.grow(pkt, v)
}

// Flush writes what was added, and returns how many of the packets the writer
// refused. It ends the loan of all of them.
func (c *Coalescer) Flush(w Writer) (failed int) {
	for i := range c.runs {
		r := &c.runs[i]
		c.gather(r)
		c.header = Header{}
		if r.count > 1 {
			c.header = r.seal(c.packets[r.first].pkt)
		}
		if w.WriteVec(&c.header, c.iov) != nil {
			failed += int(r.count)
		}
	}
	clear(c.iov[:cap(c.iov)])
	clear(c.packets)
	clear(c.newest[:])
	c.iov, c.packets, c.runs = c.iov[:0], c.packets[:0], c.runs[:0]
	return failed
}

// gather lists the bytes of a run: its first packet, then payloads.
func (c *Coalescer) gather(r *run) {
	c.iov = append(c.iov[:0], c.packets[r.first].pkt)
	for i := c.packets[r.first].next; i != 0; i = c.packets[i].next {
		c.iov = append(c.iov, c.packets[i].pkt[r.payload:])
	}
}
