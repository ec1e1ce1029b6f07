package control

import (
	"context"
	"net"
	"os"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A peer is the process at the other end of a connection, as the kernel knows
// it since connect(2). The zero peer is one that could not be found out about.
type peer struct {
	known    bool
	pid      int32 // 0 for a process of another pid namespace
	uid, gid uint32
	groups   []uint32 // supplementary
}

type peerKey struct{}

// withPeer remembers who called; what cannot be found out is not allowed.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return ctx
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return ctx
	}
	var p peer
	if err := raw.Control(func(fd uintptr) { p = peerOf(int(fd)) }); err != nil {
		return ctx
	}
	return context.WithValue(ctx, peerKey{}, p)
}

func peerOf(fd int) peer {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return peer{}
	}
	return peer{true, cred.Pid, cred.Uid, cred.Gid, peerGroups(fd)}
}

// peerGroups asks for SO_PEERGROUPS (Linux 4.13), which golang.org/x/sys has no
// call for. None are returned for a process with more than 64: it is then
// allowed by its uid and first group only.
func peerGroups(fd int) []uint32 {
	var groups [64]uint32
	size := uint32(unsafe.Sizeof(groups))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
		uintptr(unsafe.Pointer(&groups)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return nil
	}
	return slices.Clone(groups[:size/4])
}

// allowed says who may control the daemon: root, its own user, its own group.
// Group 0 alone opens nothing: many an ordinary process has kept it.
func allowed(p peer) bool {
	if !p.known {
		return false
	}
	if owner(p) {
		return true
	}
	own := uint32(os.Getegid())
	return own != 0 && (p.gid == own || slices.Contains(p.groups, own))
}

// owner says who could do himself whatever the daemon can: root and its own user.
func owner(p peer) bool {
	return p.known && (p.uid == 0 || p.uid == uint32(os.Geteuid()))
}
