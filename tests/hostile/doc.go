// Package hostile makes the packets that no honest host sends: one or more of
// each class that docs/malformed.md lists, and what must become of them at the
// two places where the router takes packets in. All tests of malformed packets
// take theirs from this one table.
//
// A packet is made for a Talk, a conversation that goes on, and is wrong in one
// thing only: all else, checksums too, is as in a packet of that conversation.
// So it is that one thing for which it is not forwarded.
package hostile
