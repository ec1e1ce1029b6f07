package netlab

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// Upload sends size bytes through a flow and compares checksums with the far end.
func (h *Host) Upload(f Flow, size int64, seed uint64, limit time.Duration) error {
	conn, err := h.Dial(f)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(limit))
	return Sink(conn, Source(size, seed))
}

// Sink sends all of r by a new connection to a far end and compares checksums.
func Sink(conn *net.TCPConn, r io.Reader) error {
	if _, err := fmt.Fprintln(conn, "sink"); err != nil {
		return err
	}
	sum := sha256.New()
	n, err := io.Copy(conn, io.TeeReader(r, sum))
	if err != nil {
		return fmt.Errorf("after %d bytes: %w", n, err)
	}
	if err := conn.CloseWrite(); err != nil {
		return err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return fmt.Errorf("read the checksum: %w", err)
	}
	if got, want := strings.TrimSpace(line), hex.EncodeToString(sum.Sum(nil)); got != want {
		return fmt.Errorf("the far end received other bytes: SHA-256 %s, sent %s", got, want)
	}
	return nil
}

// Download reads size bytes through a flow and compares them with what was asked for.
func (h *Host) Download(f Flow, size int64, seed uint64, limit time.Duration) error {
	conn, err := h.Dial(f)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(limit))
	return Fetch(conn, conn, size, seed)
}

// Fetch asks a far end by a new connection for size bytes that seed decides,
// reads them from r, which reads from conn, and compares.
func Fetch(conn *net.TCPConn, r io.Reader, size int64, seed uint64) error {
	if _, err := fmt.Fprintf(conn, "source %d %d\n", size, seed); err != nil {
		return err
	}
	got, want := sha256.New(), sha256.New()
	n, err := io.Copy(got, r)
	if err != nil || n != size {
		return fmt.Errorf("received %d of %d bytes: %w", n, size, errors.Join(err, io.ErrUnexpectedEOF))
	}
	io.Copy(want, Source(size, seed)) // neither a hash nor a generator fails
	if !bytes.Equal(got.Sum(nil), want.Sum(nil)) {
		return errors.New("received other bytes than were sent")
	}
	return nil
}
