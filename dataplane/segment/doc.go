// Package segment turns super-packets into packets and packets into
// super-packets, as a Linux TUN device with IFF_VNET_HDR gives and takes them:
// a virtio header of ten bytes, then one IP packet of up to 65,535 bytes that
// stands for many segments of one flow.
//
// A Cutter writes the segments of one super-packet, finished and with complete
// checksums, into buffers of the caller, and goes on where it stopped. A
// Coalescer collects the packets of one batch and writes runs of segments of a
// flow as one super-packet each, without copying a payload. Cutting what was
// coalesced gives the packets back, byte by byte but for the IPv4
// identification of packets that must not be fragmented, where it has no
// meaning (RFC 6864, 4.1).
//
// Both borrow the packets they are given, never allocate once they are warm,
// belong to one goroutine at a time, and answer malformed input with
// packet.BadOffload or by passing it on untouched, never with a panic. The
// length of the headers that a virtio header claims is never believed. Offsets
// are bytes from the start of the IP packet; numbers are in host byte order.
package segment
