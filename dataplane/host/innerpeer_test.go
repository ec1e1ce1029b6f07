package host

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// The ports of these tests: LAN hosts reach the process at the first two.
const (
	listenTCP = 8443
	listenUDP = 5005 // of 5000 to 5010
	ownPort   = 53   // a service of the gateway
	hostPort  = 9007 // a service of the LAN host
)

// An innerPeer plays what the process does with Inside: it answers LAN hosts at
// the listed ports, with whom it saw speak to whom, and asks on its own.
type innerPeer struct {
	p     *process
	heard chan gopacket.Packet // what came to no listed port
	next  uint16
}

func newInnerPeer(p *process) *innerPeer {
	f := &innerPeer{p, make(chan gopacket.Packet, 1024), 40000}
	go func() {
		for {
			select {
			case b := <-p.inside:
				f.take(gopacket.NewPacket(b, layers.LayerTypeIPv4, gopacket.Default))
			case <-p.done:
				return
			}
		}
	}()
	return f
}

func (f *innerPeer) take(packet gopacket.Packet) {
	_, to := ends(packet)
	switch {
	case to == netip.AddrPortFrom(Inside, listenTCP):
		f.serveTCP(packet)
	case to.Addr() == Inside && to.Port() >= 5000 && to.Port() <= 5010:
		from, _ := ends(packet)
		f.sendUDP(to, from, fmt.Sprintf("%s>%s", from, to))
	default:
		select {
		case f.heard <- packet:
		default:
		}
	}
}

// ends are the addresses and, of TCP and UDP, the ports.
func ends(packet gopacket.Packet) (from, to netip.AddrPort) {
	ip, ok := packet.Layer(layers.LayerTypeIPv4).(*layers.IPv4)
	if !ok {
		return from, to
	}
	src, _ := netip.AddrFromSlice(ip.SrcIP.To4())
	dst, _ := netip.AddrFromSlice(ip.DstIP.To4())
	var sport, dport uint16
	switch l := packet.TransportLayer().(type) {
	case *layers.UDP:
		sport, dport = uint16(l.SrcPort), uint16(l.DstPort)
	case *layers.TCP:
		sport, dport = uint16(l.SrcPort), uint16(l.DstPort)
	}
	return netip.AddrPortFrom(src, sport), netip.AddrPortFrom(dst, dport)
}

// serveTCP is as much of TCP as sends a line to a client and closes.
func (f *innerPeer) serveTCP(packet gopacket.Packet) {
	from, to := ends(packet)
	in := packet.TransportLayer().(*layers.TCP)
	out := &layers.TCP{ACK: true, Window: 65535, Seq: 1000, Ack: in.Seq + uint32(len(in.Payload))}
	text := fmt.Sprintf("%s>%s", from, to)
	switch {
	case in.RST:
	case in.SYN:
		out.SYN = true
		out.Ack++
		f.sendTCP(to, from, out, "")
	case in.FIN:
		out.Seq = in.Ack
		out.Ack++
		f.sendTCP(to, from, out, "")
	case in.Ack == 1001:
		out.Seq, out.PSH, out.FIN = 1001, true, true
		f.sendTCP(to, from, out, text)
	}
}

func (f *innerPeer) send(from, to netip.AddrPort, ttl uint8, transport ...gopacket.SerializableLayer) {
	f.p.file.Write(datagram(from, to, ttl, transport...))
}

func datagram(from, to netip.AddrPort, ttl uint8, transport ...gopacket.SerializableLayer) []byte {
	ip := &layers.IPv4{Version: 4, TTL: ttl, SrcIP: from.Addr().AsSlice(), DstIP: to.Addr().AsSlice(), Flags: layers.IPv4DontFragment}
	switch l := transport[0].(type) {
	case *layers.UDP:
		ip.Protocol = layers.IPProtocolUDP
		l.SetNetworkLayerForChecksum(ip)
	case *layers.TCP:
		ip.Protocol = layers.IPProtocolTCP
		l.SetNetworkLayerForChecksum(ip)
	case *layers.ICMPv4:
		ip.Protocol = layers.IPProtocolICMPv4
	}
	b := gopacket.NewSerializeBuffer()
	all := append([]gopacket.SerializableLayer{ip}, transport...)
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, all...); err != nil {
		panic(err) // these layers can be written
	}
	return b.Bytes()
}

func udp(from, to netip.AddrPort) *layers.UDP {
	return &layers.UDP{SrcPort: layers.UDPPort(from.Port()), DstPort: layers.UDPPort(to.Port())}
}

func (f *innerPeer) sendUDP(from, to netip.AddrPort, text string) {
	f.send(from, to, 64, udp(from, to), gopacket.Payload(text))
}

func (f *innerPeer) sendTCP(from, to netip.AddrPort, tcp *layers.TCP, text string) {
	tcp.SrcPort, tcp.DstPort = layers.TCPPort(from.Port()), layers.TCPPort(to.Port())
	f.send(from, to, 64, tcp, gopacket.Payload(text))
}

// port is one that no conversation had yet.
func (f *innerPeer) port() netip.AddrPort {
	f.next++
	return netip.AddrPortFrom(Inside, f.next)
}

// until repeats say until something is heard that answer takes, and gives up
// after limit.
func (f *innerPeer) until(limit time.Duration, say func(), answer func(gopacket.Packet) bool) bool {
	end := time.After(limit)
	for {
		say()
		again := time.After(200 * time.Millisecond)
		for waiting := true; waiting; {
			select {
			case packet := <-f.heard:
				if answer(packet) {
					return true
				}
			case <-again:
				waiting = false
			case <-end:
				return false
			}
		}
	}
}

// ask sends a datagram until one comes back, and returns its text.
func (f *innerPeer) ask(from, to netip.AddrPort, limit time.Duration) (text string, err error) {
	if !f.until(limit, func() { f.sendUDP(from, to, "who am I?") }, func(packet gopacket.Packet) bool {
		src, dst := ends(packet)
		if src != to || dst != from {
			return false
		}
		text = string(packet.TransportLayer().LayerPayload())
		return true
	}) {
		return "", fmt.Errorf("%s did not answer %s", to, from)
	}
	return text, nil
}

// askTCP opens a connection and returns the line that comes.
func (f *innerPeer) askTCP(from, to netip.AddrPort, limit time.Duration) (text string, err error) {
	out := &layers.TCP{SYN: true, Seq: 7000, Window: 65535}
	if !f.until(limit, func() { f.sendTCP(from, to, out, "") }, func(packet gopacket.Packet) bool {
		src, dst := ends(packet)
		in, ok := packet.TransportLayer().(*layers.TCP)
		if !ok || src != to || dst != from {
			return false
		}
		if in.RST {
			text = "reset"
			return true
		}
		if in.SYN {
			out = &layers.TCP{ACK: true, Seq: 7001, Ack: in.Seq + 1, Window: 65535}
			f.sendTCP(from, to, out, "")
		}
		text = string(in.Payload)
		return text != ""
	}) {
		return "", fmt.Errorf("%s did not answer %s by TCP", to, from)
	}
	return text, nil
}

// icmp repeats say until an ICMP message of a type comes from an address, and
// returns its payload.
func (f *innerPeer) icmp(say func(), want layers.ICMPv4TypeCode, by string) (payload []byte, ok bool) {
	ok = f.until(patience, say, func(packet gopacket.Packet) bool {
		l, isICMP := packet.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4)
		src, _ := ends(packet)
		if !isICMP || l.TypeCode != want || src.Addr().String() != by {
			return false
		}
		payload = l.Payload
		return true
	})
	return payload, ok
}
