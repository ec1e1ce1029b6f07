// Package packet turns the bytes of one IP packet into a View and changes
// them in place with true checksums. It knows IPv4 and IPv6, nothing of
// policy or state, and imports the standard library only.
//
// The contract: no function allocates, keeps the bytes it was given, or
// panics on bytes that came from a network. Bad input is a Reason, never an
// error value. A View belongs to its caller, and what rewrites a packet takes
// the View that Decode made of those very bytes and keeps it true. Nothing
// here is safe for two goroutines that share a packet or a View.
//
// A packet is always bytes from the first octet of its IP header on, and may
// be a super-packet of up to 65,535 bytes that a TUN device hands over with a
// virtio header in front (which is not part of it).
package packet
