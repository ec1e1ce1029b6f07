package dataplane

import (
	"sync/atomic"

	"turnout/classifier/packet"
)

// Counters of one direction of one exit. Packets are those on the wire of the
// tunnel, after segmentation; for direct they are the super-packets as read.
type Counters struct {
	Packets, Bytes atomic.Uint64
}

func (c *Counters) add(packets, bytes int) {
	c.Packets.Add(uint64(packets))
	c.Bytes.Add(uint64(bytes))
}

// Drops counts packets that were not forwarded, by reason. A super-packet
// counts once.
type Drops [packet.NumReasons]atomic.Uint64

func (d *Drops) add(r packet.Reason) { d[r].Add(1) }

// lost counts n packets at once.
func (d *Drops) lost(r packet.Reason, n int) {
	if n > 0 {
		d[r].Add(uint64(n))
	}
}

// Each calls f for every reason that was counted at least once, in the order
// of the reasons.
func (d *Drops) Each(f func(packet.Reason, uint64)) {
	for r := range d {
		if n := d[r].Load(); n > 0 {
			f(packet.Reason(r), n)
		}
	}
}
