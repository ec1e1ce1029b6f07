package netlab

import (
	"errors"
	"net"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// servePing answers echo requests and notes them. The kernel stays out of it:
// all its own ICMP leaves by one socket for each CPU, shared by every namespace
// of the machine, and when the memory that such a socket may hold is used up,
// no namespace gets an answer any more.
func (f *Far) servePing() error {
	if err := f.Sysctl("net.ipv4.icmp_echo_ignore_all", "1"); err != nil {
		return err
	}
	var conn *ipv4.PacketConn
	err := f.Do(func() error {
		c, err := net.ListenPacket("ip4:icmp", "0.0.0.0")
		if err != nil {
			return err
		}
		conn = ipv4.NewPacketConn(c)
		return conn.SetControlMessage(ipv4.FlagDst, true)
	})
	if err != nil {
		return err
	}
	f.OnClose(func() { conn.Close() })
	go f.answerPing(conn)
	return nil
}

func (f *Far) answerPing(conn *ipv4.PacketConn) {
	buf := make([]byte, 64<<10)
	for {
		n, cm, from, err := conn.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || cm == nil {
			continue
		}
		m, err := icmp.ParseMessage(unix.IPPROTO_ICMP, buf[:n])
		if err != nil || m.Type != ipv4.ICMPTypeEcho {
			continue
		}
		echo, ok := m.Body.(*icmp.Echo)
		if !ok {
			continue
		}
		f.notePing(echo, from)
		m.Type = ipv4.ICMPTypeEchoReply
		if b, err := m.Marshal(nil); err == nil {
			conn.WriteTo(b, &ipv4.ControlMessage{Src: cm.Dst}, from) // a lost answer is the asker's to notice
		}
	}
}

func (f *Far) notePing(echo *icmp.Echo, from net.Addr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count.ICMP++
	p := f.pings[string(echo.Data)]
	f.pings[string(echo.Data)] = Ping{From: from.String(), ID: echo.ID, Count: p.Count + 1}
}
