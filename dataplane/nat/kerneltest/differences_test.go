package kerneltest

import "slices"

// A difference is one that is meant: docs/nat-kernel.md has its reason, in the
// row of that name.
type difference struct {
	row   string
	by    int // which of the two lets the packet pass; the other drops it
	from  []int
	kinds []string
}

var (
	fromLAN    = []int{near}
	fromWAN    = []int{far}
	fromEither = []int{near, far}
)

// differences are those between passing and dropping.
var differences = []difference{
	{"checksum", turn, fromEither, []string{"damaged datagram", damagedSegment}},
	{"checksum", turn, fromLAN, []string{"ICMP error with a wrong checksum"}},
	{"quoted-ip-checksum", kernel, fromEither, []string{"ICMP error with a wrong quoted IP checksum"}},
	{"window", turn, fromEither, []string{
		"data beyond the window", "data far off, closing",
		"ACK of what was never sent", "FIN beyond the window",
	}},
	{"lan-trusted", turn, fromLAN, []string{
		"RST beyond the window", "RST of long ago", "RST of a moment ago", "RST far off, closing",
		"SYN-ACK into a connection",
		"ACK before the SYN-ACK", "FIN before the SYN-ACK",
	}},
	{"rst-near", turn, fromWAN, []string{"RST of a moment ago"}},
	{"rst-strict", kernel, fromWAN, []string{
		"RST far off, closing", "RST far off, joined", "RST without an ACK",
	}},
	{"wrong-answer", turn, fromWAN, []string{"FIN before the SYN-ACK", "SYN-ACK with a wrong ACK"}},
	{"urgent-rst", turn, fromEither, []string{"RST with urgent data"}},
	{"tcp-options", kernel, fromEither, []string{"options that are none"}},
	{"port-0", kernel, fromLAN, []string{"UDP from port 0", "UDP to port 0", "TCP to port 0"}},
	{"udp-length", kernel, fromLAN, []string{"UDP with something behind it"}},
	{"fragments", turn, fromEither, []string{fragmentLost}},
	{"source-quench", kernel, fromWAN, []string{"source quench"}},
	{"icmp-queries", kernel, fromLAN, []string{"timestamp request"}},
	{"pptp", turn, fromEither, []string{"GRE of PPTP"}},
}

// others are differences between two packets that have passed.
var others = []string{"port-choice", "port-parity", "endpoint-independent", "quoted-checksum"}

// rows lists the names of all.
func rows() []string {
	names := slices.Clone(others)
	for _, d := range differences {
		names = append(names, d.row)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// allowed finds the difference that e is an example of.
func allowed(e *event, passed [2]bool) *difference {
	for i := range differences {
		d := &differences[i]
		if passed[d.by] && slices.Contains(d.from, e.from) && slices.Contains(d.kinds, e.kind) {
			return d
		}
	}
	return nil
}
