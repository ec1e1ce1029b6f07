// Package fragment follows datagrams that travel in fragments, so that a NAT
// and a policy that go by ports can judge fragments that have none, without
// putting the datagram together.
//
// A Tracker is shown every fragment. The first one is the caller's to decide;
// those after it share its fate and its ports; those that come before it are
// held, copied, until it is decided. A datagram whose fragments contradict
// each other, which no honest sender makes (RFC 1858, RFC 3128, RFC 5722), is
// refused from then on. What is known of a datagram ends 30 seconds after its
// first fragment was seen, in whatever order they came, and nothing extends it.
// A Tracker's memory is fixed: see Options for what gives way when it is full.
//
// Pieces that touch count as one, so a datagram may have any number of
// fragments as long as they come about in order.
//
// A Reassembler puts datagrams together after all, for the few that end in
// this process. IDs hands out identifications for datagrams that were given an
// address which others share (RFC 6864, 5.3.1).
//
// Both families go through the same code. They differ in where a fragment says
// what it is, and in that fragments of one IPv6 datagram may name different
// protocols, of which the first fragment's counts (RFC 8200, 4.5).
//
// Times are seconds of a clock that does not go back, passed in by the caller.
// Packets must have been decoded: a View is always the one that Decode made of
// those bytes, addresses rewritten or not. Packets passed in are not kept.
// Tracker and IDs may be used from any goroutine, a Reassembler from one at a
// time. Nothing allocates once the first fragment was seen.
package fragment
