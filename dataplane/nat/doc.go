// Package nat remembers conversations. A flow is pinned to the exit that
// policy chose for its first packet and keeps that exit, and the translation
// of its addresses, until it ends: a flow that changed its tunnel would change
// its address and die.
//
// The dataplane asks Out for a packet of the LAN; when no flow knows it, policy
// decides and Open creates the flow. In judges what comes out of a tunnel: it
// passes only as part of a flow of that very tunnel. All three return the flow
// as a copied value, whose RewriteOut and RewriteIn then change the packet's
// bytes outside of any lock.
//
// Masquerade maps UDP and ICMP echo independently of the remote end (RFC 4787,
// RFC 5508): one LAN endpoint keeps one external port, and no two share one.
// TCP ports depend on the remote end, so that two connections may share a port
// when their remote ends differ (RFC 7857, 3). Filtering is by address and
// port; a full cone lets in whoever knows a mapped UDP port. After a mapping its
// port rests for 120 s (RFC 6888). ICMP errors belong to the flow that they
// quote; they never refresh or end it. Other protocols are known by their two
// addresses, one LAN host for each (exit, remote, protocol). A flow that is not
// masqueraded keeps its addresses and is otherwise the same. docs/nat.md has
// what the standards ask, and the test of each.
//
// No host has more than its share of the table. A full one gives up what is
// worth least: established TCP connections only once they were silent for a
// minute. OpenFile keeps the table in a file, where the next process finds it.
//
// Every time is a Tick that the caller passes in; the package reads no clock.
// Ports are in host byte order. All methods of Table may be called from any
// goroutine: one mutex is held for the time of a few memory accesses and never
// while a packet's bytes are changed, a callback runs or a file is read. The
// flows live outside of Go's heap, and a packet of a known flow allocates
// nothing.
package nat
