package explain

import (
	"net/netip"

	"turnout/classifier"
	"turnout/classifier/packet"
	"turnout/cmd/internal/control"
)

// Bounds of depends, for policies with very long lists: sources tried of one
// line, and lookups in all.
const (
	maxSources = 256
	maxTries   = 1 << 17
)

// depends lists the lines that name a source and would decide had the packet
// that source. It asks the table again for each such line, with an address of
// each prefix that the line names or one beside it that the line excludes, so
// that the table stays the only judge of what matches.
func (s Source) depends(asked control.Query, v packet.View, winner int32) []control.Line {
	lines := []control.Line{}
	p := s.Table.Policy()
	tries := maxTries
	for i := range p.Entries {
		if winner >= 0 && int32(i) > winner || tries <= 0 {
			break // comes after a line that matches: only lines before it can overrule
		}
		e := &p.Entries[i]
		var sources []netip.Addr
		if !asked.From.IsValid() {
			sources = sourcesOf(p, e)
		}
		ports := e.FromPorts
		if asked.FromPort != 0 || !v.HasPorts {
			ports = nil
		}
		tries -= max(1, len(sources)) * max(1, len(ports))
		if s.decides(int32(i), sources, ports, v) {
			lines = append(lines, line(e))
		}
	}
	return lines
}

// sourcesOf gives addresses that e may have to do with: the first of each
// prefix that it names, and those around each that it excludes.
func sourcesOf(p *classifier.Policy, e *classifier.Entry) (out []netip.Addr) {
	add := func(a netip.Addr) {
		if a.IsValid() && len(out) < maxSources {
			out = append(out, a)
		}
	}
	each := func(list []netip.Prefix, sets []int, f func(netip.Prefix)) {
		for _, q := range list {
			f(q)
		}
		for _, set := range sets {
			all := p.Sets[set].Prefixes
			for _, q := range all[:min(len(all), maxSources)] {
				f(q)
			}
		}
	}
	each(e.From, e.FromSets, func(q netip.Prefix) { add(q.Masked().Addr()) })
	each(e.NotFrom, e.NotFromSets, func(q netip.Prefix) {
		add(q.Masked().Addr().Prev())
		add(last(q).Next())
	})
	return out
}

func last(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// decides reports whether entry i decides for one of the sources and source
// ports; those of v stand in for what is not listed.
func (s Source) decides(i int32, sources []netip.Addr, ports []classifier.PortRange, v packet.View) bool {
	if len(sources) == 0 && len(ports) == 0 {
		return false
	}
	for f := range max(1, len(sources)) {
		w := v
		if len(sources) > 0 {
			w.Src = packet.AddrFrom(sources[f])
		}
		if w.Src.Is4() != v.Src.Is4() {
			continue
		}
		for p := range max(1, len(ports)) {
			if len(ports) > 0 {
				w.SrcPort = ports[p].Lo
			}
			if s.Table.Lookup(&w).Entry == i {
				return true
			}
		}
	}
	return false
}
