package netlab

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"time"
)

// Exits that no server's name stands for.
const (
	Direct = "direct"
	Drop   = "drop"
	Reject = "reject"
)

// A Host is a machine on the LAN that knows nothing but its default gateway.
type Host struct {
	*Node
	Addr netip.Addr
	lab  *Lab
}

// A Flow is a conversation that a host starts.
type Flow struct {
	Proto   string // "tcp", "udp" or "icmp"
	SrcPort uint16 // 0: any
	Dst     netip.Addr
	Port    uint16 // not for icmp
	DSCP    uint8
	Wait    time.Duration // how long silence must last to be a drop; 0: 2 s
}

func (f Flow) String() string {
	s := fmt.Sprintf("%-4s %s", f.Proto, f.Dst)
	if f.Proto != "icmp" {
		s += fmt.Sprintf(":%d", f.Port)
	}
	if f.DSCP != 0 {
		s += fmt.Sprintf(" dscp %d", f.DSCP)
	}
	return s
}

// A Result is what became of a flow.
type Result struct {
	Exit   string     // the far end's name, or Direct, Drop or Reject
	Seen   netip.Addr // the source that the far end saw; not valid when none did
	Detail string     // what the host saw, for a person
	MaxSeg int        // of TCP: the largest segment that the far end sends, bytes
}

// Probe plays a flow with a real socket and reports where it arrived. An error
// means that the lab failed, not that the flow did.
func (h *Host) Probe(f Flow) (Result, error) {
	if f.Wait == 0 {
		f.Wait = 2 * time.Second
	}
	switch f.Proto {
	case "tcp":
		return h.probeTCP(f)
	case "udp":
		return h.probeUDP(f)
	case "icmp":
		return h.probePing(f)
	}
	return Result{}, fmt.Errorf("protocol %q is not one that a lab plays", f.Proto)
}

// refusal tells silence from an answer that says no.
func refusal(err error) (Result, error) {
	var timeout interface{ Timeout() bool }
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return Result{Exit: Reject, Detail: "connection refused"}, nil
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.EACCES):
		// ICMP 3/13 and, on other kernels or for IPv6, its like.
		return Result{Exit: Reject, Detail: "administratively prohibited"}, nil
	case errors.As(err, &timeout) && timeout.Timeout():
		return Result{Exit: Drop, Detail: "silence"}, nil
	}
	return Result{}, err
}
