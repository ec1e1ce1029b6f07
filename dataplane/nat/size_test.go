package nat

import (
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"turnout/classifier/packet"
)

// resident returns the bytes of this process that are in memory.
func resident(t *testing.T) int {
	t.Helper()
	debug.FreeOSMemory()
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.Fields(string(b))[1])
	if err != nil {
		t.Fatal(err)
	}
	return n * os.Getpagesize()
}

// A million flows, all there is of them: entries, indexes, mappings, ports,
// hosts and numbered addresses. UDP with a mapping for each flow, at another
// port than the LAN's for nearly all, is the dearest kind.
func TestRow47BytesPerFlow(t *testing.T) {
	if n := unsafe.Sizeof(entry{}); n != 96 {
		t.Errorf("an entry has %d bytes", n)
	}
	for _, c := range []struct {
		fam     family
		n, most int
	}{{v4, 1_000_000, 128}, {v6, 500_000, 192}} { // as full the indexes, in half the time
		n := c.n
		b := udp(c.fam.lan1, 5000, c.fam.remote1, 443).bytes()
		v := decode(t, b)
		before := resident(t)
		table := New(Options{MaxFlows: n})
		pin := c.fam.pin1()
		for i := range uint32(n) {
			// 16 tunnels of 62,500 flows; 2,000 hosts; a remote for each flow.
			pin.Exit = uint16(1 + i/62_500)
			pin.Addr.Lo = c.fam.ext1.Lo + uint64(pin.Exit)
			v.Src.Lo = c.fam.lan1.Lo + uint64(i%2000)
			v.SrcPort = uint16(5000 + i/2000%62)
			v.Dst.Lo = c.fam.remote1.Lo + uint64(i)
			if _, r := table.Open(b, v, LAN, pin, 1); r != packet.OK {
				t.Fatalf("%s: flow %d: %v", c.fam.name, i, r)
			}
		}
		bytes := float64(resident(t)-before) / float64(n)
		t.Logf("%s: %.1f bytes a flow", c.fam.name, bytes)
		if bytes > float64(c.most) {
			t.Errorf("%s: %.1f bytes a flow, want at most %d", c.fam.name, bytes, c.most)
		}
		table.Close()
	}
}
