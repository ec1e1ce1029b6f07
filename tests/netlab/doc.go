// Package netlab plays the world around a gateway: hosts on a LAN, the gateway
// itself, an upstream router and WireGuard servers, each in network namespaces
// of its own.
//
//	host1 host2          gateway                router               server 1..n
//	  |     |        .----------------.    .----------------.    .-----------------.
//	  +--+--+--------| eth1      eth0 |----| up0       link1|----| eth0        wg0 |
//	     |           | .1          .2 |    | .1             |    | 198.51.100.1-4  |
//	   switch        '----------------'    | 198.51.100.1-4 |    '-----------------'
//	192.168.77.0/24     203.0.113.0/24     '----------------'       192.0.2.0/24
//
// The same "internet" addresses, 198.51.100.1 to .4, live on the router and on
// every server. A flow to one of them succeeds by every exit, and only the far
// end that answers can say which exit it took. The servers know nothing but the
// tunnel's own address, so an answer also proves the masquerade.
//
// With Layout Stick the gateway has one leg: hosts, gateway and router share the
// switch, as behind a home router.
//
// Namespaces have no names in the file system. They are held by threads of this
// process and vanish with it, whatever kills it; so do the child processes. Labs
// of one or of several processes never meet, and each node has its own /run.
// Labs need root, or root in a user namespace of their own (EnterUserNS).
//
// Sockets opened inside Node.Do belong to the node for good and may be used by
// any goroutine afterwards. All methods are safe for concurrent use unless they
// say otherwise.
package netlab
