package peers

import "net/netip"

// A Transport carries a tunnel's datagrams in place of the host's UDP sockets;
// another tunnel's inner side is one. peerstest has one in memory. Open and
// Close take turns, and a closed Transport can be opened again; Send may be
// called at any time and from any goroutine.
type Transport interface {
	// Open starts receiving on a local UDP port, 0 meaning any that is free,
	// and returns the port. receive is called with each datagram that arrives
	// there and where it came from. The datagram is borrowed until receive
	// returns, which it does at once: it never waits and never calls the
	// Transport. It may be called by several goroutines, and by one that was
	// under way still after Close has returned.
	Open(port uint16, receive func(datagram []byte, from netip.AddrPort)) (uint16, error)
	// Send sends datagrams from the open port to one address; they are
	// borrowed until it returns. It never waits: what does not fit is lost, as
	// on any network, and is no error. Errors are that the Transport is closed,
	// net.ErrClosed, and that it carries nothing to such an address.
	Send(datagrams [][]byte, to netip.AddrPort) error
	// Close ends receiving and gives the port back. Closing twice is fine.
	Close() error
}
