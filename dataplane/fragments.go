package dataplane

import "turnout/classifier/packet"

func (d *dispatcher) fragment(b []byte, lan *Network) packet.Reason { return packet.FragmentUnknown }
func (t *Tunnel) fragment(b []byte, p *Plan) packet.Reason          { return packet.FragmentUnknown }
