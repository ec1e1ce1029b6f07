package nat

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"turnout/classifier/packet"
)

const boot = "0d1b7a52-9c1e-4a0e-8f43-3a4a3f1c9d77"

// exits are the tunnels of pin1 and pin2, a site, and one whose hosts we relay
// for, under numbers that go up from 3.
func exits(from uint16) []ExitName {
	return []ExitName{
		{from, "one", v4.ext1, v6.ext1},
		{from + 1, "two", v4.ext2, v6.ext2},
		{from + 2, "site", packet.Addr{}, packet.Addr{}},
		{from + 3, "relay", addr("10.10.0.2"), packet.Addr{}},
	}
}

// fileRig is a rig whose table is in a file.
func fileRig(t *testing.T, path string, f File, now Tick) (*rig, Adopted) {
	t.Helper()
	return fileRigOf(t, Options{MaxFlows: 256}, path, f, now)
}

func fileRigOf(t *testing.T, o Options, path string, f File, now Tick) (*rig, Adopted) {
	t.Helper()
	f.Path = path
	if f.Boot == "" {
		f.Boot = boot
	}
	table, a, err := OpenFile(o, f, now)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t, table, now}
	t.Cleanup(table.Close)
	r.verify()
	return r, a
}

func flowFile(t *testing.T) string { return filepath.Join(t.TempDir(), "flows") }

// populate makes flows of each kind: both families, each state, without
// masquerade, a forward, a relay, a stranger's, one with another destination, an
// answered stranger's. It returns them by LAN port.
func (r *rig) populate() map[modelTuple]Flow {
	r.Helper()
	for s := range resting {
		r.putInState(s, 2000+uint16(s))
	}
	for _, fam := range families {
		r.mustOut(udp(fam.lan2, 2001, fam.remote1, 443), fam.pin1()) // another port
		r.mustOut(udp(fam.lan2, 2001, fam.remote2, 443), fam.pin1())
		r.mustOut(udp(fam.lan1, 3000, fam.remote1, 443), Pin{Exit: 5})
		r.mustOut(fam.echo(fam.lan1, fam.remote1, 3001, fam.request), fam.pin2())
		r.mustOut(udp(fam.lan1, 3002, fam.remote1, 443), fam.conePin())
		r.mustIn(udp(fam.router, 1, fam.ext1, 3002), 3, packet.OK)
		r.mustIn(udp(fam.router, 2, fam.ext1, 3002), 3, packet.OK)
		r.mustOut(udp(fam.lan1, 3002, fam.router, 2), fam.pin1())
		moved := fam.pin2()
		moved.Far, moved.FarPort = fam.remote2, 8443
		r.mustOut(udp(fam.lan1, 3003, fam.remote1, 443), moved)
		b := udp(fam.remote1, 500, fam.ext1, 80).bytes()
		if _, reason := r.OpenIn(b, decode(r, b), fam.pin1(), Door{LAN: fam.lan1, LANPort: 8080}, r.now); reason != packet.OK {
			r.Fatal(reason)
		}
		b = tcp(fam.remote2, 9000, fam.remote1, 443, syn, 1, 0).bytes()
		if _, reason := r.Open(b, decode(r, b), 6, fam.pin1(), r.now); reason != packet.OK {
			r.Fatal(reason)
		}
	}
	r.verify()
	return r.flowsByTuple()
}

func (r *rig) flowsByTuple() map[modelTuple]Flow {
	m := map[modelTuple]Flow{}
	r.Each(func(f Flow) bool { m[tupleOf(f)] = f; return true })
	return m
}

// The next process has all flows, under the numbers that their tunnels have
// now, and knows nothing of what decided.
func TestFileAdoptsEverything(t *testing.T) {
	path := flowFile(t)
	r, a := fileRig(t, path, File{Exits: exits(3)}, 1000)
	if a != (Adopted{}) {
		t.Fatalf("out of nothing %+v", a)
	}
	before := r.populate()
	r.Close()
	s, a := fileRig(t, path, File{Exits: exits(30), Generation: 9}, 1010)
	if a != (Adopted{Flows: len(before)}) || s.Len() != len(before) {
		t.Fatalf("of %d: %+v", len(before), a)
	}
	moved := func(exit uint16) uint16 {
		if exit == 0 {
			return 0
		}
		return exit + 27
	}
	for k, got := range s.flowsByTuple() {
		if k.near != LAN {
			k.near -= 27
		}
		want := before[k]
		want.Exit, want.Near, want.Pool = moved(want.Exit), moved(want.Near), moved(want.Pool)
		want.Entry, want.By, want.Generation, want.Adopted = -1, 0, 9, true
		if want.State == TCPOpening || want.State == TCPAnswered {
			want.State = TCPPicked
		}
		if got != want {
			t.Errorf("%+v\nwant %+v", got, want)
		}
	}
	// They go on both ways, and the mapping is the same.
	f, _ := s.mustOut(udp(v4.lan2, 2001, v4.router, 1), Pin{Exit: 30, Masquerade: true, Addr: v4.ext1})
	if want := before[modelTuple{v4.lan2, v4.remote1, 2001, 443, packet.UDP, LAN}].Port; f.Port != want || f.Adopted {
		t.Errorf("the mapping's port is %d, was %d", f.Port, want)
	}
	s.mustIn(udp(v6.router, 3, v6.ext1, 3002), 30, packet.OK) // still a cone
	s.verify()
}

// Ports rest on in the next process.
func TestFileRest(t *testing.T) {
	path := flowFile(t)
	r, _ := fileRig(t, path, File{Exits: exits(3)}, 1000)
	for port := range uint16(2) {
		for _, fam := range families {
			f, _ := r.mustOut(udp(fam.lan1, 5000+port, fam.remote1, 443), fam.pin1())
			r.Drop(f)
		}
		r.now += 10
	}
	r.Close()
	s, a := fileRig(t, path, File{Exits: exits(3)}, 1000+120)
	if a.Flows != 0 || a.Expired != 2 || s.resting != 2 {
		t.Fatalf("%+v, %d rest", a, s.resting)
	}
	for _, fam := range families {
		if f, _ := s.mustOut(udp(fam.lan2, 5001, fam.remote1, 443), fam.pin1()); f.Port == 5001 {
			t.Error("a resting port was given away")
		}
		if f, _ := s.mustOut(udp(fam.lan2, 5000, fam.remote1, 443), fam.pin1()); f.Port != 5000 {
			t.Errorf("port %d, 5000 has rested", f.Port)
		}
	}
	s.verify()
}

// A flow stays only where its tunnels are, by name, with the address that the
// far end knows.
func TestFileHomeless(t *testing.T) {
	renamed, readdressed := exits(3), exits(3)
	renamed[0].Name = "uno"
	readdressed[0].Addr4 = addr("10.8.0.3")
	for name, c := range map[string]struct {
		exits []ExitName
		want  func(f Flow) bool
	}{
		"none":              {nil, func(f Flow) bool { return f.Exit == Direct || f.Exit == Hairpin && !f.Masquerade }},
		"renamed":           {renamed, func(f Flow) bool { return f.Exit != 3 && f.Pool != 3 }},
		"readdressed":       {readdressed, func(f Flow) bool { return f.Addr != v4.ext1 }},
		"without the relay": {exits(3)[:3], func(f Flow) bool { return f.Near != 6 }},
	} {
		t.Run(name, func(t *testing.T) {
			path := flowFile(t)
			r, _ := fileRig(t, path, File{Exits: exits(3)}, 1000)
			r.populate()
			r.mustOut(udp(v4.lan1, 4000, v4.remote1, 443), Pin{Exit: Hairpin})
			r.mustOut(udp(v4.lan1, 4001, v4.remote1, 443), Pin{Exit: Hairpin, Masquerade: true, Addr: v4.ext1, Pool: 3})
			before := r.flowsByTuple()
			r.Close()
			s, a := fileRig(t, path, File{Exits: c.exits}, 1000)
			after := s.flowsByTuple()
			for k, f := range before {
				if _, ok := after[k]; ok != c.want(f) {
					t.Errorf("%+v: adopted %v", f, ok)
				}
			}
			if a.Flows != len(after) || a.Homeless != len(before)-len(after) || a.Damaged != 0 {
				t.Errorf("%+v for %d of %d", a, len(after), len(before))
			}
		})
	}
}

// What would have expired meanwhile has expired.
func TestFileExpired(t *testing.T) {
	path := flowFile(t)
	r, _ := fileRig(t, path, File{Exits: exits(3)}, 1000)
	r.putInState(UDPOneWay, 5000)
	r.putInState(TCPUp, 5001)
	r.now += 20
	r.mustOut(udp(v4.lan1, 5002, v4.remote1, 443), v4.pin1())
	r.Close()
	s, a := fileRig(t, path, File{Exits: exits(3)}, 1120)
	if a != (Adopted{Flows: 2, Expired: 1}) || s.Len() != 2 {
		t.Fatalf("%+v", a)
	}
	s.Close()
	if _, a = fileRig(t, path, File{Exits: exits(3)}, 900); a.Flows != 0 || a.Expired != 2 {
		t.Fatalf("of the future: %+v", a)
	}
}

// A smaller table takes what it can.
func TestFileCrowded(t *testing.T) {
	path := flowFile(t)
	r, _ := fileRig(t, path, File{Exits: exits(3)}, 1000)
	for i := range uint16(10) {
		r.putInState(UDPOneWay, 5000+i)
	}
	r.Close()
	table, a, err := OpenFile(Options{MaxFlows: 4}, File{Path: path, Boot: boot, Exits: exits(3)}, 1000)
	if err != nil || a.Flows != 4 || a.Crowded != 6 || table.Len() != 4 {
		t.Fatalf("%+v, %v", a, err)
	}
	(&rig{t, table, 1000}).verify()
	table.Close()
}

// A file that is not ours is put aside, with a reason, and replaced.
func TestFileIgnored(t *testing.T) {
	path := flowFile(t)
	r, _ := fileRig(t, path, File{Exits: exits(3)}, 1000)
	r.populate()
	r.Close()
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	change := func(at uintptr) []byte {
		b := append([]byte(nil), good...)
		b[at]++
		return b
	}
	var h header
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"empty":        {nil, "shorter"},
		"text":         {[]byte(strings.Repeat("not a flow table\n", 100)), "not a flow table"},
		"version":      {change(unsafe.Offsetof(h.version)), "another version"},
		"entry size":   {change(unsafe.Offsetof(h.entrySize)), "another version"},
		"boot":         {change(unsafe.Offsetof(h.boot)), "another boot"},
		"cut off":      {good[:len(good)/8], "cut off"},
		"header alone": {good[:headerSize], "cut off"},
		"too large":    {change(unsafe.Offsetof(h.capacity) + 3), "cut off"},
	} {
		if err := os.WriteFile(path, c.data, 0o600); err != nil {
			t.Fatal(err)
		}
		s, a := fileRig(t, path, File{Exits: exits(3)}, 1000)
		if !strings.Contains(a.Ignored, c.want) || a.Flows != 0 || s.Len() != 0 {
			t.Errorf("%s: %+v", name, a)
		}
		s.populate()
		s.Close()
		if _, a := fileRig(t, path, File{Exits: exits(3)}, 1000); a.Flows == 0 {
			t.Errorf("%s: the new file holds nothing: %+v", name, a)
		}
	}
}

// The file is the daemon's alone, and there is never a second one.
func TestFileModeAndErrors(t *testing.T) {
	path := flowFile(t)
	if err := os.WriteFile(aside(path), []byte("of one who died"), 0o644); err != nil {
		t.Fatal(err)
	}
	fileRig(t, path, File{}, 1000)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	list, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(list) != 1 {
		t.Fatalf("%v, %v", list, err)
	}
	for name, path := range map[string]string{
		"no such folder": filepath.Join(t.TempDir(), "none", "flows"),
		"a folder":       t.TempDir(),
	} {
		if _, _, err := OpenFile(Options{}, File{Path: path, Boot: boot}, 1); err == nil {
			t.Errorf("%s: no error", name)
		}
		if _, err := os.Stat(aside(path)); err == nil {
			t.Errorf("%s: a file was left", name)
		}
	}
}

// Names given later count for the flows after them.
func TestFileNames(t *testing.T) {
	path := flowFile(t)
	r, _ := fileRig(t, path, File{}, 1000)
	r.mustOut(udp(v4.lan1, 5000, v4.remote1, 443), v4.pin1())
	r.Names(exits(3))
	r.mustOut(udp(v4.lan1, 5001, v4.remote1, 443), v4.pin2())
	r.Close()
	s, a := fileRig(t, path, File{Exits: exits(3)}, 1000)
	if a.Flows != 1 || a.Homeless != 1 || s.only().Exit != 4 {
		t.Fatalf("%+v", a)
	}
}

// After adoption nothing is known of a connection's numbers: all passes and
// nothing ends it, until the LAN has spoken.
func TestRow35AdoptedTCP(t *testing.T) {
	bothFamilies(t, func(t *testing.T, fam family) {
		path := flowFile(t)
		r, _ := fileRig(t, path, File{Exits: exits(3)}, 1000)
		play(r, fam, handshake)
		r.Close()
		s, _ := fileRig(t, path, File{Exits: exits(3)}, 1010)
		play(s, fam, []step{
			{in, ack, 70_000_000, 1001, 10, packet.OK, TCPUp},
			{in, rst, 77, 0, 0, packet.OK, TCPUp},
			{in, fin | ack, 77, 1, 0, packet.OK, TCPUp},
			{in, syn, 77, 0, 0, packet.InvalidState, TCPUp},
			{out, rst, 77, 0, 0, packet.OK, TCPUp},
			{out, ack, 5000, 70_000_010, 100, packet.OK, TCPUp},
			{in, rst, 7, 0, 0, packet.InvalidState, TCPUp},
			{in, rst, 70_000_010, 0, 0, packet.OK, TCPReset},
		})
		s.Close()
		// It closes too, if the LAN's first segment is a FIN.
		s, _ = fileRig(t, path, File{Exits: exits(3)}, 1020)
		play(s, fam, []step{
			{out, fin | ack, 5100, 70_000_010, 0, packet.OK, TCPReset},
			{out, ack, 5101, 70_000_010, 0, packet.OK, TCPClosing},
		})
	})
}
