package fragment

import (
	"hash/maphash"
	"testing"
)

// verify counts everything in the table that is counted twice.
func (t *table) verify(tb testing.TB) {
	tb.Helper()
	if t.datagrams == nil {
		return
	}
	used, heldBlocks := t.inUse(tb), 0
	blocks, members := map[uint32]uint32{}, map[uint32]uint32{}
	for i := range used {
		d := &t.datagrams[i]
		n, count, last := 0, 0, -1
		for h := d.held; h != 0; h = t.arena.blocks[h].after {
			if int(t.arena.blocks[h].from) <= last {
				tb.Fatalf("datagram %d: held %d after %d", i, t.arena.blocks[h].from, last)
			}
			last = int(t.arena.blocks[h].from)
			n += blocksOf(int(t.arena.blocks[h].size))
			count++
		}
		if count != int(d.count) || count > t.fragments {
			tb.Fatalf("datagram %d: %d held, it says %d", i, count, d.count)
		}
		heldBlocks += n
		for _, number := range d.accounts {
			blocks[number] += uint32(n)
			members[number]++
		}
	}
	free := 0
	for i := t.arena.free; i != 0; i = t.arena.blocks[i].next {
		free++
	}
	if int(t.arena.fresh)-1-free != heldBlocks {
		tb.Fatalf("%d blocks handed out, %d free again, %d held", t.arena.fresh-1, free, heldBlocks)
	}
	t.verifyAccounts(tb, blocks, members)
}

// inUse returns the datagrams that the index knows.
func (t *table) inUse(tb testing.TB) map[uint32]bool {
	tb.Helper()
	used := map[uint32]bool{}
	for _, head := range t.index.heads {
		for i := head; i != 0; i = t.index.next[i] {
			if used[i] {
				tb.Fatalf("datagram %d is found twice", i)
			}
			used[i] = true
		}
	}
	free := 0
	for i := t.index.free; i != 0; i = t.index.next[i] {
		free++
	}
	if int(t.index.fresh)-1-free != len(used) {
		tb.Fatalf("%d datagrams handed out, %d free again, %d in use", t.index.fresh-1, free, len(used))
	}
	return used
}

func (t *table) verifyAccounts(tb testing.TB, blocks, members map[uint32]uint32) {
	tb.Helper()
	open := 0
	for _, head := range t.owners.heads {
		for number := head; number != 0; number = t.owners.next[number] {
			open++
			a := &t.accounts[number]
			if a.datagrams != members[number] || a.blocks != blocks[number] {
				tb.Fatalf("account %+v, but it has %d datagrams, %d blocks", a, members[number], blocks[number])
			}
			if a.datagrams > t.limits.datagrams[a.key.level] || a.blocks > t.limits.blocks[a.key.level] {
				tb.Fatalf("account %+v is above its limits", a)
			}
			n, older := uint32(0), uint32(0)
			for i := a.oldest; i != 0; i = t.datagrams[i].links[a.key.level].newer {
				if t.datagrams[i].links[a.key.level].older != older || t.datagrams[i].since < t.datagrams[older].since {
					tb.Fatalf("account %+v: datagram %d is out of order", a, i)
				}
				older = i
				n++
			}
			if n != a.datagrams || a.newest != older {
				tb.Fatalf("account %+v: %d in its list", a, n)
			}
		}
	}
	if open != len(members) {
		tb.Fatalf("%d accounts are open, %d in use", open, len(members))
	}
}

// lookup returns the number of the datagram that fragment b belongs to, 0 if
// it is not known.
func (t *table) lookup(tb testing.TB, side uint32, b []byte) uint32 {
	v := decode(tb, b)
	k := key{v.Src, v.Dst, side, read(b).id, uint32(v.Proto)}
	if v.Version == 6 {
		k.proto = 0
	}
	if t.datagrams == nil {
		return 0
	}
	for i := t.index.first(maphash.Comparable(t.seed, k)); i != 0; i = t.index.next[i] {
		if t.datagrams[i].key == k {
			return i
		}
	}
	return 0
}
