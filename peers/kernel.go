package peers

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// kernelRelease returns major and minor of the running kernel; 0, 0 when it
// does not say.
func kernelRelease() (major, minor int) {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return 0, 0
	}
	return parseRelease(unix.ByteSliceToString(u.Release[:]))
}

func parseRelease(s string) (major, minor int) {
	fmt.Sscanf(s, "%d.%d", &major, &minor)
	return major, minor
}

// sendOffloadWorks is false for Linux 7.0 and 7.1, which corrupt datagrams
// that were handed over as one with UDP_SEGMENT.
func sendOffloadWorks(major, minor int) bool { return !(major == 7 && minor <= 1) }

// receiveOffloadWorks is true from Linux 5.12 on, the first whose UDP_GRO
// can be read back and whose early faults are mended.
func receiveOffloadWorks(major, minor int) bool {
	return major > 5 || major == 5 && minor >= 12
}

// mmsghdr is struct mmsghdr of sendmmsg(2) and recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32 // bytes moved
}

// groupSize is a control message that carries UDP_SEGMENT's 16-bit or
// UDP_GRO's 32-bit size, udp(7).
type groupSize struct {
	hdr  unix.Cmsghdr
	size [8]byte
}

var (
	segmentSpace = unix.CmsgSpace(2)
	groSpace     = unix.CmsgSpace(4)
)

// setMark sets SO_MARK on a socket.
func setMark(c syscall.RawConn, mark uint32) error {
	var err error
	if e := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, int(mark))
	}); e != nil {
		return e
	}
	if err != nil {
		return fmt.Errorf("setting the firewall mark %#x on a socket needs CAP_NET_ADMIN: %w", mark, err)
	}
	return nil
}

// markControl returns a Control function for a net.Dialer or
// net.ListenConfig whose sockets carry mark; 0 is no mark.
func markControl(mark uint32) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		if mark == 0 {
			return nil
		}
		return setMark(c, mark)
	}
}
