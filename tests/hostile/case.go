package hostile

import (
	"turnout/classifier/packet"
	"turnout/dataplane/segment"
)

// A Side is where a packet comes in: from the LAN by the TUN device, or out of
// a tunnel by Tunnel.Write.
type Side uint8

const (
	LAN Side = iota
	Tunnel
	Sides // how many there are
)

func (s Side) String() string { return [...]string{"LAN", "tunnel"}[s] }

// An Outcome is what becomes of a packet.
type Outcome uint8

const (
	Nowhere Outcome = iota // this side has no such packets
	Drop                   // nothing comes of it but a count
	Answer                 // dropped and counted, and its sender is told
	Trim                   // forwarded without what follows its end
	Forward                // forwarded, every other part as it came
)

func (o Outcome) String() string {
	return [...]string{"—", "drop", "answer", "trim", "forward"}[o]
}

// A Result is an outcome and the reason that is counted, OK for none.
type Result struct {
	Outcome Outcome
	Reason  packet.Reason
}

func (r Result) String() string {
	if r.Reason == packet.OK {
		return r.Outcome.String()
	}
	return r.Outcome.String() + " `" + r.Reason.String() + "`"
}

// A Case is one packet of a class, or several of which the last is meant.
type Case struct {
	Class  int // the number behind M
	Name   string
	Header segment.Header // what the kernel says in front of it, on the LAN's side
	Want   [Sides]Result

	make func(Talk) [][]byte
}

// Packets makes the packets as they come in on the side of t.
func (c *Case) Packets(t Talk) [][]byte { return c.make(t) }

// Cases returns every case that one packet decides.
func Cases() []Case {
	var l list
	l.header()
	l.piece()
	l.tcp()
	l.udp()
	l.icmp()
	l.ip6()
	l.offload()
	return l
}

type list []Case

// add appends a case with a result for each side.
func (l *list) add(class int, name string, lan, tunnel Result, make func(Talk) []byte) {
	one := func(t Talk) [][]byte { return [][]byte{make(t)} }
	*l = append(*l, Case{Class: class, Name: name, Want: [Sides]Result{lan, tunnel}, make: one})
}

// drop appends a case that both sides drop for the same reason.
func (l *list) drop(class int, name string, why packet.Reason, make func(Talk) []byte) {
	l.add(class, name, drop(why), drop(why), make)
}

// both is drop for IPv4 and IPv6.
func (l *list) both(class int, name string, why packet.Reason, make func(Talk) []byte) {
	l.drop(class, name, why, make)
	l.drop(class, name+", IPv6", why, func(t Talk) []byte { return make(t.six()) })
}

// pass appends a case that is legal.
func (l *list) pass(class int, name string, make func(Talk) []byte) {
	l.add(class, name, forward, forward, make)
}

var forward = Result{Outcome: Forward}

func drop(why packet.Reason) Result   { return Result{Drop, why} }
func answer(why packet.Reason) Result { return Result{Answer, why} }
