package fragment

import (
	"hash/maphash"

	"turnout/classifier/packet"
)

// Every datagram is in three accounts: its source host's, its side's and
// everybody's. Each has a limit, so that a host that floods pushes out its own
// datagrams first, and a side on which sources can be invented pushes out
// those of that side.
const (
	everybody = iota
	bySide
	byHost
	levels
)

type account struct {
	key            accountKey
	datagrams      uint32
	blocks         uint32 // of the arena
	oldest, newest uint32 // datagram
}

type accountKey struct {
	addr  packet.Addr
	side  uint32
	level uint32
}

// A link is a datagram's place in the list of one of its accounts, which goes
// by age.
type link struct{ older, newer uint32 }

// find returns the number of the account of k, 0 if it has none, and k's hash.
func (t *table) find(k accountKey) (i uint32, h uint64) {
	h = maphash.Comparable(t.seed, k)
	i = t.owners.first(h)
	for i != 0 && t.accounts[i].key != k {
		i = t.owners.next[i]
	}
	return i, h
}

// charge counts one more datagram in the account of k, which is opened if need
// be, and returns the account's number.
func (t *table) charge(k accountKey) uint32 {
	i, h := t.find(k)
	if i == 0 {
		i = t.owners.add(h)
		t.accounts[i] = account{key: k}
	}
	t.accounts[i].datagrams++
	return i
}

// enter makes datagram i, which was charged, the newest of its accounts.
func (t *table) enter(i uint32) {
	d := &t.datagrams[i]
	for level, number := range d.accounts {
		a := &t.accounts[number]
		d.links[level] = link{older: a.newest}
		if a.newest != 0 {
			t.datagrams[a.newest].links[level].newer = i
		} else {
			a.oldest = i
		}
		a.newest = i
	}
}

// leave takes datagram i, which holds nothing any more, out of its accounts,
// and closes those that are empty then.
func (t *table) leave(i uint32) {
	d := &t.datagrams[i]
	for level, number := range d.accounts {
		a, l := &t.accounts[number], d.links[level]
		if l.older != 0 {
			t.datagrams[l.older].links[level].newer = l.newer
		} else {
			a.oldest = l.newer
		}
		if l.newer != 0 {
			t.datagrams[l.newer].links[level].older = l.older
		} else {
			a.newest = l.older
		}
		if a.datagrams--; a.datagrams == 0 {
			t.owners.remove(number, maphash.Comparable(t.seed, a.key))
		}
	}
}
