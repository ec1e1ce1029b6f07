package nat

import (
	"encoding/binary"

	"turnout/classifier/packet"
)

// tracking is what is remembered of a TCP connection, to tell a RST or FIN of
// its ends from a forged one. Index out is what the LAN host said, index in
// what the remote end said. Data is never judged by it.
type tracking struct {
	end    [2]uint32 // sequence number after the last byte sent
	ack    [2]uint32 // last acknowledgment sent: the first byte not yet received
	window [2]uint16 // last window advertised, unscaled
	scale  uint8     // window shift: low half out, high half in
	marks  uint8
	spoke  uint16 // lower half of the Tick of the far side's last segment
}

// Marks of a connection.
const (
	finOut = 1 << out // the near side has sent a FIN
	finIn  = 1 << in
	fins   = finOut | finIn
	heard  = 1 << 2 // both sides' numbers are known, not the opener's alone
	lost   = 1 << 3 // they were known to the process before
)

func (k *tracking) is(mark uint8) bool { return k.marks&mark != 0 }

const (
	noScale = 15 // the SYN had no window scale option
	// pickedScale is assumed of a connection whose SYN was not seen. A window of
	// 64 MiB holds what any real one advertises.
	pickedScale = 10
	maxScale    = 14 // RFC 7323, 2.3
	minWindow   = 1 << 16
)

// A segment is what tracking needs of a TCP header.
type segment struct {
	seq, ack, len uint32 // len counts SYN and FIN too
	window        uint16
	flags         uint8
	scale         uint8
}

// read reads the TCP header of a packet that has one whole; false for others.
func (s *segment) read(b []byte, v *packet.View) bool {
	if v.Proto != packet.TCP || !v.HasPorts {
		return false
	}
	l4 := int(v.L4)
	if len(b) < l4+20 || v.Payload < v.L4+20 || v.Len < v.Payload {
		return false
	}
	h := b[l4 : l4+20]
	s.seq, s.ack = binary.BigEndian.Uint32(h[4:]), binary.BigEndian.Uint32(h[8:])
	s.len, s.window = uint32(v.Len-v.Payload), binary.BigEndian.Uint16(h[14:])
	s.flags, s.scale = v.Flags, noScale
	if s.flags&packet.SYN != 0 {
		s.len++
		s.scale = windowScale(b[l4+20 : min(int(v.Payload), len(b))])
	}
	if s.flags&packet.FIN != 0 {
		s.len++
	}
	return true
}

// windowScale finds the window scale in the options of a SYN (RFC 7323).
func windowScale(o []byte) uint8 {
	for len(o) > 0 && o[0] != 0 {
		switch {
		case o[0] == 1:
			o = o[1:]
		case len(o) < 2 || o[1] < 2 || int(o[1]) > len(o):
			return noScale
		case o[0] == 3 && o[1] == 3:
			return min(o[2], maxScale)
		default:
			o = o[o[1]:]
		}
	}
	return noScale
}

// opened starts tracking with the SYN of side dir.
func (k *tracking) opened(dir int, s *segment) {
	*k = tracking{scale: noScale | noScale<<4, spoke: k.spoke}
	k.end[dir], k.ack[1-dir] = s.seq+s.len, s.seq+1 // data in a SYN need not be taken (RFC 7413)
	k.window[dir] = s.window
	k.setScale(dir, s.scale)
}

// answered adds the SYN of side dir, the other one.
func (k *tracking) answered(dir int, s *segment) {
	end := s.seq + s.len
	k.end[dir], k.ack[1-dir] = end, end
	k.window[dir] = s.window
	k.marks |= heard
	k.setScale(dir, s.scale)
	if k.scale&0x0f == noScale || k.scale>>4 == noScale {
		k.scale = 0
	}
}

func (k *tracking) setScale(dir int, scale uint8) {
	k.scale = k.scale&^(0x0f<<(4*dir)) | scale<<(4*dir)
}

// picked starts tracking in the middle, with an ACK of the LAN host.
func (k *tracking) picked(s *segment) {
	*k = tracking{scale: pickedScale | pickedScale<<4, marks: heard, spoke: k.spoke}
	k.end[out], k.ack[in] = s.seq+s.len, s.seq
	k.end[in], k.ack[out] = s.ack, s.ack
	k.window[out], k.window[in] = s.window, ^uint16(0)
}

// resumed makes e, adopted, a connection whose numbers were lost: the process
// that knew them may have died while it wrote them. The near side's next segment
// brings them back, as when a connection is picked up. One that was not yet
// established is picked up altogether.
func (e *entry) resumed() {
	e.tcp = tracking{marks: e.tcp.marks&fins | heard | lost, spoke: e.tcp.spoke}
	if e.state == TCPOpening || e.state == TCPAnswered {
		e.state = TCPPicked
	}
}

// found ends that, with an ACK of the near side.
func (k *tracking) found(s *segment) {
	marks := k.marks & fins
	k.picked(s)
	k.marks |= marks
}

// room returns the window that side dir last advertised, in bytes, never less
// than 64 KiB.
func (k *tracking) room(dir int) int32 {
	shift := k.scale & 0x0f
	if dir == in {
		shift = k.scale >> 4
	}
	if shift == noScale {
		shift = 0
	}
	return max(int32(k.window[dir])<<shift, minWindow)
}

// plausible reports whether a segment of side dir lies within a window of
// what the other side acknowledged last.
func (k *tracking) plausible(dir int, s *segment) bool {
	d := int32(s.seq - k.ack[1-dir])
	w := k.room(1 - dir)
	return -w <= d && d <= w
}

// due reports whether a FIN of the far side comes where its data end so far, or
// among those that the near side has not acknowledged. A later one may be true,
// with the data before it lost; then the near side's own FIN ends the
// connection. To guess one within the window is too easy.
func (k *tracking) due(s *segment) bool {
	return int32(s.seq-k.ack[out]) >= 0 && int32(s.seq-k.end[in]) <= 0
}

// exact reports whether a RST of side dir has the very number its receiver
// must believe (RFC 5961, 3.2): the next byte as either side counts.
func (k *tracking) exact(dir int, s *segment) bool {
	return s.seq == k.ack[1-dir] || s.seq == k.end[dir]
}

// follow learns from a plausible segment of side dir. Others teach nothing, or
// a forged segment could prepare the ground for a forged RST.
func (k *tracking) follow(dir int, s *segment) {
	if end := s.seq + s.len; int32(end-k.end[dir]) > 0 {
		k.end[dir] = end
	}
	if s.flags&packet.ACK == 0 || int32(s.ack-k.ack[dir]) < 0 || int32(s.ack-k.end[1-dir]) > 0 {
		return
	}
	k.ack[dir], k.window[dir] = s.ack, s.window
}
