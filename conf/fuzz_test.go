package conf

import (
	"os"
	"path/filepath"
	"testing"

	"turnout/classifier"
)

// seeds adds every configuration of the tests to the corpus.
func seeds(f *testing.F) {
	f.Helper()
	for _, pattern := range []string{"testdata/*/*.toml", "testdata/*/*.conf", "../docs/turnout.toml", "wgquick/testdata/*.conf"} {
		list, err := filepath.Glob(pattern)
		if err != nil || len(list) == 0 {
			f.Fatalf("%s: %d files, %v", pattern, len(list), err)
		}
		for _, path := range list {
			data, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data, filepath.Ext(path) == ".conf")
		}
	}
	for _, text := range []string{
		"[[tunnel]]\nconfig = \"x.conf\"\nfull_cone = true\naccept = [\"0.0.0.0/0\", {from = \"10.0.0.0/8\", to = \"192.168.77.0/24\", ports = 22, nat = \"masquerade\"}]",
		"[[tunnel]]\nconfig = \"x.conf\"\n[[tunnel.accept]]\nfrom = \"10.0.0.0/8\"\nproto = \"icmp\"",
		"[[tunnel]]\nname = \"a\"\nconfig = \"x.conf\"\nvia = \"b\"\n[[tunnel]]\nname = \"b\"\nconfig = \"x.conf\"",
		"[[tunnel]]\nname = \"a\"\nconfig = \"x.conf\"\nvia = \"b\"\n[[tunnel]]\nname = \"b\"\nconfig = \"x.conf\"\nvia = \"a\"",
		"[limits]\nflows = 5000\n[[tunnel]]\nconfig = \"x.conf\"\n[[forward]]\ntunnel = \"x\"\nport = \"80-90\"\nto = \"192.168.77.2:65525\"",
		"forward = [{tunnel = \"x\", port = 1, to = \"10.0.0.1\", listen = \"lan\"}]\ntunnel = [{config = \"x.conf\"}]",
	} {
		f.Add([]byte(text), false)
	}
}

// Whatever the text, Load gives a policy that compiles or errors that say
// where, each on one line, and never a panic.
func FuzzLoad(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte, quick bool) {
		name := "a.toml"
		if quick {
			name = "a.conf"
		}
		files := map[string]file{
			name: {text: string(data)}, "x.conf": {text: ifaceText + peerText(server, "0.0.0.0/0", "192.0.2.1:1")}, "k": {text: private}, "s.txt": {text: "10.0.0.0/8 # ten\n"},
		}
		c, err := memory(ForExplain, files).load(name)
		if err == nil {
			if _, err := classifier.Compile(c.Policy); err != nil {
				t.Errorf("the policy does not compile: %v", err)
			}
			sound(t, c)
			return
		}
		for _, p := range err.(Problems) {
			if p.Pos.File == "" || p.Text == "" || p.Text != line("%s", p.Text) {
				t.Errorf("problem %+v", p)
			}
		}
	})
}

// sound checks what every valid configuration promises.
func sound(t *testing.T, c *Config) {
	for i := range c.Tunnels {
		hops := 0
		for n := c.Tunnels[i].Via; n >= 0; n = c.Tunnels[n].Via {
			if hops++; hops > len(c.Tunnels) {
				t.Fatalf("tunnel %d goes in a circle", i)
			}
		}
		for _, a := range c.Tunnels[i].Accept {
			if !a.From.Addr().Is4() || a.To.IsValid() && !a.To.Addr().Is4() || a.Text == "" || a.Pos.Line == 0 {
				t.Errorf("accept %+v", a)
			}
		}
	}
	for _, f := range c.Forwards {
		last := int(f.ToPort) + int(f.Ports.Hi) - int(f.Ports.Lo)
		if f.Tunnel >= len(c.Tunnels) || len(f.Protos) == 0 || f.Ports.Lo == 0 || f.Ports.Hi < f.Ports.Lo || f.ToPort == 0 || last > 65535 || !f.To.Is4() {
			t.Errorf("forward %+v", f)
		}
	}
	if m := c.Limits; m.Flows < minFlows || m.FlowsPerHost < 1 || m.FlowsPerHost > m.Flows || m.NewFlowsPerHost < 0 {
		t.Errorf("limits %+v", m)
	}
}

// The index survives every text, and says nothing about places outside it.
func FuzzIndex(f *testing.F) {
	for _, text := range []string{"a = [1, {b = 2}]\n[[c.d]]\n'e'.f = \"\"\"\n\"\"\"", "[[", "a=[,,{,,", "=", "[a.]\n.b=", "a = {= {]", "a='\\", "\"\"\"\"\"\""} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		root, _ := newIndex(text)
		var walk func(*node)
		walk = func(n *node) {
			if n.start > n.end || n.end > len(text) || n.line < 0 {
				t.Errorf("node %q at line %d holds %d to %d of %d bytes", n.key, n.line, n.start, n.end, len(text))
			}
			for _, k := range n.kids {
				walk(k)
			}
		}
		walk(root)
	})
}
