package netlab

import (
	"errors"
	"fmt"
	"sync"
)

// A Far is a machine that owns the internet addresses and answers on them with
// its name, so that whoever asks learns by which exit the question came.
type Far struct {
	*Node

	mu    sync.Mutex
	pings map[string]Ping
	count Counts
}

// Counts are what a far end has served so far.
type Counts struct{ TCP, UDP, ICMP int }

// A Ping is an echo request as the far end saw it.
type Ping struct {
	From  string
	ID    int
	Count int
}

// Counts returns how many connections, datagrams and echo requests came.
func (f *Far) Counts() Counts {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count
}

// Pinged returns what came of the echo requests that carried token.
func (f *Far) Pinged(token string) (Ping, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p, ok := f.pings[token]
	return p, ok
}

// serve adds the internet addresses and starts the services, which end with the node.
func (f *Far) serve(name string, ports []uint16) error {
	f.pings = make(map[string]Ping)
	for _, a := range Internet {
		if err := f.Address("lo", host(a)); err != nil {
			return err
		}
	}
	if err := f.servePing(); err != nil {
		return fmt.Errorf("listen for pings on %s: %w", name, err)
	}
	var errs []error
	for _, port := range ports {
		errs = append(errs, f.serveTCP(name, port), f.serveUDP(name, port))
	}
	return errors.Join(errs...)
}

func (f *Far) add(c Counts) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count.TCP += c.TCP
	f.count.UDP += c.UDP
	f.count.ICMP += c.ICMP
}

// startRouter makes the direct way: a router that owns the internet addresses too.
func (l *Lab) startRouter() error {
	r := l.Router
	if err := r.Sysctl("net.ipv4.ip_forward", "1"); err != nil {
		return err
	}
	return r.serve(Direct, l.Options.Ports)
}
