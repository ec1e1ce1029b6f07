package hostile

import (
	"encoding/binary"

	"turnout/classifier/packet"
)

// Mend makes the checksums of b true as far as b's headers say where they are,
// in place, and returns b. What follows IPv6 extension headers stays as it is.
func Mend(b []byte) []byte {
	switch {
	case len(b) >= 20 && b[0]>>4 == 4:
		n, end := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
		if n < 20 || n > len(b) {
			return b
		}
		if end < n || end > len(b) {
			end = len(b)
		}
		if binary.BigEndian.Uint16(b[6:])&0x3fff == 0 {
			mendTransport(b[n:end], b[9], b[12:20])
		}
		MendHeader(b)
	case len(b) >= 40 && b[0]>>4 == 6:
		end := 40 + int(binary.BigEndian.Uint16(b[4:]))
		if end > len(b) {
			end = len(b)
		}
		mendTransport(b[40:end], b[6], b[8:40])
	}
	return b
}

// MendHeader makes the checksum of an IPv4 header true, in place.
func MendHeader(b []byte) {
	if len(b) >= 20 && b[0]>>4 == 4 {
		if n := int(b[0]&15) * 4; n >= 20 && n <= len(b) {
			put(b[10:], b[:n], 0)
		}
	}
}

// mendTransport makes the checksum of the transport header t true, which goes
// between these addresses.
func mendTransport(t []byte, proto uint8, addresses []byte) {
	pseudo := uint64(packet.Checksum(addresses, uint64(proto)+uint64(len(t))))
	at := 0
	switch {
	case proto == packet.TCP:
		at = 16
	case proto == packet.UDP:
		at = 6
	case proto == packet.ICMP && len(addresses) == 8:
		at, pseudo = 2, 0
	case proto == packet.ICMPv6 && len(addresses) == 32:
		at = 2
	default:
		return
	}
	if at+2 > len(t) {
		return
	}
	put(t[at:], t, pseudo)
	if proto == packet.UDP && t[at]|t[at+1] == 0 {
		t[at], t[at+1] = 0xff, 0xff // 0 means that there is none (RFC 768)
	}
}

// put writes the checksum over b, of which field is a part.
func put(field, b []byte, initial uint64) {
	field[0], field[1] = 0, 0
	binary.BigEndian.PutUint16(field, ^packet.Checksum(b, initial))
}
