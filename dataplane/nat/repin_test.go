package nat

import "testing"

// Keep changes what decided about a flow and nothing else; Drop forgets it and
// gives back its port.
func TestKeepAndDrop(t *testing.T) {
	table := New(Options{})
	b := udp(v4.lan1, 5000, v4.remote1, 443).bytes()
	v := decode(t, b)
	f, r := table.Open(b, v, LAN, Pin{Exit: 3, Entry: 7, By: 1, Masquerade: true, Addr: v4.ext1, Generation: 4}, 10)
	if r != 0 || f.Generation != 4 {
		t.Fatalf("%+v, %v", f, r)
	}
	kept := table.Keep(f, Pin{Exit: 9, Entry: 2, By: 3, Generation: 5})
	found, ok := table.Out(b, v, LAN, 11)
	if !ok || kept.Entry != 2 || kept.By != 3 || kept.Generation != 5 || kept.Exit != 3 {
		t.Errorf("kept %+v", kept)
	}
	if found.Pin != kept.Pin || found.Port != f.Port {
		t.Errorf("found %+v, want the pin of %+v", found, kept)
	}
	if !table.Drop(f) || table.Drop(f) || table.Len() != 0 {
		t.Errorf("dropping forgets %d flows too few", table.Len())
	}
	if _, ok := table.Out(b, v, LAN, 11); ok {
		t.Error("it is still there")
	}
	table.Keep(f, Pin{Entry: 1})
	if again, r := table.Open(b, v, LAN, Pin{Exit: 3, Masquerade: true, Addr: v4.ext1}, 12); r != 0 || again.Port != f.Port {
		t.Errorf("the port was not given back: %+v, %v", again, r)
	}
}
