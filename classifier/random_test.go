package classifier

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"turnout/classifier/packet"
)

var seedFlag = flag.Uint64("seed", 0, "seed of random tests; 0: from the clock")

// newRandom returns a source of randomness whose seed is in the test's log.
func newRandom(t testing.TB) *rand.Rand {
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("again with: go test -run '^%s$' -seed %d", t.Name(), seed)
	return rand.New(rand.NewPCG(seed, 1))
}

// A world draws policies from a small set of values, so that entries are
// near-duplicates of one another, nest and overlap, and draws packets at and
// just outside their edges.
type world struct {
	*rand.Rand
	prefixes []netip.Prefix
	ports    []PortRange
	sets     int // named sets of its policies
}

func newWorld(r *rand.Rand) *world {
	w := &world{Rand: r}
	bases := []netip.Addr{w.addr(true), w.addr(true), w.addr(false), w.addr(false)}
	for range 4 + r.IntN(30) {
		a := bases[r.IntN(len(bases))]
		if r.IntN(3) == 0 {
			a = w.near(a)
		}
		w.prefixes = append(w.prefixes, netip.PrefixFrom(a, r.IntN(a.BitLen()+1)))
	}
	for range 2 + r.IntN(12) {
		lo := uint16(r.IntN(65536))
		switch r.IntN(4) {
		case 0:
			w.ports = append(w.ports, PortRange{lo, lo})
		case 1:
			w.ports = append(w.ports, PortRange{lo, lo + uint16(r.IntN(int(65535-lo)+1))})
		case 2:
			w.ports = append(w.ports, PortRange{lo, min(lo, 65533) + 2}, PortRange{0, lo})
		default:
			w.ports = append(w.ports, PortRange{lo, 65535})
		}
	}
	if r.IntN(3) == 0 { // single ports, for lists that become sets
		w.ports = w.ports[:1]
		for range 30 {
			lo := uint16(r.IntN(60)) * 2
			w.ports = append(w.ports, PortRange{lo, lo})
		}
	}
	for i, p := range w.ports {
		if p.Lo > p.Hi {
			w.ports[i] = PortRange{p.Hi, p.Lo}
		}
	}
	return w
}

func (w *world) addr(v4 bool) netip.Addr {
	if v4 {
		return packet.Addr4(w.Uint32()).Netip()
	}
	return packet.Addr{Hi: w.Uint64() | 1, Lo: w.Uint64()}.Netip()
}

// near returns an address that shares a random number of leading bits with a.
func (w *world) near(a netip.Addr) netip.Addr {
	b := a.AsSlice()
	i := w.IntN(len(b) * 8)
	b[i/8] ^= 0x80 >> (i % 8)
	out, _ := netip.AddrFromSlice(b)
	return out
}

// some returns n or fewer of list, mostly one or none.
func some[T any](w *world, list []T, many int) []T {
	n := [...]int{0, 0, 1, 1, 1, 2, 3, many}[w.IntN(8)]
	var out []T
	for range n {
		out = append(out, list[w.IntN(len(list))])
	}
	return out
}

var protos = []uint8{packet.TCP, packet.UDP, packet.ICMP, packet.ICMPv6, 47, 0, 255}

func (w *world) entry(i int, exits int) Entry {
	e := Entry{
		By: By(w.IntN(3)), Exit: ExitID(w.IntN(exits)), Pos: Pos{"random", i + 1},
		To: some(w, w.prefixes, 5), From: some(w, w.prefixes, 2), Protos: some(w, protos, 4),
		Ports: some(w, w.ports, 30), DSCP: some(w, []uint8{0, 8, 46, 63}, 4),
	}
	if w.IntN(4) > 0 {
		e.From = nil
	}
	if w.sets > 0 {
		for _, list := range []*[]int{&e.ToSets, &e.FromSets, &e.NotToSets, &e.NotFromSets} {
			if w.IntN(4) == 0 {
				*list = []int{w.IntN(w.sets), w.IntN(w.sets)}[:1+w.IntN(2)]
			}
		}
	}
	if w.IntN(4) == 0 {
		e.NotTo = some(w, w.prefixes, 4)
	}
	if w.IntN(6) == 0 {
		e.NotFrom = some(w, w.prefixes, 4)
	}
	if w.IntN(6) == 0 {
		e.Tags = some(w, []uint32{0, 1, 7, 8, 1<<32 - 1}, 3)
	}
	if w.IntN(4) > 0 {
		e.DSCP = nil
	}
	if w.IntN(6) == 0 {
		e.FromPorts = some(w, w.ports, 12)
	}
	return e
}

func (w *world) policy(entries int) *Policy {
	p := &Policy{Exits: []Exit{{Name: "direct"}, {Name: "drop", Kind: KindDrop}, {Name: "reject", Kind: KindReject}}}
	w.sets = 0
	for i := range 4 {
		x := Exit{Name: fmt.Sprint("tunnel", i), Kind: KindTunnel}
		if i > 1 {
			x.Covers = append([]netip.Prefix{}, some(w, w.prefixes, 6)...)
		}
		p.Exits = append(p.Exits, x)
	}
	if w.IntN(3) == 0 {
		w.sets = 1 + w.IntN(5)
		for i := range w.sets {
			p.Sets = append(p.Sets, Set{Name: fmt.Sprint("set", i), Prefixes: some(w, w.prefixes, 20)})
		}
	}
	for i := range entries {
		e := w.entry(i, len(p.Exits))
		if i > 0 && w.IntN(3) == 0 { // a near-duplicate of an earlier one
			e = p.Entries[w.IntN(i)]
			e.Exit = ExitID(w.IntN(len(p.Exits)))
			switch w.IntN(4) {
			case 0:
				e.To = some(w, w.prefixes, 2)
			case 1:
				e.Ports = some(w, w.ports, 2)
			case 2:
				e.Protos = some(w, protos, 1)
			}
		}
		p.Entries = append(p.Entries, e)
	}
	if w.IntN(2) == 0 {
		p.Entries = append(p.Entries, Entry{By: ByDefault, Exit: ExitID(w.IntN(len(p.Exits)))})
	}
	return p
}

// corner returns an address of the family at the edge of a prefix, one beyond
// it, or inside.
func (w *world) corner(v4 bool) packet.Addr {
	same := slices.DeleteFunc(slices.Clone(w.prefixes), func(p netip.Prefix) bool { return p.Addr().Is4() != v4 })
	if len(same) == 0 || w.IntN(8) == 0 {
		return packet.AddrFrom(w.addr(v4))
	}
	p := same[w.IntN(len(same))].Masked()
	a := p.Addr()
	switch w.IntN(5) {
	case 0:
	case 1:
		a = a.Prev()
	case 2:
		a = spanOf(p).hi.Netip()
	case 3:
		a = spanOf(p).hi.Netip().Next()
	default:
		if a = w.near(a); !p.Contains(a) && w.IntN(2) == 0 {
			a = p.Addr()
		}
	}
	if !a.IsValid() || a.Is4In6() {
		a = p.Addr()
	}
	return packet.AddrFrom(a)
}

func (w *world) port() uint16 {
	r := w.ports[w.IntN(len(w.ports))]
	return [...]uint16{r.Lo, r.Hi, r.Lo - 1, r.Hi + 1, r.Lo + (r.Hi-r.Lo)/2, 0}[w.IntN(6)]
}

func (w *world) packet() packet.View {
	v := packet.View{Version: 6, Proto: protos[w.IntN(len(protos))], TOS: [...]uint8{0, 32, 33, 184, 255, 7}[w.IntN(6)]}
	v4 := w.IntN(2) == 0
	if v4 {
		v.Version = 4
	}
	v.Src, v.Dst = w.corner(v4), w.corner(v4)
	v.SrcPort, v.DstPort = w.port(), w.port()
	if v.Proto == packet.TCP || v.Proto == packet.UDP {
		v.HasPorts = w.IntN(5) > 0
	}
	return v
}

// learn gives some addresses tags, and returns which.
func (w *world) learn(tags *Tags) map[packet.Addr]uint32 {
	known := map[packet.Addr]uint32{}
	for range w.IntN(200) {
		a := w.corner(w.IntN(2) == 0)
		if w.IntN(5) == 0 {
			tags.Forget(a)
			delete(known, a)
			continue
		}
		known[a] = []uint32{0, 1, 7, 9, 1<<32 - 1}[w.IntN(5)]
		tags.Set(a, known[a])
	}
	return known
}
