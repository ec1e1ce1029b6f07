package main

import (
	"encoding/base64"
	"os"
	"runtime"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

func pid() string { return strconv.Itoa(os.Getpid()) }

func decodeKey(t *testing.T, s string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// dropCapabilities takes all effective capabilities from this thread until
// restore.
func dropCapabilities(t *testing.T) (restore func()) {
	t.Helper()
	runtime.LockOSThread()
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var full [2]unix.CapUserData
	if err := unix.Capget(&head, &full[0]); err != nil {
		t.Fatal(err)
	}
	none := full
	none[0].Effective, none[1].Effective = 0, 0
	if err := unix.Capset(&head, &none[0]); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := unix.Capset(&head, &full[0]); err != nil {
			t.Fatal(err)
		}
		runtime.UnlockOSThread()
	}
}
