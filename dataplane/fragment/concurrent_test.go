package fragment

import (
	"sync"
	"testing"

	"turnout/classifier/packet"
)

// Sides that share a tracker lose nothing and get nothing of each other, while
// another goroutine asks again and again for what is over: nothing is.
func TestConcurrentSides(t *testing.T) {
	r := newRig(t, Options{})
	stop := make(chan struct{})
	var sides, clock sync.WaitGroup
	clock.Go(func() {
		for now := uint32(0); ; now++ {
			select {
			case <-stop:
				return
			default:
				r.Expire(now % 30)
			}
		}
	})
	for side := range uint32(4) {
		sides.Go(func() {
			m := newMessage(side%2 == 0, packet.UDP, 240)
			for id := range uint32(2000) {
				m.id = id
				parts := m.cut(48)
				passed := r.early(side, parts[1:3])
				first := decode(t, parts[0])
				got := r.Take(side, parts[0], first, 1)
				r.Decide(got.Datagram, uint16(side)+1, true)
				r.Release(got.Datagram, func(b []byte, v *packet.View) {
					if v.SrcPort == srcPort && v.Src == first.Src {
						passed++
					}
				})
				for _, b := range parts[3:] {
					if got := r.Take(side, b, decode(t, b), 1); got.Action == Pass && got.ID == uint16(side)+1 {
						passed++
					}
				}
				if passed != 4 {
					t.Errorf("side %d, datagram %d: %d passed", side, id, passed)
					return
				}
			}
		})
	}
	sides.Wait()
	close(stop)
	clock.Wait()
}

// early shows a side's fragments before their first; none may pass.
func (r *rig) early(side uint32, parts [][]byte) (passed int) {
	for _, b := range parts {
		if got := r.Take(side, b, decode(r, b), 1); got.Action != Held {
			passed += 100
		}
	}
	return passed
}
