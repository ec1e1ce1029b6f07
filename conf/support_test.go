package conf

import (
	"io/fs"
	"net/netip"
	"testing"

	"turnout/classifier"
	"turnout/classifier/packet"
)

// Keys made for these tests; ours is the public key of private.
const (
	private = "MJDbRy0FGXkIWJcQ4cZYUnBIyphBfeQ3X4JvpyyAyHQ="
	server  = "PFqghzGKIO2D0cfret1nEWV7UkJ33MDCL9nK2fXYkRo="
	server2 = "+T9cD9vM7LbPIRc9vSCexgeIXAL/qqyBXwzD6Wd44yY="
	psk     = "oXHZS3NIRvltQlMYZO97i7KIfg3kvfarN7EGvj808K0="
)

// file is one file of a configuration that lives in memory.
type file struct {
	text string
	mode fs.FileMode // 0: 0600
}

// memory is a loader that reads files from a map and runs nothing.
func memory(p Purpose, files map[string]file) *loader {
	return &loader{
		Options: Options{Purpose: p},
		read: func(path string, limit int64) ([]byte, fs.FileMode, error) {
			f, ok := files[path]
			switch {
			case !ok:
				return nil, 0, fs.ErrNotExist
			case f.mode == 0:
				f.mode = 0o600
			case f.mode == fs.ModePerm:
				return nil, 0, fs.ErrPermission
			}
			return []byte(f.text), f.mode, nil
		},
		run: func(string, []string) (string, error) { panic("a command was run") },
	}
}

// loadText loads one file from memory for check.
func loadText(t *testing.T, name, text string) *Config {
	t.Helper()
	c, err := memory(ForCheck, map[string]file{name: {text: text}}).load(name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const ifaceText = "[Interface]\nPrivateKey = " + private + "\nAddress = 10.2.0.2/32\n"

// A flow is what a host of the LAN asks for.
type flow struct {
	to    string
	proto string
	port  uint16
}

func (f flow) view() packet.View {
	to := netip.MustParseAddr(f.to)
	v := packet.View{Version: 4, Len: 60, TTL: 64, Dst: packet.AddrFrom(to), Src: packet.AddrFrom(netip.MustParseAddr("192.168.77.2"))}
	if to.Is6() {
		v.Version, v.Src = 6, packet.AddrFrom(netip.MustParseAddr("fd77::2"))
	}
	switch f.proto {
	case "tcp":
		v.Proto = packet.TCP
	case "udp":
		v.Proto = packet.UDP
	case "icmp":
		v.Proto = packet.ICMP
		if to.Is6() {
			v.Proto = packet.ICMPv6
		}
		return v
	}
	v.HasPorts, v.SrcPort, v.DstPort = true, 40000, f.port
	return v
}

// ask compiles the policy and returns the name of the exit and what decided.
func ask(t *testing.T, c *Config, f flow) (exit string, by classifier.By, line string) {
	t.Helper()
	table, err := classifier.Compile(c.Policy)
	if err != nil {
		t.Fatal(err)
	}
	v := f.view()
	verdict := table.Lookup(&v)
	if verdict.Entry >= 0 {
		line = c.Policy.Entries[verdict.Entry].Text
	}
	return c.Policy.Exits[verdict.Exit].Name, verdict.By, line
}
