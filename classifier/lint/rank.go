package lint

import (
	"cmp"
	"slices"

	"turnout/classifier"
	"turnout/classifier/packet"
)

// equals reports whether two routes are equally specific, so that
// classifier.Policy.Sort leaves them in listed order.
func equals(a, b *classifier.Entry) bool {
	return longest(a) == longest(b) && namesProtocol(a) == namesProtocol(b) && countPorts(a.Ports) == countPorts(b.Ports)
}

func longest(e *classifier.Entry) (bits int) {
	for _, p := range e.To {
		bits = max(bits, p.Bits())
	}
	return bits
}

// namesProtocol is false for TCP together with UDP, which "any" with ports is.
func namesProtocol(e *classifier.Entry) bool {
	return len(e.Protos) > 0 && !(slices.Contains(e.Protos, packet.TCP) && slices.Contains(e.Protos, packet.UDP))
}

func countPorts(list []classifier.PortRange) int {
	if len(list) == 0 {
		return 65536
	}
	n := 0
	for _, r := range merge(list) {
		n += int(r.Hi) - int(r.Lo) + 1
	}
	return n
}

// merge returns the ranges sorted, with those that touch or overlap joined.
func merge(list []classifier.PortRange) []classifier.PortRange {
	if len(list) < 2 {
		return list
	}
	sorted := slices.SortedFunc(slices.Values(list), func(a, b classifier.PortRange) int { return cmp.Compare(a.Lo, b.Lo) })
	out := sorted[:0]
	for _, r := range sorted {
		if n := len(out); n > 0 && int(r.Lo) <= int(out[n-1].Hi)+1 {
			out[n-1].Hi = max(out[n-1].Hi, r.Hi)
			continue
		}
		out = append(out, r)
	}
	return out
}
