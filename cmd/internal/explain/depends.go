package explain

import (
	"turnout/classifier"
	"turnout/classifier/packet"
	"turnout/cmd/internal/control"
)

// depends lists the lines that name a source and would decide had the packet
// that source. It asks the table again for each such line, with the first
// address of each prefix that the line names, so that the table stays the only
// judge of what matches.
func (s Source) depends(asked control.Query, v packet.View, winner int32) []control.Line {
	lines := []control.Line{}
	entries := s.Table.Policy().Entries
	for i := range entries {
		if winner >= 0 && int32(i) > winner {
			break // comes after a line that matches: only lines before it can overrule
		}
		if s.decides(int32(i), &entries[i], asked, v) {
			lines = append(lines, line(&entries[i]))
		}
	}
	return lines
}

// decides reports whether entry i decides for some source that was not asked
// for by name.
func (s Source) decides(i int32, e *classifier.Entry, asked control.Query, v packet.View) bool {
	from, ports := e.From, e.FromPorts
	if asked.From.IsValid() {
		from = nil
	}
	if asked.FromPort != 0 || !v.HasPorts {
		ports = nil
	}
	if len(from) == 0 && len(ports) == 0 {
		return false
	}
	for f := 0; f < max(1, len(from)); f++ {
		w := v
		if len(from) > 0 {
			w.Src = packet.AddrFrom(from[f].Masked().Addr())
		}
		if w.Src.Is4() != v.Src.Is4() {
			continue
		}
		for p := 0; p < max(1, len(ports)); p++ {
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
