package classifier

import (
	"net/netip"

	"turnout/bench/ruleset"
	"turnout/classifier/packet"
)

// policyOf returns a policy of the rules of a set, with eight exits.
func policyOf(rules []ruleset.Rule) *Policy {
	p := &Policy{Exits: append([]Exit{}, three...)}
	for range 8 {
		p.Exits = append(p.Exits, Exit{Name: "tunnel", Kind: KindTunnel})
	}
	for i, r := range rules {
		e := Entry{Exit: FirstNamed + ExitID(i%8), Pos: Pos{"set", i + 1}}
		if r.Dst.Bits() > 0 {
			e.To = []netip.Prefix{r.Dst}
		}
		if r.Src.Bits() > 0 {
			e.From = []netip.Prefix{r.Src}
		}
		if r.Proto >= 0 {
			e.Protos = []uint8{uint8(r.Proto)}
		}
		if r.DSCP >= 0 {
			e.DSCP = []uint8{uint8(r.DSCP)}
		}
		if r.DstPorts != ruleset.AnyPort {
			e.Ports = []PortRange{PortRange(r.DstPorts)}
		}
		if r.SrcPorts != ruleset.AnyPort {
			e.FromPorts = []PortRange{PortRange(r.SrcPorts)}
		}
		p.Entries = append(p.Entries, e)
	}
	return p
}

// viewOf returns what Decode makes of a packet with header h.
func viewOf(h ruleset.Header) packet.View {
	v := packet.View{
		Version: 4, Src: packet.AddrFrom(h.Src), Dst: packet.AddrFrom(h.Dst),
		Proto: h.Proto, TOS: h.DSCP << 2,
	}
	if h.Dst.Is6() {
		v.Version = 6
	}
	if h.Proto == packet.TCP || h.Proto == packet.UDP {
		v.SrcPort, v.DstPort, v.HasPorts = h.SrcPort, h.DstPort, true
	}
	return v
}
