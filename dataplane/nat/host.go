package nat

// A host is one near end with flows. It bounds what one host can take from all
// others (RFC 6888, REQ-4): flows that it has, and flows that it starts in a
// second.
type host struct {
	addr   uint32 // its number; the host's flows use it
	flows  uint32 // it has; of a free record, the next free one
	second Tick   // in which it started the last one,
	begun  uint32 // and how many so far
	near   uint16
	six    bool
}

type hosts struct {
	list   slab[host]
	free   uint32
	index  index
	secret secret
	max    uint32 // flows of one
	rate   uint32 // new flows of one in a second; 0: no limit
}

// minShare is what MaxPerHost leaves a single host by default: all ports that
// it has.
const minShare = 1 << 16

func (s *hosts) init(a *arena, o Options, flows int, key secret) {
	s.secret = key
	s.max, s.rate = uint32(o.MaxPerHost), uint32(o.NewPerHost)
	if o.MaxPerHost <= 0 {
		s.max = uint32(min(flows, max(flows/4, minShare)))
	}
	if int(s.max) >= flows { // one host may have all: the table's own rule counts
		s.max = ^uint32(0)
	}
	s.list = newSlab[host](a, flows)
	s.index = newIndex(a, func(i uint32) uint64 { return s.hash(s.list.at(i)) })
}

func (s *hosts) hash(h *host) uint64 {
	tag := sideTag(h.near, 0)
	if h.six {
		tag |= sideSix
	}
	return s.secret.hash(h.addr, 0, 0, tag)
}

// find returns the record of the host that near end (near, e) is, 0 for none.
func (s *hosts) find(near uint16, e *entry) uint32 {
	want := host{addr: e.lan, near: near, six: e.six()}
	h := s.hash(&want)
	for at := uint32(0); ; at++ {
		var i uint32
		if i, at = s.index.candidate(h, at); i == 0 {
			return 0
		}
		if r := s.list.at(i); r.addr == want.addr && r.near == near && r.six == want.six {
			return i
		}
	}
}

// admits reports whether e's near host may have one more flow, begun now.
func (s *hosts) admits(near uint16, e *entry, now Tick) bool {
	i := s.find(near, e)
	if i == 0 {
		return true
	}
	r := s.list.at(i)
	return r.flows < s.max && (s.rate == 0 || r.second != now || r.begun < s.rate)
}

// add counts a flow of e's near host that has just begun. There are never more hosts than flows, so
// that there is always a record.
func (s *hosts) add(near uint16, e *entry, now Tick) {
	i := s.find(near, e)
	if i == 0 {
		if i = s.free; i != 0 {
			s.free = s.list.at(i).flows
		} else {
			i = s.list.extend()
		}
		r := s.list.at(i)
		*r = host{addr: e.lan, near: near, six: e.six()}
		s.index.add(i, s.hash(r))
	}
	r := s.list.at(i)
	if r.second != now {
		r.second, r.begun = now, 0
	}
	r.flows++
	r.begun++
}

// remove undoes one add.
func (s *hosts) remove(near uint16, e *entry) {
	i := s.find(near, e)
	r := s.list.at(i)
	if r.flows--; r.flows == 0 {
		s.index.remove(i, s.hash(r))
		*r = host{flows: s.free}
		s.free = i
	}
}

// forgetRates lets every host begin its second anew.
func (s *hosts) forgetRates() {
	for i := uint32(1); i < s.list.next; i++ {
		s.list.at(i).begun = 0
	}
}
