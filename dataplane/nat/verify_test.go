package nat

import (
	"math/bits"

	"turnout/classifier/packet"
)

// verify looks at every part of the table for a contradiction.
func (r *rig) verify() {
	r.Helper()
	t := r.Table
	if t.byNear.used != t.n || t.byFar.used != t.n {
		r.Fatalf("%d flows, indexes of %d and %d", t.n, t.byNear.used, t.byFar.used)
	}
	type endpoint struct {
		pool  uint16
		proto uint8
		lan   packet.Addr
		port  uint16
	}
	seen := map[key]bool{}
	mapped := map[endpoint]uint16{}
	perBinding := map[uint16]uint32{}
	for i := uint32(1); i < t.flows.next; i++ {
		e := t.flows.at(i)
		if e.binding == 0 {
			continue
		}
		b := &t.bindings.list[e.binding]
		exit := key{b.external(e), e.far, ports(e.port, e.farPort), sideTag(b.exit, e.proto)}
		if seen[exit] {
			r.Fatalf("two flows look alike from the tunnel: %+v", exit)
		}
		seen[exit] = true
		if !indexed(&t.byNear, i, t.nearHash(e)) || !indexed(&t.byFar, i, t.farHash(e)) {
			r.Fatalf("flow %+v is not in both indexes", e)
		}
		perBinding[e.binding]++
		if e.mapped(b) {
			mapped[endpoint{b.ports.number, e.proto, e.lan, e.lanPort}] = e.port
		}
	}
	if len(seen) != t.n {
		r.Fatalf("%d flows in the slab, %d counted", len(seen), t.n)
	}
	if len(mapped) != t.mappings.index.used {
		r.Fatalf("%d mappings for %d endpoints", t.mappings.index.used, len(mapped))
	}
	r.verifyPorts(len(mapped))
	for n := range t.bindings.list {
		if t.bindings.list[n].flows != perBinding[uint16(n)] {
			r.Fatalf("binding %d counts %d flows of %d", n, t.bindings.list[n].flows, perBinding[uint16(n)])
		}
	}
	r.verifyQueues()
}

// indexed reports whether record i stands in x where h leads.
func indexed(x *index, i uint32, h uint64) bool {
	for at := uint32(0); ; at++ {
		var c uint32
		if c, at = x.candidate(h, at); c == i || c == 0 {
			return c == i
		}
	}
}

func (r *rig) verifyPorts(want int) {
	r.Helper()
	n := 0
	for _, b := range r.bindings.pools {
		for _, s := range []*portSet{b.udp, b.icmp} {
			if s != nil {
				for _, w := range s {
					n += bits.OnesCount64(w)
				}
			}
		}
		if b.udp != nil {
			if n--; !b.udp.has(0) {
				r.Fatal("UDP port 0 is to be had")
			}
		}
	}
	if n != want {
		r.Fatalf("%d ports in use for %d endpoints", n, want)
	}
}

// verifyQueues checks that each queue holds the flows of its state, longest
// silent first.
func (r *rig) verifyQueues() {
	r.Helper()
	n := 0
	for s, q := range r.queues {
		prev := uint32(0)
		for i := q.head; i != 0; i = r.flows.at(i).next {
			e := r.flows.at(i)
			if int(e.state) != s || e.prev != prev || e.binding == 0 {
				r.Fatalf("queue %v: entry %d of state %v after %d, back to %d", State(s), i, e.state, prev, e.prev)
			}
			if prev != 0 && e.touched < r.flows.at(prev).touched {
				r.Fatalf("queue %v is out of order", State(s))
			}
			prev = i
			n++
		}
		if q.tail != prev {
			r.Fatalf("queue %v ends at %d, not %d", State(s), q.tail, prev)
		}
	}
	if n != r.n {
		r.Fatalf("%d flows in queues, %d in all", n, r.n)
	}
}
