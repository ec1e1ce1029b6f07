package nat

import "turnout/classifier/packet"

// fragments remembers the ports of first fragments, so that the later ones,
// which have none, find their flow (RFC 3022, 6.3). It is a fixed array of
// small sets: a flood of datagrams pushes out others, never grows.
type fragments struct {
	secret secret
	sets   [][fragmentWays]fragment // made at the first fragment
}

const (
	fragmentSets = 2048
	fragmentWays = 8
)

type fragment struct {
	key   key // tag 0: empty
	ports uint32
	since Tick
}

// fromLAN is the side of packets from the LAN; a tunnel's is its exit plus one.
const fromLAN = 0

func fragmentKey(v *packet.View, side uint32) key {
	return key{v.Src, v.Dst, uint32(v.ID), side<<8 | uint32(v.Proto)}
}

// note remembers the ports of first fragment v. Seen again it keeps its time.
func (f *fragments) note(v *packet.View, side, ports uint32, now Tick) {
	if f.sets == nil {
		f.sets = make([][fragmentWays]fragment, fragmentSets)
	}
	k := fragmentKey(v, side)
	set := &f.sets[k.hash(&f.secret)%fragmentSets]
	place := &set[0]
	for i := range set {
		c := &set[i]
		if c.key == k {
			if c.ports == ports && now-c.since < fragmentLife {
				return
			}
			place = c
			break
		}
		if place.key.tag != 0 && (c.key.tag == 0 || now-c.since > now-place.since) {
			place = c
		}
	}
	*place = fragment{k, ports, now}
}

// find returns the ports of the first fragment that later fragment v follows.
func (f *fragments) find(v *packet.View, side uint32, now Tick) (ports uint32, ok bool) {
	if f.sets == nil {
		return 0, false
	}
	k := fragmentKey(v, side)
	set := &f.sets[k.hash(&f.secret)%fragmentSets]
	for i := range set {
		if c := &set[i]; c.key == k && now-c.since < fragmentLife {
			return c.ports, true
		}
	}
	return 0, false
}
