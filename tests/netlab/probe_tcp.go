package netlab

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func (h *Host) probeTCP(f Flow) (Result, error) {
	conn, err := h.Dial(f)
	if err != nil {
		return refusal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(f.Wait))
	if _, err := fmt.Fprintln(conn, "who"); err != nil {
		return refusal(err)
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return refusal(err)
	}
	r, err := parseAnswer(line)
	if words := strings.Fields(line); err == nil && len(words) == 3 {
		r.MaxSeg, err = strconv.Atoi(words[2])
	}
	return r, err
}

// Dial opens the TCP connection of a flow, as a host does. The caller closes it.
func (h *Host) Dial(f Flow) (*net.TCPConn, error) {
	d := f.dialer(&net.TCPAddr{IP: h.Addr.AsSlice(), Port: int(f.SrcPort)})
	var conn net.Conn
	err := h.Do(func() (err error) {
		conn, err = d.Dial("tcp4", netip.AddrPortFrom(f.Dst, f.Port).String())
		return err
	})
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}

func (f Flow) dialer(local net.Addr) net.Dialer {
	return net.Dialer{
		Timeout: f.Wait, LocalAddr: local,
		Control: func(_, _ string, c syscall.RawConn) error {
			return control(c, func(fd int) error {
				return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TOS, int(f.DSCP)<<2)
			})
		},
	}
}

// parseAnswer reads "name address:port ...".
func parseAnswer(s string) (Result, error) {
	words := strings.Fields(s)
	if len(words) < 2 {
		return Result{}, fmt.Errorf("the far end answers %q", s)
	}
	from, err := netip.ParseAddrPort(words[1])
	if err != nil {
		return Result{}, fmt.Errorf("the far end answers %q: %w", s, err)
	}
	return Result{Exit: words[0], Seen: from.Addr(), Detail: "answer"}, nil
}
