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
)

// tries is how often a datagram is sent before silence is believed: it may be
// lost legitimately, a tunnel's first packets among them.
const tries = 4

func token() string { return fmt.Sprintf("lab-%016x", rand.Uint64()) }

// DialUDP opens the connected UDP socket of a flow. The caller closes it.
func (h *Host) DialUDP(f Flow) (*net.UDPConn, error) {
	d := f.dialer(&net.UDPAddr{IP: h.Addr.AsSlice(), Port: int(f.SrcPort)})
	var conn net.Conn
	err := h.Do(func() (err error) {
		conn, err = d.Dial("udp4", netip.AddrPortFrom(f.Dst, f.Port).String())
		return err
	})
	if err != nil {
		return nil, err
	}
	return conn.(*net.UDPConn), nil
}

func (h *Host) probeUDP(f Flow) (Result, error) {
	conn, err := h.DialUDP(f)
	if err != nil {
		return Result{}, err
	}
	defer conn.Close()
	word, buf := token(), make([]byte, 2048)
	for range tries {
		if _, err := conn.Write([]byte(word)); err != nil {
			return refusal(err)
		}
		conn.SetReadDeadline(time.Now().Add(f.Wait / tries))
		n, err := conn.Read(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		if err != nil {
			return refusal(err)
		}
		if !strings.HasSuffix(string(buf[:n]), word) {
			return Result{}, fmt.Errorf("the far end answers %q to %q", buf[:n], word)
		}
		return parseAnswer(string(buf[:n]))
	}
	return refusal(os.ErrDeadlineExceeded)
}
