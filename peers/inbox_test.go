package peers

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
	"testing"
)

var senderOf = netip.MustParseAddrPort("10.64.0.9:51820")

// Datagrams come out whole, in order and with their sender, however many are
// taken at a time and whatever comes meanwhile.
func TestInboxKeepsOrder(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	var lost atomic.Uint64
	q := newInbox(&lost)
	r := newPlug(nil)
	var put [][]byte
	taken := 0
	for round := range 500 {
		for _, p := range randomBatch(rng)[:1] {
			for range rng.IntN(40) {
				p = append([]byte{byte(len(put))}, p...)
				put = append(put, p)
				q.put(p, netip.AddrPortFrom(senderOf.Addr(), uint16(len(put))))
			}
		}
		k := 1 + rng.IntN(batchSize)
		if round == 499 {
			k = batchSize
		}
		n := q.take(r.bufs[:k], r.sizes, r.eps)
		for i := range n {
			want := netip.AddrPortFrom(senderOf.Addr(), uint16(taken+1))
			if !bytes.Equal(r.bufs[i][:r.sizes[i]], put[taken]) || r.eps[i].DstToString() != want.String() {
				t.Fatalf("datagram %d of %d bytes came as %d from %s", taken, len(put[taken]), r.sizes[i], r.eps[i].DstToString())
			}
			taken++
		}
		if n < k && taken != len(put) {
			t.Fatalf("took %d, and %d were there", n, len(put)-taken)
		}
	}
	if lost.Load() != 0 {
		t.Errorf("%d were lost", lost.Load())
	}
}

// A full inbox loses what comes, counts it, and has room again once it is
// taken from. Either bound holds alone.
func TestInboxBounds(t *testing.T) {
	for _, c := range []struct {
		name       string
		size, most int
	}{
		{"by number", 100, pileCount},
		{"by bytes", 1 << 16, pileBytes >> 16},
	} {
		t.Run(c.name, func(t *testing.T) {
			var lost atomic.Uint64
			q := newInbox(&lost)
			r := newPlug(nil)
			for range c.most + 7 {
				q.put(make([]byte, c.size), senderOf)
			}
			if n := lost.Load(); n != 7 {
				t.Fatalf("%d were lost, not 7", n)
			}
			taken := q.take(r.bufs[:1], r.sizes, r.eps)
			for range c.most { // the other pile is empty
				q.put(make([]byte, c.size), senderOf)
			}
			if n := lost.Load(); n != 7 {
				t.Fatalf("%d were lost, not 7: there was room", n)
			}
			for {
				n := q.take(r.bufs, r.sizes, r.eps)
				if n == 0 {
					break
				}
				taken += n
			}
			if taken != 2*c.most {
				t.Errorf("%d came out, not %d", taken, 2*c.most)
			}
		})
	}
}

// An address that no socket address can name is no reason to wake anybody.
func TestInboxRefusesOddSenders(t *testing.T) {
	var lost atomic.Uint64
	q := newInbox(&lost)
	q.put([]byte{1}, netip.MustParseAddrPort("[fe80::1%no-such-zone]:9"))
	if lost.Load() != 1 || len(q.wake) != 0 {
		t.Errorf("%d lost, %d to wake", lost.Load(), len(q.wake))
	}
}
