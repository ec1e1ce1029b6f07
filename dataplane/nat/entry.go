package nat

import (
	"sync/atomic"

	"turnout/classifier/packet"
)

// An entry is a flow in the table, in 96 bytes without pointers. Addresses are
// numbers: see addresses. Its layout is that of the file: layoutVersion.
type entry struct {
	lan, remote, far          uint32
	lanPort, remotePort, port uint16
	farPort                   uint16
	tag                       uint32 // 0: the entry is free
	proto                     uint8
	state                     State
	by                        uint8
	generation                uint8
	started, touched          Tick
	prev, next                uint32 // in the queue of its state; next chains free entries
	line                      int32
	tcp                       tracking // of other protocols: chain
	packets                   [2]uint32
	bytes                     [2]uint64
}

// An entry's tag is the number of its binding and what else never changes, or
// says how the rest is to be read.
const (
	tagBinding = 1<<16 - 1
	tagSix     = 1 << 16 // of IPv6
	tagIn      = 1 << 17 // the far side began it
	tagMapped  = 1 << 18 // its port is a mapping's, and it is in the mapping's chain
	tagCone    = 1 << 19 // began from the far side at a port open to everyone
	tagAdopted = 1 << 20 // from the process before
)

func (e *entry) binding() uint16    { return uint16(e.tag) }
func (e *entry) six() bool          { return e.tag&tagSix != 0 }
func (e *entry) is(tag uint32) bool { return e.tag&tag != 0 }

// opener is the side that began: out or in.
func (e *entry) opener() int { return int(e.tag / tagIn & 1) }

// publish makes entry e at its place one that a later process may adopt: all
// the rest of it has been written. withdraw is the opposite and comes before
// any change that would leave a lie. A process can be killed between any two
// stores; the atomic ones keep the compiler from moving others across.
func (e *entry) publish(tag uint32) { atomic.StoreUint32(&e.tag, tag) }
func (e *entry) withdraw()          { atomic.StoreUint32(&e.tag, 0) }

// chain is where flows that have no TCP connection keep their neighbours in the
// chain of a mapping: previous and next.
func (e *entry) chain() *[2]uint32 { return &e.tcp.end }

const (
	chainPrev = 0
	chainNext = 1
)

// A direction of a packet in a flow, and the index of its side's numbers: out
// is from the near side to the far one.
const (
	out = 0
	in  = 1
)

// count adds a packet of n bytes to the flow's traffic. It comes after copy:
// reading back in one piece what was just written in two would stall.
func (e *entry) count(dir int, n uint16) {
	e.packets[dir]++
	e.bytes[dir] += uint64(n)
}

// copy makes f a copy of entry e. It writes f in place, field by field: a Flow
// built elsewhere and copied costs a stall of 15 ns.
func (t *Table) copy(f *Flow, e *entry) {
	b := &t.bindings.list[e.binding()]
	f.Exit, f.Entry, f.By, f.Masquerade, f.Addr = b.exit, e.line, e.by, b.masquerade, b.addr
	f.Near, f.FullCone = b.near, b.fullCone
	if b.pool != b.exit {
		f.Pool = b.pool
	}
	six := e.six()
	f.Generation, f.Inbound, f.Adopted = e.generation, e.is(tagIn), e.is(tagAdopted)
	if e.far != e.remote || e.farPort != e.remotePort {
		f.Far, f.FarPort = t.addrs.of(e.far, six), e.farPort
	}
	f.LAN, f.Remote = t.addrs.of(e.lan, six), t.addrs.of(e.remote, six)
	f.LANPort, f.RemotePort, f.Port = e.lanPort, e.remotePort, e.port
	f.Proto, f.State = e.proto, e.state
	f.StartedAt, f.TouchedAt = e.started, e.touched
	f.BytesOut, f.BytesIn = e.bytes[out], e.bytes[in]
	f.PacketsOut, f.PacketsIn = e.packets[out], e.packets[in]
}

// hold numbers e's addresses, for as long as the entry lives; false when there
// is no memory. All are of one family: packets of two cannot meet in a flow.
func (t *Table) hold(e *entry, lan, remote, far packet.Addr) bool {
	if !lan.Is4() {
		e.tag |= tagSix
	}
	var ok bool
	if e.lan, ok = t.addrs.take(lan); !ok {
		return false
	}
	if e.remote, ok = t.addrs.take(remote); !ok {
		t.letGo(e, e.lan)
		return false
	}
	if e.far, ok = t.addrs.take(far); !ok {
		t.letGo(e, e.lan, e.remote)
	}
	return ok
}

// letGo releases numbers of e.
func (t *Table) letGo(e *entry, numbers ...uint32) {
	if e.six() {
		for _, n := range numbers {
			t.addrs.release(n)
		}
	}
}

// A packet finds its flow by the side that it comes from, both ends as that
// side knows them, their ports and the protocol.

func (t *Table) nearHash(e *entry) uint64 {
	return t.secret.hash(e.lan, e.remote, ports(e.lanPort, e.remotePort), t.nearTag(e))
}

func (t *Table) farHash(e *entry) uint64 {
	b := &t.bindings.list[e.binding()]
	return t.secret.hash(b.external(e), e.far, ports(e.port, e.farPort), e.sideTag(b.exit))
}

func (t *Table) nearTag(e *entry) uint32 { return e.sideTag(t.bindings.list[e.binding()].near) }

func (e *entry) sideTag(side uint16) uint32 {
	return sideTag(side, e.proto) | e.tag&tagSix<<sixShift
}

// sideTag is what tells apart, beside addresses and ports; IPv6 adds sideSix.
func sideTag(side uint16, proto uint8) uint32 { return uint32(side)<<8 | uint32(proto) }

const (
	sixShift = 8
	sideSix  = tagSix << sixShift
)

// external returns the number of the address that the far end of flow e sees.
func (b *binding) external(e *entry) uint32 {
	if b.masquerade {
		return b.ext
	}
	return e.lan
}
