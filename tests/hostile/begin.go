package hostile

import "turnout/classifier/packet"

// A Step is one packet of the honest part of a conversation.
type Step struct {
	Side   Side
	Packet []byte
}

// Begin returns what begins a conversation that both sides see as talk says:
// the datagrams, the echo and the connection are under way when it has passed,
// and the other connection is opening.
func Begin(talk [Sides]Talk) []Step {
	lan, far := talk[LAN], talk[Tunnel]
	syn, opening, accept := lan, lan, far
	syn.Seq, syn.Ack = lan.Seq-1, 0
	opening.TCP, opening.Seq, opening.Ack = lan.Opening, lan.Seq-1, 0
	accept.Seq = far.Seq - 1
	return []Step{
		{LAN, lan.udp(nil)}, {Tunnel, far.udp(nil)},
		{LAN, lan.echo(nil)}, {Tunnel, far.echo(nil)},
		{LAN, opening.tcp(packet.SYN, nil, nil)},
		{LAN, syn.tcp(packet.SYN, nil, nil)}, {Tunnel, accept.tcp(packet.SYN|packet.ACK, nil, nil)},
		{LAN, lan.tcp(packet.ACK, nil, nil)},
	}
}
