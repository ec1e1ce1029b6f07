// Package answer writes the packets that the router itself says to a host: an
// ICMP error about a packet, or a TCP reset in place of its far end.
//
// The builders write into the caller's buffer and return the length, 0 when
// the packet must not be answered (RFC 1812, 4.3.2.7; RFC 1122, 3.2.2; RFC
// 4443, 2.4). They allocate nothing and keep nothing. Every checksum is
// complete. How often to answer at all is for a Limiter to say: an answer is
// work done for whoever sent the packet.
package answer
