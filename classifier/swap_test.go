package classifier

import (
	"sync"
	"sync/atomic"
	"testing"

	"turnout/classifier/packet"
)

// TestSwapUnderLoad swaps tables while others look up and addresses are learnt:
// every answer is that of the table that was asked. The race detector watches.
func TestSwapUnderLoad(t *testing.T) {
	r := newRandom(t)
	w := newWorld(r)
	tags := new(Tags)
	type published struct {
		*Table
		want []Verdict
	}
	views := make([]packet.View, 128)
	for i := range views {
		views[i] = w.packet()
	}
	tables := make([]published, 4)
	for i := range tables {
		p := w.policy(60)
		for k := range p.Entries {
			p.Entries[k].Tags = nil // what is learnt below must not matter
		}
		p.Entries[0].Tags = []uint32{12345}
		table, err := CompileTags(p, tags)
		if err != nil {
			t.Fatal(err)
		}
		tables[i] = published{table, make([]Verdict, len(views))}
		for k := range views {
			tables[i].want[k] = oracle(p, nil, &views[k])
		}
	}
	var current atomic.Pointer[published]
	current.Store(&tables[0])
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for !stop.Load() {
				batch := current.Load() // once per batch, as a worker does
				for i := range views {
					if got := batch.Lookup(&views[i]); got != batch.want[i] {
						t.Errorf("%+v: %+v, want %+v", views[i], got, batch.want[i])
						return
					}
				}
			}
		})
	}
	for i := range 2000 {
		current.Store(&tables[i%len(tables)])
		tags.Set(packet.Addr4(uint32(i)), uint32(i))
		tags.Set(views[i%len(views)].Dst, 99)
		if i%100 == 0 {
			if _, err := CompileTags(tables[0].Policy(), tags); err != nil {
				t.Error(err)
			}
		}
	}
	stop.Store(true)
	wg.Wait()
}
