package peers

import (
	"net/netip"
	"testing"
)

func TestEndpoints(t *testing.T) {
	b := new(bind)
	for _, c := range []struct{ in, out string }{
		{"192.0.2.1:51820", "192.0.2.1:51820"},
		{"[::ffff:192.0.2.1]:51820", "192.0.2.1:51820"},
		{"[2001:db8::1]:51820", "[2001:db8::1]:51820"},
		{"[fe80::1%1]:51820", "[fe80::1%1]:51820"},
		{"[fe80::1%lo]:51820", "[fe80::1%lo]:51820"},
	} {
		e, err := b.ParseEndpoint(c.in)
		if err != nil || e.DstToString() != c.out {
			t.Errorf("%s: %v, %v", c.in, e, err)
			continue
		}
		back := endpointOf(&e.(*endpoint).name)
		if c.in == "[fe80::1%lo]:51820" {
			c.out = "[fe80::1%1]:51820"
		}
		if back.DstToString() != c.out || back.len != e.(*endpoint).len {
			t.Errorf("%s came back as %s", c.in, back.DstToString())
		}
	}
	for _, bad := range []string{"", "192.0.2.1", "example.com:51820", "[fe80::1%nope0]:1", "192.0.2.1:65536"} {
		if e, err := b.ParseEndpoint(bad); err == nil {
			t.Errorf("%q became %v", bad, e)
		}
	}
}

// Forged sources cannot make a receiver remember without bound.
func TestSendersAreBounded(t *testing.T) {
	var s senders
	for i := range 3 * maxSenders {
		e, _ := newEndpoint(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 1))
		first := s.of(&e.name)
		if first.addr != e.addr || s.of(&e.name) != first {
			t.Fatalf("source %v became %v", e.addr, first.addr)
		}
	}
	if len(s.all) > maxSenders {
		t.Errorf("%d senders are remembered", len(s.all))
	}
}

func TestKernels(t *testing.T) {
	for _, c := range []struct {
		release       string
		send, receive bool
	}{
		{"5.10.0-30-amd64", true, false},
		{"5.12.0", true, true},
		{"6.18.44-fc", true, true},
		{"7.0.3", false, true},
		{"7.1.0-rc1", false, true},
		{"7.2.0", true, true},
		{"7.10.0", true, true},
		{"odd", true, false},
	} {
		major, minor := parseRelease(c.release)
		if s, r := sendOffloadWorks(major, minor), receiveOffloadWorks(major, minor); s != c.send || r != c.receive {
			t.Errorf("%s (%d.%d): send %v, receive %v", c.release, major, minor, s, r)
		}
	}
}
