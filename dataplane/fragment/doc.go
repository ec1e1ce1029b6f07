// Package fragment gives the fragments of a datagram one fate without putting
// the datagram together.
//
// Only the first fragment has the numbers by which a flow is found, so the
// later ones inherit them from it (RFC 3022, 6.3). Those that come early are
// held until it is there, for 30 s at most from the first that was seen
// (RFC 4787, REQ-14). Fragments that contradict each other were not made by an
// honest sender: the whole datagram is refused from then on (RFC 1858,
// RFC 3128, RFC 5722).
//
// A Tracker is asked about every fragment and about nothing else: a flood of
// fragments costs whole packets nothing. What it holds is bounded over all, for
// each side and for each host, so that a flood of one displaces its own.
//
// IDs are identifications for datagrams whose source several hosts share. A
// Reassembler does put datagrams together, for the few that end in this process.
package fragment
