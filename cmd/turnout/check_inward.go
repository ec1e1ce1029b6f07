package main

import (
	"fmt"
	"net/netip"
	"strings"

	"turnout/classifier"
	"turnout/classifier/packet"
	"turnout/conf"
)

// An acceptLine is what far hosts of a tunnel may start.
type acceptLine struct {
	From   string   `json:"from"`
	To     string   `json:"to"`     // "": the whole LAN
	Protos []string `json:"protos"` // none: any
	Ports  []string `json:"ports"`  // none: any
	NAT    string   `json:"nat"`    // "none" or "masquerade"
	At     string   `json:"at"`
}

// A forwardLine is a [[forward]].
type forwardLine struct {
	Name   string   `json:"name"`
	Tunnel string   `json:"tunnel"`
	Listen string   `json:"listen"` // "tunnel" or "lan"
	Protos []string `json:"protos"`
	Ports  string   `json:"ports"` // a port or a range
	To     string   `json:"to"`    // the address with the first port
	At     string   `json:"at"`
}

// flowLimits are those of the flow table.
type flowLimits struct {
	Flows           int `json:"flows"`
	FlowsPerHost    int `json:"flows_per_host"`
	NewFlowsPerHost int `json:"new_flows_per_host"` // per second; 0: no limit
}

// viaNames names the tunnels that carry a tunnel's own packets, the next one first.
func viaNames(cfg *conf.Config, tunnel int) []string {
	out := []string{}
	for n := cfg.Tunnels[tunnel].Via; n >= 0; n = cfg.Tunnels[n].Via {
		out = append(out, cfg.Tunnels[n].Name)
	}
	return out
}

func acceptLines(t *conf.Tunnel) []acceptLine {
	out := []acceptLine{}
	for i := range t.Accept {
		a := &t.Accept[i]
		line := acceptLine{From: a.From.String(), Protos: protoNames(a.Protos), Ports: []string{}, NAT: "none", At: a.Pos.String()}
		if a.To.IsValid() {
			line.To = a.To.String()
		}
		for _, p := range a.Ports {
			line.Ports = append(line.Ports, portText(p))
		}
		if a.Masquerade {
			line.NAT = "masquerade"
		}
		out = append(out, line)
	}
	return out
}

func forwardLines(cfg *conf.Config) (out []forwardLine) {
	for i := range cfg.Forwards {
		f := &cfg.Forwards[i]
		line := forwardLine{Name: f.Name, Tunnel: cfg.Tunnels[f.Tunnel].Name, Listen: "tunnel", Protos: protoNames(f.Protos),
			Ports: portText(f.Ports), To: netip.AddrPortFrom(f.To, f.ToPort).String(), At: f.Pos.String()}
		if f.FromLAN {
			line.Listen = "lan"
		}
		out = append(out, line)
	}
	return out
}

// protoNames are the words that the configuration has for protocols.
func protoNames(list []uint8) []string {
	out := []string{}
	for _, p := range list {
		out = append(out, map[uint8]string{packet.TCP: "tcp", packet.UDP: "udp", packet.ICMP: "icmp"}[p])
	}
	return out
}

func portText(p classifier.PortRange) string {
	if p.Lo == p.Hi {
		return fmt.Sprint(p.Lo)
	}
	return fmt.Sprintf("%d-%d", p.Lo, p.Hi)
}

func (a acceptLine) String() string {
	what, to := "everything", "the LAN"
	if len(a.Protos) > 0 {
		what = strings.Join(a.Protos, " and ")
	}
	if len(a.Ports) > 0 {
		what += " to " + portWord(a.Ports...) + strings.Join(a.Ports, ",")
	}
	if a.To != "" {
		to = a.To
	}
	text := fmt.Sprintf("%s from %s to %s", what, a.From, to)
	if a.NAT == "masquerade" {
		text += ", as the gateway's LAN address"
	}
	return text
}

func (f forwardLine) String() string {
	name, listen, by := "forward", "tunnel "+f.Tunnel, ""
	if f.Name != "" {
		name += " " + f.Name
	}
	if f.Listen == "lan" {
		listen, by = "the LAN address", " through tunnel "+f.Tunnel
	}
	return fmt.Sprintf("%s: %s %s%s of %s to %s%s", name, strings.Join(f.Protos, " and "), portWord(f.Ports), f.Ports, listen, f.To, by)
}

func portWord(ports ...string) string {
	if len(ports) > 1 || strings.Contains(ports[0], "-") {
		return "ports "
	}
	return "port "
}
