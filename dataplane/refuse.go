package dataplane

import (
	"time"

	"turnout/classifier/packet"
	"turnout/dataplane/answer"
	"turnout/dataplane/segment"
)

// answerSize holds any answer that the gateway gives: 576 bytes for IPv4
// (RFC 1812, 4.3.2.3), 1,280 for IPv6 (RFC 4443, 2.4).
const answerSize = 1280

// ICMP types and codes that the gateway sends (RFC 792, RFC 1812 5.2.7.1).
const (
	icmpUnreachable   = 3
	icmpTimeExceeded  = 11
	codeHost          = 1  // host unreachable
	codeNeedsFragment = 4  // fragmentation needed and DF set
	codeProhibited    = 13 // communication administratively prohibited
)

// reject answers a host of the LAN whose packet policy refuses: a reset for
// TCP, so that it gives up at once, else ICMP "administratively prohibited".
func (d *dispatcher) reject(b []byte, lan *Network) {
	if !d.mayAnswer() {
		return
	}
	if d.view.Proto == packet.TCP && d.view.HasPorts {
		d.send(answer.Reset(d.answer[:], b, &d.view))
		return
	}
	d.send(answer.ICMPError(d.answer[:], b, &d.view, lan.Gateway, icmpUnreachable, codeProhibited, 0))
}

// unreachable answers a host of the LAN whose packet policy allows but that
// cannot be carried: its tunnel is gone, or the tables are full (RFC 5508,
// REQ-8).
func (d *dispatcher) unreachable(b []byte, lan *Network) {
	if d.mayAnswer() {
		d.send(answer.ICMPError(d.answer[:], b, &d.view, lan.Gateway, icmpUnreachable, codeProhibited, 0))
	}
}

// fragmentationNeeded tells a host of the LAN the tunnel's MTU (RFC 1191).
func (d *dispatcher) fragmentationNeeded(b []byte, lan *Network, mtu int) {
	if d.mayAnswer() {
		d.send(answer.ICMPError(d.answer[:], b, &d.view, lan.Gateway, icmpUnreachable, codeNeedsFragment, uint16(mtu)))
	}
}

func (d *dispatcher) mayAnswer() bool { return d.toLAN.Allow(d.view.Src, time.Now()) }

// send writes an answer of n bytes to the LAN; none when n is 0.
func (d *dispatcher) send(n int) {
	if n == 0 {
		return
	}
	if err := d.writer.WritePacket(&segment.Header{}, d.answer[:n]); err != nil {
		d.Dropped.add(packet.WriteFailed)
	}
}
