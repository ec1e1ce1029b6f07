package packet

import (
	"encoding/binary"
	"math/bits"
)

// A delta is what changed words add to a ones-complement sum: the complement
// of the old and the new one, for each (RFC 1624, equation 3).
type delta uint64

func changed(old, new uint16) delta { return delta(^old) + delta(new) }

func changedAddr(old, new Addr) delta {
	return delta(words(Addr{^old.Hi, ^old.Lo}) + words(new))
}

// apply brings the checksum field at the start of b up to date with d and
// returns how the field itself changed.
func (d delta) apply(b []byte) delta {
	old := be16(b)
	new := ^fold(uint64(^old) + uint64(d))
	binary.BigEndian.PutUint16(b, new)
	return changed(old, new)
}

// applyUDP does the same for UDP over IPv4, where 0 means that there is no
// checksum, and a computed 0 is sent as 0xffff (RFC 768).
func (d delta) applyUDP(b []byte) delta {
	old := be16(b)
	if old == 0 {
		return 0
	}
	new := ^fold(uint64(^old) + uint64(d))
	if new == 0 {
		new = 0xffff
	}
	binary.BigEndian.PutUint16(b, new)
	return changed(old, new)
}

// applyPartial updates a field that holds the sum of the pseudo-header only,
// not inverted: what a kernel leaves for hardware to complete.
func (d delta) applyPartial(b []byte) delta {
	old := be16(b)
	new := fold(uint64(old) + uint64(d))
	binary.BigEndian.PutUint16(b, new)
	return changed(old, new)
}

// SetSource gives the packet another source address and port (TCP, UDP) or
// identifier (ICMP echo) and keeps every checksum and v true. A later
// fragment has only its address changed. With partial, the transport checksum
// holds the pseudo-header's sum only (virtio's NEEDS_CSUM), so addresses are
// folded into it and ports are not. The address must be of the packet's own
// family; with another, nothing is changed.
func SetSource(b []byte, v *View, a Addr, port uint16, partial bool) {
	set(b, v, source, a, port, partial)
}

// SetDestination does to the destination what SetSource does to the source.
func SetDestination(b []byte, v *View, a Addr, port uint16, partial bool) {
	set(b, v, destination, a, port, partial)
}

// SetEmbeddedSource rewrites the source of the packet that an ICMP error
// quotes: e is what v.Embedded(b) gave. The quoted IP checksum, the quoted
// transport checksum if it is among the quoted bytes, and the checksum of the
// error itself stay true.
func SetEmbeddedSource(b []byte, v, e *View, a Addr, port uint16) {
	setEmbedded(b, v, e, source, a, port)
}

// SetEmbeddedDestination does to the quoted destination what
// SetEmbeddedSource does to the quoted source.
func SetEmbeddedDestination(b []byte, v, e *View, a Addr, port uint16) {
	setEmbedded(b, v, e, destination, a, port)
}

func setEmbedded(b []byte, v, e *View, s side, a Addr, port uint16) {
	q, _ := v.quote(b[v.Payload:v.Len], b[v.L4:])
	d := set(q, e, s, a, port, false)
	d.apply(b[v.L4+2:])
}

type side int

const (
	source side = iota
	destination
)

// set rewrites one side of the packet and returns how all of it changed: for
// a quoted packet, that is what the checksum around it needs.
func set(b []byte, v *View, s side, a Addr, port uint16, partial bool) delta {
	if a.Is4() != (v.Version == 4) {
		return 0
	}
	address := setAddr(b, v, s, a)
	total := address
	if v.Version == 4 {
		total += address.apply(b[10:])
	}
	if v.Frag == Later {
		return total
	}
	at, ok := v.checksumAt()
	if !ok {
		return total
	}
	ports := setPort(b[v.L4:], v, s, port)
	total += ports
	if at += int(v.L4); at+2 > len(b) { // a quote that was cut short
		return total
	}
	if v.Version == 4 && v.Proto == ICMP { // no pseudo-header
		address = 0
	}
	switch {
	case partial:
		return total + address.applyPartial(b[at:])
	case v.Proto == UDP:
		return total + (address + ports).applyUDP(b[at:])
	}
	change := (address + ports).apply(b[at:])
	if v.Proto == ICMP && v.Type == 0 && be16(b[at:]) == 0 && Checksum(b[v.L4:min(len(b), int(v.Len))], 0) == 0 {
		// All zero: an echo reply whose identifier became 0. Of the two zeros
		// that a sum may have, only this one is its checksum (RFC 1624, 3).
		binary.BigEndian.PutUint16(b[at:], 0xffff)
	}
	return total + change
}

func setAddr(b []byte, v *View, s side, a Addr) delta {
	field := &v.Src
	if s == destination {
		field = &v.Dst
	}
	d := changedAddr(*field, a)
	*field = a
	if v.Version == 4 {
		binary.BigEndian.PutUint32(b[12+4*s:], a.V4())
		return d
	}
	binary.BigEndian.PutUint64(b[8+16*s:], a.Hi)
	binary.BigEndian.PutUint64(b[16+16*s:], a.Lo)
	return d
}

// setPort changes a port of TCP and UDP or the identifier of an echo in the
// transport header t; other ICMP has neither.
func setPort(t []byte, v *View, s side, port uint16) delta {
	at := int(s) * 2
	switch {
	case v.HasPorts && s == source:
		v.SrcPort = port
	case v.HasPorts:
		v.DstPort = port
	case v.IsEcho():
		at, v.SrcPort, v.DstPort = 4, port, port
	default:
		return 0
	}
	d := changed(be16(t[at:]), port)
	binary.BigEndian.PutUint16(t[at:], port)
	return d
}

// checksumAt returns where in the transport header its checksum stands.
func (v *View) checksumAt() (int, bool) {
	switch {
	case v.Proto == TCP:
		return 16, true
	case v.Proto == UDP:
		return 6, true
	case v.Proto == ICMP && v.Version == 4, v.Proto == ICMPv6 && v.Version == 6:
		return 2, true
	}
	return 0, false
}

// SetTTL writes the time to live, or IPv6's hop limit.
func SetTTL(b []byte, v *View, ttl uint8) {
	v.TTL = ttl
	if v.Version == 6 {
		b[7] = ttl
		return
	}
	old := be16(b[8:])
	b[8] = ttl
	changed(old, be16(b[8:])).apply(b[10:])
}

// SetID gives an IPv4 packet another identification, and with it every
// fragment of a datagram that shares an address with others (RFC 6864, 5.3.1).
// That of IPv6 is the source's own, and stays.
func SetID(b []byte, v *View, id uint16) {
	if v.Version != 4 {
		return
	}
	changed(be16(b[4:]), id).apply(b[10:])
	binary.BigEndian.PutUint16(b[4:], id)
	v.ID = id
}

// ClampMSS lowers the maximum segment size that a SYN offers to max bytes and
// reports whether it did. It never raises it and adds none. partial is as in
// SetSource.
func ClampMSS(b []byte, v *View, max uint16, partial bool) bool {
	if v.Proto != TCP || !v.HasPorts || v.Flags&SYN == 0 {
		return false
	}
	t := b[v.L4:v.Payload]
	at := findMSS(t[20:])
	if at < 0 {
		return false
	}
	at += 20
	old := be16(t[at:])
	if old <= max {
		return false
	}
	binary.BigEndian.PutUint16(t[at:], max)
	if partial {
		return true
	}
	if at&1 != 0 { // the value straddles two of the checksum's words
		old, max = bits.ReverseBytes16(old), bits.ReverseBytes16(max)
	}
	changed(old, max).apply(t[16:])
	return true
}
