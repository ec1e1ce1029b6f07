package netlab

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

func (h *Host) probePing(f Flow) (Result, error) {
	conn, err := h.ListenICMP()
	if err != nil {
		return Result{}, err
	}
	defer conn.Close()
	if err := ipv4.NewPacketConn(conn).SetTOS(int(f.DSCP) << 2); err != nil {
		return Result{}, fmt.Errorf("set the DSCP: %w", err)
	}
	id, word := int(f.SrcPort), token()
	if id == 0 {
		id = 1 + rand.IntN(65535)
	}
	for seq := range tries {
		if err := sendEcho(conn, f.Dst, id, seq, word); err != nil {
			return Result{}, fmt.Errorf("send an echo request: %w", err)
		}
		said, err := awaitEcho(conn, id, time.Now().Add(f.Wait/tries))
		if errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		if err != nil {
			return Result{}, err
		}
		return h.lab.provePing(word, said), nil
	}
	return h.lab.provePing(word, "silence"), nil
}

// ListenICMP opens a raw socket that receives a copy of all ICMP to the host.
func (h *Host) ListenICMP() (net.PacketConn, error) {
	var conn net.PacketConn
	err := h.Do(func() (err error) {
		conn, err = net.ListenPacket("ip4:icmp", h.Addr.String())
		return err
	})
	return conn, err
}

func sendEcho(conn net.PacketConn, to netip.Addr, id, seq int, word string) error {
	m := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: id, Seq: seq, Data: []byte(word)}}
	b, err := m.Marshal(nil)
	if err != nil {
		return err
	}
	_, err = conn.WriteTo(b, &net.IPAddr{IP: to.AsSlice()})
	return err
}

// awaitEcho returns "answer" for an echo reply to id, else the ICMP error about it.
func awaitEcho(conn net.PacketConn, id int, deadline time.Time) (string, error) {
	conn.SetReadDeadline(deadline)
	buf := make([]byte, 64<<10)
	for {
		n, _, err := conn.ReadFrom(buf)
		if err != nil {
			return "", err
		}
		m, err := icmp.ParseMessage(unix.IPPROTO_ICMP, buf[:n])
		if err != nil {
			continue
		}
		switch body := m.Body.(type) {
		case *icmp.Echo:
			if m.Type == ipv4.ICMPTypeEchoReply && body.ID == id {
				return "answer", nil
			}
		case *icmp.DstUnreach:
			if QuotesEcho(body.Data, id) {
				return fmt.Sprintf("%v, code %d", m.Type, m.Code), nil
			}
		}
	}
}

// QuotesEcho says whether an ICMP error is about an echo request of ours.
func QuotesEcho(b []byte, id int) bool {
	h, err := ipv4.ParseHeader(b)
	if err != nil || len(b) < h.Len+8 || h.Protocol != unix.IPPROTO_ICMP {
		return false
	}
	return int(b[h.Len+4])<<8|int(b[h.Len+5]) == id
}

// whoSaw asks every far end whether it saw the echo request. Two that did are a
// leak, and both are named.
func (l *Lab) whoSaw(word string) (who string, from netip.Addr) {
	var names []string
	for _, far := range l.Fars() {
		if p, ok := far.Pinged(word); ok {
			names = append(names, far.Node.Name)
			from, _ = netip.ParseAddr(p.From)
		}
	}
	return strings.Join(names, "+"), from
}

func (l *Lab) provePing(word, said string) Result {
	r := Result{Detail: said}
	r.Exit, r.Seen = l.whoSaw(word) // far ends note a request before they answer it
	switch {
	case r.Exit != "" && said != "answer":
		r.Exit += " without an answer"
	case r.Exit != "":
	case said == "silence":
		r.Exit = Drop
	case said == "destination unreachable, code 13":
		r.Exit = Reject
	default:
		r.Exit = said
	}
	return r
}
