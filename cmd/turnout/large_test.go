package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"turnout/bench/ruleset"
)

// TestMain lets a test run the command line in a process of its own, whose
// memory can be measured.
func TestMain(m *testing.M) {
	if os.Getenv("TURNOUT_TEST_MAIN") == "1" {
		main()
	}
	os.Exit(m.Run())
}

// TestCheckIsQuick checks 100,000 rules and a set of 100,000 networks. It
// takes 1.5 s and 300 MiB; the race detector and a busy machine get slack.
func TestCheckIsQuick(t *testing.T) {
	file := largePolicy(t, 100_000, 100_000)
	cmd := exec.Command(os.Args[0], "check", file)
	cmd.Env = append(os.Environ(), "TURNOUT_TEST_MAIN=1")
	begun := time.Now()
	out, err := cmd.CombinedOutput()
	took := time.Since(begun)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	rss := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss >> 10
	t.Logf("%v, %v of processor time, %d MiB", took, cmd.ProcessState.UserTime(), rss)
	if limit := 10 * time.Second; !raceDetector && cmd.ProcessState.UserTime() > limit {
		t.Errorf("it took %v of processor time, want less than %v", cmd.ProcessState.UserTime(), limit)
	}
	if limit := int64(400); !raceDetector && rss > limit {
		t.Errorf("it took %d MiB, want less than %d", rss, limit)
	}
	for _, want := range []string{"set big: 100000 networks", "valid, 1 tunnel, 0 groups, 100001 rules"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("it does not say %q:\n%s", want, out)
		}
	}
}

// TestCheckWarnsOfSlowLookups checks 10,000 rules that overlap in three fields:
// they are valid, and the warning has the figure.
func TestCheckWarnsOfSlowLookups(t *testing.T) {
	inConf(t)
	rules := ruleset.Overlapping(rand.New(rand.NewPCG(1, 2)), 10_000)
	write(t, "hard.toml", func(w *bufio.Writer) {
		for _, r := range rules {
			fmt.Fprintf(w, "[[rule]]\nto = \"%v\"\nproto = \"udp\"\nports = \"%d-%d\"\nfrom_ports = \"%d-%d\"\nvia = \"direct\"\n",
				r.Dst, r.DstPorts.Lo, r.DstPorts.Hi, r.SrcPorts.Lo, r.SrcPorts.Hi)
		}
	})
	begun := time.Now()
	status, out, _ := call("", "check", "hard.toml", "--json")
	took := time.Since(begun)
	var r report
	if err := json.Unmarshal([]byte(out), &r); err != nil || status != 0 || r.Table == nil {
		t.Fatalf("status %d, %v\n%s", status, err, out)
	}
	t.Logf("%v, %+v", took, *r.Table)
	if !raceDetector && took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
	want := fmt.Sprintf("compares %d lines at worst", r.Table.Compared)
	if r.Table.Compared < 500 || !slices.ContainsFunc(r.Warnings, func(f finding) bool { return f.Kind == "slow" && strings.Contains(f.Text, want) }) {
		t.Errorf("no warning says %q: %+v", want, r.Table)
	}
}

// largePolicy writes a configuration of so many rules, and of a set.
func largePolicy(t *testing.T, rules, prefixes int) string {
	t.Helper()
	inConf(t)
	write(t, "big.txt", func(w *bufio.Writer) {
		for i := range prefixes {
			fmt.Fprintf(w, "11.%d.%d.%d/32 # %d\n", i>>16, i>>8&255, i&255, i)
		}
	})
	write(t, "big.toml", func(w *bufio.Writer) {
		fmt.Fprint(w, "default = \"direct\"\n[[tunnel]]\nconfig = \"sweden.conf\"\n[[set]]\nname = \"big\"\nfile = \"big.txt\"\n"+
			"[[rule]]\nto = \"@big\"\nvia = \"sweden\"\n")
		for i := range rules {
			fmt.Fprintf(w, "[[rule]]\nto = [\"10.%d.%d.%d/32\"]\nproto = \"tcp\"\nports = %d\nvia = \"sweden\"\n", i>>16, i>>8&255, i&255, i%65535+1)
		}
	})
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "big.toml")
}

func write(t *testing.T, name string, fill func(*bufio.Writer)) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriter(f)
	fill(w)
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
