package tests

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"testing"
	"time"

	"turnout/tests/netlab"
)

// peakMemory is the most memory, in MiB, that a process ever had resident.
func peakMemory(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(status)
	if found == nil {
		t.Fatalf("no peak in %s", status)
	}
	kb, _ := strconv.Atoi(string(found[1]))
	return kb >> 10
}

// Each packet inside WireGuard takes a buffer of 64 KiB, and 200 connections
// have many packets: they must wait where they take less. A megabyte of each
// connection, first up, then down; about 50 MiB is usual.
func TestBulkConnectionsTakeLittleMemory(t *testing.T) {
	const connections, size, most = 200, 1 << 20, 80
	r := world{Peer: byTunnel}.up(t)
	ids := make([]int, connections)
	for i := range ids {
		ids[i] = i
	}
	for _, way := range []struct {
		name string
		move func(netlab.Flow, int64, uint64, time.Duration) error
	}{{"up", r.Hosts[0].Upload}, {"down", r.Hosts[0].Download}} {
		if err := all(ids, func(i int) error {
			f := netlab.Flow{Proto: "tcp", Dst: netlab.Internet[i%3], Port: 443, Wait: 20 * time.Second}
			return way.move(f, size, uint64(i), 60*time.Second)
		}); err != nil {
			t.Errorf("%s: %v", way.name, err)
		}
		peak := peakMemory(t, r.Daemon.PID())
		t.Logf("after %d connections %s: %d MiB", connections, way.name, peak)
		if raced := os.Getenv("TURNOUT_RACE") == "1"; peak > most && !raced { // the detector's own memory is many times that
			t.Errorf("the router took %d MiB, at most %d are right", peak, most)
		}
	}
}
