package bench

// references are what ratios are to. The targets are what the machine took on
// which those of the other figures were set: a 2-core Zen 4 guest, Go 1.26.
func references() []*figure {
	rings := []struct {
		name   string
		bytes  int
		target float64
	}{
		{"L1", 16 << 10, 1.4},
		{"L2", 512 << 10, 5.3},
		{"L3", 8 << 20, 17},
		{"DRAM", 256 << 20, 150},
	}
	out := []*figure{}
	for _, r := range rings {
		c := newChase(r.bytes)
		n := 4_000_000
		if r.bytes > 1<<20 {
			n = 500_000
		}
		out = append(out, &figure{name: r.name, n: n, run: c.run, target: r.target})
	}
	return append(out, &figure{name: "seal", n: 20_000, run: newSeal().run, target: 661})
}
