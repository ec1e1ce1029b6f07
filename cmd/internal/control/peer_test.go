package control

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestAllowed(t *testing.T) {
	uid, gid := uint32(os.Geteuid()), uint32(os.Getegid())
	for _, c := range []struct {
		name string
		p    peer
		want bool
	}{
		{"root", peer{known: true}, true},
		{"the daemon's own user", peer{known: true, uid: uid, gid: 99}, true},
		{"somebody", peer{known: true, uid: 12345, gid: 12345}, false},
		{"somebody in group 0", peer{known: true, uid: 12345, groups: []uint32{0}}, false},
		{"the daemon's group", peer{known: true, uid: 12345, gid: gid, groups: []uint32{gid}}, gid != 0},
		{"unknown", peer{}, false},
	} {
		if got := allowed(c.p); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// TestOtherUser has another user call: the kernel's permissions are opened on
// purpose, so that only the peer check is left to refuse it. It runs itself as
// that user.
func TestOtherUser(t *testing.T) {
	if dir := os.Getenv("TURNOUT_TEST_CALL"); dir != "" {
		_, err := NewClient(dir).Status(context.Background())
		fmt.Println("answer:", err)
		os.Exit(0)
	}
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("needs root to become another user")
		}
		t.Skip("needs root to become another user")
	}
	callers := make(chan peer, 3)
	dir := serve(t, &fakeDaemon{}, func(s *Server) {
		s.allow = func(p peer) bool { callers <- p; return allowed(p) }
	})
	call := func(cred *syscall.Credential) string {
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestOtherUser$")
		cmd.Env = append(os.Environ(), "TURNOUT_TEST_CALL="+dir)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	nobody := &syscall.Credential{Uid: 65534, Gid: 65534, Groups: []uint32{65533, 65532}}
	open(t, dir, 0o711)
	if out := call(nobody); !strings.Contains(out, "not open to this user") {
		t.Errorf("0660 lets uid 65534 in: %s", out)
	}
	if err := os.Chmod(filepath.Join(dir, Socket), 0o666); err != nil {
		t.Fatal(err)
	}
	if out := call(nobody); !strings.Contains(out, "uid 65534 may not control this daemon") {
		t.Errorf("the peer check lets uid 65534 in: %s", out)
	}
	seen := <-callers
	if seen.uid != 65534 || seen.gid != 65534 || fmt.Sprint(seen.groups) != "[65533 65532]" && fmt.Sprint(seen.groups) != "[65532 65533]" {
		t.Errorf("the kernel's word on the caller was read as %+v", seen)
	}
	if out := call(&syscall.Credential{}); !strings.Contains(out, "answer: <nil>") {
		t.Errorf("root is refused: %s", out)
	}
}

// open lets others pass through dir and the folders above it that the test
// made.
func open(t *testing.T, dir string, mode os.FileMode) {
	t.Helper()
	for d := dir; strings.HasPrefix(d, os.TempDir()+"/"); d = filepath.Dir(d) {
		if err := os.Chmod(d, mode); err != nil {
			t.Fatal(err)
		}
	}
}
