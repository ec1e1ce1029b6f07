package kerneltest

import (
	"fmt"
	"math/rand/v2"
)

// The two that are compared.
const (
	kernel = 0
	turn   = 1 // ours
)

var names = [2]string{kernel: "kernel", turn: "turnout"}

var (
	wanAddr   = ip4("10.8.0.2")
	lanFirst  = ip4("192.168.77.20")
	farFirst  = ip4("203.0.113.9")
	router    = ip4("198.51.100.1")
	stranger  = ip4("198.51.100.77")
	lanHosts  = 5
	farHosts  = 4
	lanPorts  = []uint16{700, 701, 5000, 5001, 5002, 40000}
	farPorts  = []uint16{53, 80, 443}
	portless  = []uint8{gre, 50}
	protocols = []uint8{tcp, tcp, tcp, tcp, tcp, tcp, udp, udp, icmp, 0}
)

type endpoint struct {
	addr uint32
	port uint16
}

// A tuple names a flow as the LAN sees it. Both ends of an echo have its
// identifier, which stands with the LAN host's address.
type tuple struct {
	lan, remote endpoint
	proto       uint8
}

// A flow is a conversation that goes through both NATs.
type flow struct {
	tuple
	ext    [2]uint16 // its external port in each, once it has one
	fresh  bool      // the next packet may get another
	opened bool
	// The last packet that left, as it left each; and the last that came in.
	left [2][]byte
	came []byte
	tcp  conn
	past []string // its last events
}

// drawTuple picks from few endpoints, so that many of them collide.
func drawTuple(rng *rand.Rand) tuple {
	t := tuple{proto: pick(rng, protocols)}
	t.lan.addr = lanFirst + rng.Uint32N(uint32(lanHosts))
	t.remote.addr = farFirst + rng.Uint32N(uint32(farHosts))
	if t.proto == 0 {
		t.proto = pick(rng, portless)
		return t
	}
	t.lan.port = pick(rng, lanPorts)
	if rng.IntN(3) == 0 {
		t.lan.port = 1 + uint16(rng.IntN(65535))
	}
	if t.proto != icmp {
		t.remote.port = pick(rng, farPorts)
	}
	return t
}

func pick[T any](rng *rand.Rand, from []T) T { return from[rng.IntN(len(from))] }

func (t tuple) String() string {
	return fmt.Sprintf("proto %d %s:%d > %s:%d", t.proto, dotted(t.lan.addr), t.lan.port, dotted(t.remote.addr), t.remote.port)
}

func dotted(a uint32) string {
	return fmt.Sprintf("%d.%d.%d.%d", a>>24, a>>16&255, a>>8&255, a&255)
}

// out and in wrap a transport header and data of the flow into a packet of the
// LAN host's, and of the far end's that one of the two NATs will see.
func (f *flow) out(body []byte) ip {
	return ip{src: f.lan.addr, dst: f.remote.addr, proto: f.proto, body: body}
}

func (f *flow) in(body []byte) ip {
	return ip{src: f.remote.addr, dst: wanAddr, proto: f.proto, body: body}
}

// ports returns source and destination port of a packet from a side.
func (f *flow) ports(from, of int) (src, dst uint16) {
	if from == near {
		return f.lan.port, f.remote.port
	}
	return f.remote.port, f.ext[of]
}

// port reports whether flows of its protocol are told apart by ports.
func (t *tuple) port() bool { return sumAt(t.proto) >= 0 }

func (f *flow) remember(what string) {
	if f.past = append(f.past, what); len(f.past) > 40 {
		f.past = f.past[1:]
	}
}

// An event is a packet, whole or in pieces, that both NATs get. What one of
// them gave away, such as a port, is different in its packet.
type event struct {
	kind    string
	from    int
	flow    *flow // nil: of none
	build   func(of int) [][]byte
	damaged bool   // its transport checksum is wrong
	then    func() // when both have let it pass; may be nil
	done    bool   // what becomes of the flow, the two need not agree upon: it ends here
	sound   bool   // both must let it pass
	odd     bool   // it ends here if the kernel lets the packet pass
}

func (e *event) String() string {
	from := [2]string{near: "LAN", far: "WAN"}[e.from]
	if e.flow == nil {
		return fmt.Sprintf("%s from the %s", e.kind, from)
	}
	return fmt.Sprintf("%s from the %s in %v", e.kind, from, e.flow.tuple)
}
