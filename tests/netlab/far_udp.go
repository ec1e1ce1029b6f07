package netlab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// serveUDP answers each datagram with name, the sender's address and the
// datagram itself.
func (f *Far) serveUDP(name string, port uint16) error {
	var conn *net.UDPConn
	err := f.Do(func() error {
		lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
			return control(c, func(fd int) error {
				return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
			})
		}}
		pc, err := lc.ListenPacket(context.Background(), "udp4", fmt.Sprintf(":%d", port))
		if err == nil {
			conn = pc.(*net.UDPConn)
			conn.SetReadBuffer(4 << 20) // best effort: a burst must not be lost here
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("listen on UDP port %d of %s: %w", port, name, err)
	}
	f.OnClose(func() { conn.Close() })
	go f.answerUDP(conn, name)
	return nil
}

func (f *Far) answerUDP(conn *net.UDPConn, name string) {
	buf, oob := make([]byte, 64<<10), make([]byte, 128)
	for {
		n, oobn, _, from, err := conn.ReadMsgUDPAddrPort(buf, oob)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // an ICMP error about an earlier answer
		}
		f.add(Counts{UDP: 1})
		answer := append([]byte(name+" "+from.String()+" "), buf[:n]...)
		conn.WriteMsgUDPAddrPort(answer, sameSource(oob[:oobn]), from)
	}
}

// sameSource turns a received IP_PKTINFO into one to send with: the answer leaves
// from the address that was asked, by whatever interface the routes say.
func sameSource(oob []byte) []byte {
	var cm ipv4.ControlMessage
	if cm.Parse(oob) != nil {
		return nil
	}
	return (&ipv4.ControlMessage{Src: cm.Dst}).Marshal()
}

// control runs f on a socket's descriptor.
func control(c syscall.RawConn, f func(fd int) error) error {
	var err error
	if outer := c.Control(func(fd uintptr) { err = f(int(fd)) }); outer != nil {
		return outer
	}
	return err
}
