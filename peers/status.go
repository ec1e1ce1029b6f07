package peers

import (
	"bufio"
	"bytes"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"turnout/conf"
)

// Status is what a device knows about itself. It holds no secret.
type Status struct {
	ListenPort uint16
	Peers      []PeerStatus // in the configuration's order
	// Lost counts datagrams that came by Options.Transport faster than they
	// were taken. What sockets lose, the kernel counts.
	Lost uint64
}

// PeerStatus is what a device knows about one peer.
type PeerStatus struct {
	PublicKey     conf.PublicKey
	Endpoint      netip.AddrPort // invalid: none is known yet
	LastHandshake time.Time      // zero: none so far
	Rx, Tx        uint64         // bytes of WireGuard messages since the device opened
}

// Status returns the device's state of this moment. A closed device has no
// port and its peers no endpoint.
func (d *Device) Status() Status {
	var b bytes.Buffer
	if d.wg.IpcGetOperation(&b) != nil { // cannot fail into memory
		return Status{}
	}
	port, byKey := parseStatus(&b)
	s := Status{ListenPort: port, Lost: d.lost.Load()}
	for _, p := range d.conf.Load().Peers {
		st := byKey[p.PublicKey.Hex()]
		st.PublicKey = p.PublicKey
		s.Peers = append(s.Peers, st)
	}
	return s
}

// parseStatus reads wireguard-go's answer to get=1; peers by the hexadecimal
// public key.
func parseStatus(b *bytes.Buffer) (port uint16, byKey map[string]PeerStatus) {
	byKey = make(map[string]PeerStatus)
	var key string
	var at PeerStatus
	var sec, nsec int64
	done := func() {
		if key == "" {
			return
		}
		if sec != 0 || nsec != 0 {
			at.LastHandshake = time.Unix(sec, nsec)
		}
		byKey[key] = at
		at, sec, nsec = PeerStatus{}, 0, 0
	}
	lines := bufio.NewScanner(b)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), "=")
		switch name {
		case "listen_port":
			n, _ := strconv.ParseUint(value, 10, 16)
			port = uint16(n)
		case "public_key":
			done()
			key = value
		case "endpoint":
			at.Endpoint, _ = netip.ParseAddrPort(value)
		case "last_handshake_time_sec":
			sec, _ = strconv.ParseInt(value, 10, 64)
		case "last_handshake_time_nsec":
			nsec, _ = strconv.ParseInt(value, 10, 64)
		case "rx_bytes":
			at.Rx, _ = strconv.ParseUint(value, 10, 64)
		case "tx_bytes":
			at.Tx, _ = strconv.ParseUint(value, 10, 64)
		}
	}
	done()
	return port, byKey
}
