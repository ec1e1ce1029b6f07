package nat

import (
	"math/bits"
	"slices"

	"turnout/classifier/packet"
)

// verify looks at every part of the table for a contradiction.
func (r *rig) verify() {
	r.Helper()
	t := r.Table
	if t.byNear.used != t.n || t.byFar.used != t.n {
		r.Fatalf("%d flows, indexes of %d and %d", t.n, t.byNear.used, t.byFar.used)
	}
	c := newCensus()
	for i := uint32(1); i < t.flows.next; i++ {
		if e := t.flows.at(i); e.tag != 0 {
			r.verifyEntry(c, i, e)
		}
	}
	if len(c.seen) != t.n || c.resting != t.resting {
		r.Fatalf("%d flows and %d resting in the slab, %d and %d counted", len(c.seen), c.resting, t.n, t.resting)
	}
	for n := range t.bindings.list {
		b := &t.bindings.list[n]
		if b.entries != c.bindings[uint16(n)] {
			r.Fatalf("binding %d counts %d entries of %d", n, b.entries, c.bindings[uint16(n)])
		}
		if b.masquerade && !b.addr.Is4() {
			c.addrs[b.ext]++
		}
	}
	r.verifyPorts(c)
	r.verifyHosts(c)
	r.verifyAddresses(c)
	r.verifyQueues()
}

// A census is what the entries of a table amount to.
type census struct {
	seen     map[farKey]bool
	resting  int
	bindings map[uint16]uint32
	hosts    map[host]uint32
	addrs    map[uint32]uint32       // users of IPv6 numbers
	mappings map[mappingKey][]uint32 // their flows, or the resting entry
}

type farKey struct{ ext, far, ports, tag uint32 }

type mappingKey struct {
	pool *pool
	icmp bool
	port uint16
}

func newCensus() *census {
	return &census{map[farKey]bool{}, 0, map[uint16]uint32{}, map[host]uint32{}, map[uint32]uint32{}, map[mappingKey][]uint32{}}
}

func (r *rig) verifyEntry(c *census, i uint32, e *entry) {
	r.Helper()
	t := r.Table
	b := &t.bindings.list[e.binding()]
	c.bindings[e.binding()]++
	if e.six() {
		c.addrs[e.lan]++
	}
	mapped := mappingKey{b.ports, e.proto != packet.UDP, e.port}
	if e.state == resting {
		c.resting++
		if !e.is(tagMapped) || len(c.mappings[mapped]) != 0 {
			r.Fatalf("entry rests at a port in use: %+v", e)
		}
		c.mappings[mapped] = []uint32{i}
		return
	}
	if e.six() {
		c.addrs[e.remote]++
		c.addrs[e.far]++
	}
	far := farKey{b.external(e), e.far, ports(e.port, e.farPort), e.sideTag(b.exit)}
	if c.seen[far] {
		r.Fatalf("two flows look alike from the tunnel: %+v", far)
	}
	c.seen[far] = true
	if !indexed(&t.byNear, i, t.nearHash(e)) || !indexed(&t.byFar, i, t.farHash(e)) {
		r.Fatalf("flow %+v is not in both indexes", e)
	}
	c.hosts[host{addr: e.lan, near: b.near, six: e.six()}]++
	maps := b.masquerade && t.portsOf(b.ports, e.proto) != nil
	if e.is(tagMapped) && (!maps || e.is(tagIn) != e.is(tagCone)) || !e.is(tagMapped|tagIn) && maps {
		r.Fatalf("flow %+v has a mapping or has none, wrongly", e)
	}
	if e.is(tagMapped) {
		c.mappings[mapped] = append(c.mappings[mapped], i)
	}
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

// verifyPorts checks that the ports in use are those of the mappings, that each
// mapping is of one near endpoint, which has no other, and that its chain holds
// its flows.
func (r *rig) verifyPorts(c *census) {
	r.Helper()
	type endpoint struct {
		pool      *pool
		proto     uint8
		near      uint16
		lan, port uint32
	}
	endpoints, away := map[endpoint]bool{}, 0
	for k, flows := range c.mappings {
		e := r.flows.at(flows[0])
		b := &r.bindings.list[e.binding()]
		p := r.portsOf(k.pool, e.proto)
		own := endpoint{k.pool, e.proto, b.near, e.lan, uint32(e.lanPort)}
		if endpoints[own] {
			r.Fatalf("two mappings of %+v", own)
		}
		endpoints[own] = true
		first := p.owner[k.port]
		if !p.used.has(k.port) || r.mappingOf(b, p, e) != first || !slices.Contains(flows, first) {
			r.Fatalf("port %d has no owner or a wrong one", k.port)
		}
		if e.port != e.lanPort {
			away++
		}
		if e.state == resting {
			continue
		}
		n, prev := 0, uint32(0)
		for i := first; i != 0; i = r.flows.at(i).chain()[chainNext] {
			o := r.flows.at(i)
			if !slices.Contains(flows, i) || o.chain()[chainPrev] != prev || !r.sameEndpoint(b, i, e) {
				r.Fatalf("the chain of port %d is broken", k.port)
			}
			n, prev = n+1, i
		}
		if n != len(flows) {
			r.Fatalf("%d of %d flows in the chain of port %d", n, len(flows), k.port)
		}
	}
	if r.byMapping.used != away {
		r.Fatalf("%d mappings with another port, %d in the index", away, r.byMapping.used)
	}
	r.verifyUsed(len(endpoints))
}

func (r *rig) verifyUsed(want int) {
	r.Helper()
	n := 0
	for _, b := range r.bindings.pools {
		for _, p := range []*portTable{b.udp, b.icmp} {
			if p != nil {
				for _, w := range p.used {
					n += bits.OnesCount64(w)
				}
			}
		}
		if b.udp != nil {
			if n--; !b.udp.used.has(0) {
				r.Fatal("UDP port 0 is to be had")
			}
		}
	}
	if n != want {
		r.Fatalf("%d ports in use for %d endpoints", n, want)
	}
}

func (r *rig) verifyHosts(c *census) {
	r.Helper()
	for k, n := range c.hosts {
		e := entry{lan: k.addr}
		if k.six {
			e.tag = tagSix
		}
		i := r.hosts.find(k.near, &e)
		if i == 0 || r.hosts.list.at(i).flows != n {
			r.Fatalf("host %+v counts other than %d flows", k, n)
		}
	}
	if r.hosts.index.used != len(c.hosts) {
		r.Fatalf("%d hosts counted, %d there", r.hosts.index.used, len(c.hosts))
	}
}

func (r *rig) verifyAddresses(c *census) {
	r.Helper()
	for i, n := range c.addrs {
		a := *r.addrs.list.at(i)
		if r.addrs.uses[i] != n || r.addrs.find(a, r.addrs.hash(a)) != i {
			r.Fatalf("%v has %d users, counted %d", a, n, r.addrs.uses[i])
		}
	}
	if r.addrs.used != len(c.addrs) || r.addrs.index.used != len(c.addrs) {
		r.Fatalf("%d addresses in use, %d in the index, %d counted", len(c.addrs), r.addrs.index.used, r.addrs.used)
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
			if int(e.state) != s || e.prev != prev || e.tag == 0 {
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
	if n != r.n+r.resting {
		r.Fatalf("%d entries in queues, %d flows and %d resting", n, r.n, r.resting)
	}
}
