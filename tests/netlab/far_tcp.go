package netlab

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// serveTCP answers one command line per connection:
//
//	who            name, the caller's address as seen here, and the largest
//	               segment in bytes that goes to it
//	echo           whatever follows, back
//	sink           reads to the end, then the SHA-256 of it
//	source N SEED  N bytes that SEED decides
func (f *Far) serveTCP(name string, port uint16) error {
	var ln net.Listener
	err := f.Do(func() (err error) {
		ln, err = net.Listen("tcp4", fmt.Sprintf(":%d", port))
		return err
	})
	if err != nil {
		return fmt.Errorf("listen on TCP port %d of %s: %w", port, name, err)
	}
	f.OnClose(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				f.add(Counts{TCP: 1})
				go answerTCP(conn, name)
			}
		}
	}()
	return nil
}

// answerTCP has nobody to tell an error; the caller sees its connection end.
func answerTCP(conn net.Conn, name string) {
	defer conn.Close()
	in := bufio.NewReaderSize(conn, 64<<10)
	line, err := in.ReadString('\n')
	if err != nil {
		return
	}
	words := strings.Fields(line)
	switch {
	case len(words) == 1 && words[0] == "who":
		fmt.Fprintf(conn, "%s %s %d\n", name, conn.RemoteAddr(), MaxSegment(conn))
	case len(words) == 1 && words[0] == "echo":
		io.Copy(conn, in)
	case len(words) == 1 && words[0] == "sink":
		sum := sha256.New()
		if _, err := io.Copy(sum, in); err == nil {
			fmt.Fprintf(conn, "%s\n", hex.EncodeToString(sum.Sum(nil)))
		}
	case len(words) == 3 && words[0] == "source":
		size, err1 := strconv.ParseInt(words[1], 10, 64)
		seed, err2 := strconv.ParseUint(words[2], 10, 64)
		if err1 == nil && err2 == nil {
			io.Copy(conn, Source(size, seed))
		}
	}
}

// Source returns size bytes that seed decides.
func Source(size int64, seed uint64) io.Reader {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	return io.LimitReader(rand.NewChaCha8(key), size)
}

// MaxSegment returns the payload bytes of the largest segment that conn sends,
// as the other end's SYN and the path allow, or 0.
func MaxSegment(conn net.Conn) int {
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return 0
	}
	size := 0
	control(raw, func(fd int) (err error) {
		size, err = unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_MAXSEG)
		return err
	})
	return size
}
