package wgquick

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestParseEveryKey(t *testing.T) {
	data, err := os.ReadFile("testdata/every-key.conf")
	if err != nil {
		t.Fatal(err)
	}
	f, errs := Parse(data)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	for _, section := range []struct {
		keys []Key
		in   Section
	}{{Interface, f.Interface}, {Peer, f.Peers[0]}} {
		for _, k := range section.keys {
			n := 0
			for _, l := range section.in.Lines {
				if l.Key.Name == k.Name {
					n++
				}
			}
			if n == 0 || n == 1 && k.Repeats || n > 1 && !k.Repeats {
				t.Errorf("%s stands %d times in the file", k.Name, n)
			}
		}
	}
	first := f.Interface.Lines[0]
	if first.Number != 4 || !strings.HasPrefix(first.Text, "privatekey") || strings.Contains(first.Value, "#") {
		t.Errorf("the first line is %d %q = %q", first.Number, first.Text, first.Value)
	}
}

func TestParseForgivesForm(t *testing.T) {
	const text = "\xef\xbb\xbf[interface] # ours\r\nADDRESS=10.0.0.1 # two\r\n\r\n  [PEER]\r\nAllowedIPs =\r\n\tRoute = 10.0.0.0/8:tcp:22,23 # ssh\r\n"
	f, errs := Parse([]byte(text))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	if l := f.Interface.Lines[0]; l.Key.Name != "Address" || l.Value != "10.0.0.1" || l.Number != 2 || l.Text != "ADDRESS=10.0.0.1 # two" {
		t.Errorf("Address is %+v", l)
	}
	if l := f.Peers[0].Lines[1]; l.Value != "10.0.0.0/8:tcp:22,23" || l.Number != 6 {
		t.Errorf("Route is %+v", l)
	}
}

func TestNames(t *testing.T) {
	const body = "[Interface]\nAddress = 10.0.0.1\n"
	for _, c := range []struct{ about, text, iface, peer string }{
		{"none", body + "[Peer]\nAllowedIPs =\n", "", ""},
		{"inside", "[Interface]\n# Name = a\n\n[Peer]\n#name=b", "a", "b"},
		{"inside, with more below", "[Interface]\n#  NAME =  a \nMTU = 1400\n[Peer]\n# Name = b\nAllowedIPs =", "a", "b"},
		{"before the first section", "# Name = a\n\n" + body + "[Peer]\n", "a", ""},
		{"directly above", "# Name = a\n[Interface]\n\n# Name = b\n[Peer]\n", "a", "b"},
		{"above, with a gap", body + "# Name = a\n\n[Peer]\n", "a", ""},
		{"other comments", body + "# My name = a\n# Names = b\n[Peer]\n", "", ""},
		{"of an unknown section", body + "[Foo]\n# Name = a\nx=1\n[Peer]\n", "", ""},
	} {
		f, _ := Parse([]byte(c.text))
		peer := ""
		if len(f.Peers) > 0 {
			peer = f.Peers[0].Name.Value
		}
		if f.Interface.Name.Value != c.iface || peer != c.peer {
			t.Errorf("%s: interface %q, peer %q; want %q and %q", c.about, f.Interface.Name.Value, peer, c.iface, c.peer)
		}
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"[Interface]\nAddress\n", "2: this line is no setting"},
		{"[Interface]\nAddress = 1\n[Peer]\nAddress = 1\n", "4: Address in [Peer]; it belongs in [Interface]"},
		{"[Interface]\nRoute = 1\n", "2: Route in [Interface]; it belongs in [Peer]"},
		{"[Interface]\nMTU = 1\nmtu = 2\n", "3: a second MTU in one section; the first is on line 2"},
		{"[Interface]\nMTU =\n", "2: MTU has no value"},
		{"[Interface]\nMUT = 1\n", "2: unknown key MUT in [Interface]; allowed are PrivateKey, Address"},
		{"[Interface\nMTU = 1\n", "1: unknown section [Interface; allowed"},
		{"MTU = 1\n[Interface]\n", "1: MTU stands before any section"},
		{"[Peer]\n", "0: no [Interface]"},
		{"a\x00b", "0: this is no text"},
	} {
		_, errs := Parse([]byte(c.text))
		if len(errs) == 0 {
			t.Errorf("%q has no errors", c.text)
			continue
		}
		if got := fmt.Sprintf("%d: %s", errs[0].Line, errs[0].Text); !strings.HasPrefix(got, c.want) {
			t.Errorf("%q: %s; want %s", c.text, got, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	data, err := os.ReadFile("testdata/every-key.conf")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte("# Name = a\n[Interface]\n[Peer]\n[Peer\n[]\nPrivateKey:x=\n=\n#"))
	f.Add([]byte("\xef\xbb\xbf[interface]\r\nRoute = 1\r\n[x]\r\ny"))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, errs := Parse(data)
		lines := strings.Count(string(data), "\n") + 1
		for _, e := range errs {
			if e.Line < 0 || e.Line > lines || strings.ContainsAny(e.Text, "\n\r") {
				t.Errorf("error %+v of %d lines", e, lines)
			}
		}
		for _, s := range append(file.Peers, file.Interface) {
			for _, l := range s.Lines {
				if l.Number < 1 || l.Number > lines || l.Key.Name == "" || strings.Contains(l.Value, "\n") {
					t.Errorf("line %+v", l)
				}
			}
		}
	})
}
