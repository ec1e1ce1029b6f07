package kerneltest

import (
	"turnout/classifier/packet"
	"turnout/dataplane/nat"
)

const tunnel = 3 // the exit of all flows

// ours is the table under test with as much of a data plane around it as the
// kernel has around its own: headers are checked, the TTL is lowered, and later
// fragments are told the ports of their first.
type ours struct {
	table     *nat.Table
	pin       nat.Pin
	fragments map[fragmentOf]*datagram
}

type fragmentOf struct {
	src, dst packet.Addr
	id       uint16
	proto    uint8
}

// A datagram that comes in pieces. What came before its first piece waits.
type datagram struct {
	first   packet.View // as it came
	known   bool
	waiting [][]byte
}

func newOurs() *ours {
	return &ours{
		table:     nat.New(nat.Options{}),
		pin:       nat.Pin{Exit: tunnel, Entry: -1, Masquerade: true, Addr: packet.Addr4(wanAddr)},
		fragments: map[fragmentOf]*datagram{},
	}
}

// pass is what gateway.pass is, with the reason why the last packet was dropped.
func (o *ours) pass(from int, packets [][]byte) (out [][]byte, why packet.Reason) {
	for _, b := range packets {
		for _, b := range o.defragment(append([]byte(nil), b...)) {
			if r := o.route(from, b.b, &b.v); r != packet.OK {
				why = r
				continue
			}
			out = append(out, b.b)
		}
		var v packet.View
		if r := v.Decode(b); r != packet.OK {
			why = r
		}
	}
	return out, why
}

type decoded struct {
	b []byte
	v packet.View
}

// defragment returns what can go on, now that b is here.
func (o *ours) defragment(b []byte) []decoded {
	var v packet.View
	if v.Decode(b) != packet.OK {
		return nil
	}
	if v.Frag == packet.Whole {
		return []decoded{{b, v}}
	}
	k := fragmentOf{v.Src, v.Dst, v.ID, v.Proto}
	d := o.fragments[k]
	if d == nil {
		d = &datagram{}
		o.fragments[k] = d
	}
	if v.Frag == packet.Later && !d.known {
		d.waiting = append(d.waiting, b)
		return nil
	}
	if v.Frag == packet.Later {
		return []decoded{d.later(b)}
	}
	d.first, d.known = v, true
	ready := []decoded{{b, v}}
	for _, b := range d.waiting {
		ready = append(ready, d.later(b))
	}
	d.waiting = nil
	return ready
}

func (d *datagram) later(b []byte) decoded {
	p := decoded{b: b}
	p.v.Decode(b)
	p.v.SrcPort, p.v.DstPort, p.v.Type = d.first.SrcPort, d.first.DstPort, d.first.Type
	return p
}

const now = 1000 // no time passes

func (o *ours) route(from int, b []byte, v *packet.View) packet.Reason {
	if from == far {
		if r := packet.VerifyHeader(b, v); r != packet.OK {
			return r
		}
		f, r := o.table.In(b, v, tunnel, now)
		if r != packet.OK {
			return r
		}
		f.RewriteIn(b, v, false)
	} else {
		f, ok := o.table.Out(b, v, nat.LAN, now)
		if !ok {
			var r packet.Reason
			if f, r = o.table.Open(b, v, nat.LAN, o.pin, now); r != packet.OK {
				return r
			}
		}
		f.RewriteOut(b, v, false)
	}
	packet.SetTTL(b, v, v.TTL-1)
	return packet.OK
}
