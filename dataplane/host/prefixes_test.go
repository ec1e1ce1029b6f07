package host

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/nftables"
)

func TestMerge(t *testing.T) {
	for _, c := range []struct{ in, want []string }{
		{nil, nil},
		{[]string{"192.168.1.5/24", "192.168.1.0/25", "192.168.1.128/25"}, []string{"192.168.1.0/24"}},
		{[]string{"10.0.0.0/8", "9.0.0.0/8", "10.1.0.0/16", "10.0.0.0/8"}, []string{"9.0.0.0/8", "10.0.0.0/8"}},
		{[]string{"2001:db8::1/64", "::ffff:10.0.0.1/32", "0.0.0.0/0"}, []string{"0.0.0.0/0", "2001:db8::/64"}},
	} {
		var in []netip.Prefix
		for _, p := range c.in {
			in = append(in, netip.MustParsePrefix(p))
		}
		var got []string
		for _, p := range merge(in) {
			got = append(got, p.String())
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("merge(%v) = %v, want %v", c.in, got, c.want)
		}
	}
}

// The elements of an interval set, read as the kernel reads them, are the
// prefixes.
func TestPrefixElements(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	for range 300 {
		var prefixes []netip.Prefix
		for range 1 + r.IntN(6) {
			prefixes = append(prefixes, netip.PrefixFrom(addr4(r.Uint32()), r.IntN(33)))
		}
		merged := merge(prefixes)
		s := members{interval: true, elements: shuffled(r, prefixElements(merged))}
		for range 50 {
			a := addr4(r.Uint32())
			if p := merged[r.IntN(len(merged))]; r.IntN(2) == 0 {
				a = p.Addr() // an edge
				if r.IntN(2) == 0 {
					a = lastOf(p)
				}
				if r.IntN(2) == 0 && a.Next().IsValid() {
					a = a.Next()
				}
			}
			var regs registers
			load(&regs, reg1, a.AsSlice())
			_, got := s.find(reg1, &regs)
			want := slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
			if got != want {
				t.Fatalf("%s in %v: %v, want %v", a, merged, got, want)
			}
		}
	}
}

func addr4(v uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)})
}

func shuffled(r *rand.Rand, e []nftables.SetElement) []nftables.SetElement {
	r.Shuffle(len(e), func(i, j int) { e[i], e[j] = e[j], e[i] })
	return e
}

func TestSpecIsChecked(t *testing.T) {
	good := (&world{uplink: "wan0", runDir: "/run/x"}).spec()
	if err := good.valid(); err != nil {
		t.Fatalf("a good one: %v", err)
	}
	for what, spoil := range map[string]func(*Spec){
		"no LAN":            func(s *Spec) { s.LAN = nil },
		"no prefix":         func(s *Spec) { s.LAN[0].Prefixes = nil },
		"only IPv6":         func(s *Spec) { s.LAN[0].Prefixes = []netip.Prefix{netip.MustParsePrefix("2001:db8::/64")} },
		"a path for a name": func(s *Spec) { s.Uplinks = []string{"../../kernel"} },
		"a long name":       func(s *Spec) { s.TUN = "turnout-is-too-long" },
		"a name of sysctl":  func(s *Spec) { s.LAN[0].Name = "all" },
		"a quote":           func(s *Spec) { s.LAN[0].Name = `a"b` },
		"no mark":           func(s *Spec) { s.Mark = 0 },
		"mark outside mask": func(s *Spec) { s.Mark |= 0x100 },
		"marks alike":       func(s *Spec) { s.DirectMark = s.Mark },
		"table main":        func(s *Spec) { s.Table = 254 },
		"priority of main":  func(s *Spec) { s.Priority = 32766 },
		"priority 0":        func(s *Spec) { s.Priority = 0 },
		"tiny MTU":          func(s *Spec) { s.MTU = 100 },
		"relative run dir":  func(s *Spec) { s.RunDir = "run" },
	} {
		s := (&world{uplink: "wan0", runDir: "/run/x"}).spec()
		spoil(&s)
		if err := s.valid(); err == nil {
			t.Errorf("%s: no error", what)
		} else {
			t.Log(err)
		}
	}
}
