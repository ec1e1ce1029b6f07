package nat

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"testing"

	"turnout/classifier/packet"
)

// damaged is a file of a table with flows of each kind, to be changed at will.
type damaged struct {
	data []byte
	head header
}

func newDamaged(t testing.TB) *damaged {
	path := t.TempDir() + "/flows"
	table, _, err := OpenFile(Options{MaxFlows: 64}, File{Path: path, Boot: boot, Exits: exits(3)}, 1000)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{T: new(testing.T), Table: table, now: 1000}
	r.populate()
	f, _ := r.mustOut(udp(v4.lan1, 6000, v4.remote1, 443), v4.pin1())
	r.Drop(f)
	d := &damaged{head: *table.file.head}
	table.Close()
	if d.data, err = os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	return d
}

// An edit changes one byte: of a record of one part, or of the header.
type edit struct {
	Part, Record, Offset, Flip uint8
}

func (d *damaged) at(e edit) int64 {
	if part := int(e.Part) % 8; part < parts {
		return d.head.offset(part) + int64(e.Record)%64*partSize[part] + int64(e.Offset)%partSize[part]
	}
	return int64(e.Record)<<8 + int64(e.Offset)
}

// adopt reads data as the file of the process before, and verifies what came
// of it.
func adopt(t *testing.T, data []byte) Adopted {
	t.Helper()
	table := New(Options{MaxFlows: 64})
	table.advance(1000)
	a := adoption{Table: table, from: File{Boot: boot, Exits: exits(3)}, tunnels: newTunnels(exits(3))}
	a.read(bytes.NewReader(data), int64(len(data)))
	r := &rig{t, table, 1000}
	r.verify()
	if r.Len() != a.result.Flows {
		t.Fatalf("%d flows, %+v", r.Len(), a.result)
	}
	r.Each(func(f Flow) bool { r.Drop(f); return true })
	r.now += 7440
	r.Expire(r.now)
	r.verify()
	table.Close()
	return a.result
}

func (d *damaged) try(t *testing.T, edits []edit) Adopted {
	t.Helper()
	flip := func() {
		for _, e := range edits {
			d.data[d.at(e)] ^= e.Flip
		}
	}
	flip()
	defer flip()
	return adopt(t, d.data)
}

// Whatever is wrong with the file, the table that comes of it is a sound one.
func TestDamagedFile(t *testing.T) {
	d := newDamaged(t)
	whole := d.try(t, nil)
	if whole.Flows < 20 || whole != (Adopted{Flows: whole.Flows}) {
		t.Fatalf("undamaged: %+v", whole)
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 5))
	var sum Adopted
	for range 1000 {
		edits := make([]edit, 1+rng.IntN(8))
		for i := range edits {
			edits[i] = edit{uint8(rng.Uint32()), uint8(rng.Uint32()), uint8(rng.Uint32()), 1 << rng.IntN(8)}
		}
		a := d.try(t, edits)
		sum.Flows += a.Flows
		sum.Damaged += a.Damaged
		sum.Homeless += a.Homeless
		sum.Expired += a.Expired
	}
	if sum.Flows == 0 || sum.Damaged == 0 || sum.Homeless == 0 || sum.Expired == 0 {
		t.Errorf("the damage does not reach: %+v", sum)
	}
}

// Entries that contradict each other are not adopted together.
func TestContradictingEntries(t *testing.T) {
	for name, c := range map[string]struct {
		make func(r *rig)
		lie  func(first, second *entry)
		want Adopted
		rest int
	}{
		"alike from the near side": {
			func(r *rig) {
				r.mustOut(udp(v4.lan1, 3000, v4.remote1, 443), Pin{Exit: 5})
				r.mustOut(udp(v4.lan1, 3001, v4.remote1, 443), Pin{Exit: 5})
			},
			func(first, second *entry) { second.lanPort = first.lanPort },
			Adopted{Flows: 1, Damaged: 1}, 0,
		},
		"alike from the far side": {
			func(r *rig) {
				r.mustOut(tcp(v4.lan1, 3000, v4.remote1, 443, syn, 1, 0), v4.pin1())
				r.mustOut(tcp(v4.lan1, 3001, v4.remote1, 443, syn, 1, 0), v4.pin1())
			},
			func(first, second *entry) { second.port = first.port },
			Adopted{Flows: 1, Damaged: 1}, 0,
		},
		"two hosts with one port": {
			func(r *rig) {
				r.mustOut(udp(v4.lan1, 3000, v4.remote1, 443), v4.pin1())
				r.mustOut(udp(v4.lan2, 3001, v4.remote2, 443), v4.pin1())
			},
			func(first, second *entry) { second.port = first.port },
			Adopted{Flows: 1, Damaged: 1}, 0,
		},
		"two hosts resting at one port": {
			func(r *rig) {
				for i, lan := range []packet.Addr{v4.lan1, v4.lan2} {
					f, _ := r.mustOut(udp(lan, 3000+uint16(i), v4.remote1, 443), v4.pin1())
					defer r.Drop(f)
				}
			},
			func(first, second *entry) { second.port = first.port },
			Adopted{}, 1,
		},
	} {
		path := flowFile(t)
		r, _ := fileRig(t, path, File{Exits: exits(3)}, 1000)
		c.make(r)
		c.lie(r.flows.at(1), r.flows.at(2))
		r.Close()
		s, a := fileRig(t, path, File{Exits: exits(3)}, 1000)
		if a != c.want || s.resting != c.rest {
			t.Errorf("%s: %+v, %d rest", name, a, s.resting)
		}
	}
}

// FuzzFile takes edits of a good file, or after a zero byte a whole one.
func FuzzFile(f *testing.F) {
	d := newDamaged(f)
	f.Add([]byte{1, 2, 1, 20, 255})
	f.Add([]byte{1, 0, 1, 16, 1, 1, 3, 0, 1})
	f.Add(append([]byte{0}, d.data[:headerSize]...))
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) > 0 && in[0] == 0 {
			adopt(t, in[1:])
			return
		}
		edits := make([]edit, len(in)/4)
		if len(edits) > 0 {
			binary.Decode(in[1:], binary.LittleEndian, edits)
		}
		d.try(t, edits)
	})
}
