package peers

import (
	"net/netip"

	"golang.zx2c4.com/wireguard/conn"
)

// A carrier is what a Device needs of its conn.Bind: a bind of UDP sockets, or
// a via inside of another tunnel.
type carrier interface {
	conn.Bind
	// shutdown closes for good and lets nobody wait in Send, so that
	// wireguard-go's own locks come free.
	shutdown()
}

// common is what all carriers have.
type common struct {
	sending func() // may be nil, as sent
	sent    func(int)
	log     *logger
	held    *window // received and not yet delivered
}

// begin tells of a send that is about to be, and returns how many messages of
// it carry a LAN packet. end follows.
func (c *common) begin(pkts [][]byte) (data int) {
	data = dataMessages(pkts)
	if data > 0 && c.sending != nil {
		c.sending()
	}
	return data
}

// end tells of a send that is over. Data messages count as sent even when they
// are lost: they are no longer in flight.
func (c *common) end(data int) {
	if data > 0 && c.sent != nil {
		c.sent(data)
	}
}

// dataMessages counts the messages that carry a LAN packet.
func dataMessages(pkts [][]byte) int {
	n := 0
	for _, p := range pkts {
		if isData(p) {
			n++
		}
	}
	return n
}

// ParseEndpoint implements conn.Bind for a literal address and port.
func (*common) ParseEndpoint(s string) (conn.Endpoint, error) {
	a, err := netip.ParseAddrPort(s)
	if err != nil {
		return nil, err
	}
	return newEndpoint(a)
}

// BatchSize implements conn.Bind.
func (*common) BatchSize() int { return batchSize }
