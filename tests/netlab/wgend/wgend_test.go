package wgend

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"
)

// roleVar makes the test binary an end instead.
const roleVar = "WGEND_TEST_IFACE"

func TestMain(m *testing.M) {
	if iface := os.Getenv(roleVar); iface != "" {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		if err := Run(ctx, iface, nil); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// The script runs in network and mount namespaces of its own:
//
//	$0 the test binary     end1 ──127.0.0.1── end2     each a process
//	wg(8) configures both; the answer to a ping proves both.
const script = `
set -e
umask 077
mount -t tmpfs none /run
ip link set lo up
export ` + roleVar + `
` + roleVar + `=end1 "$0" & one=$!
` + roleVar + `=end2 "$0" & two=$!
unset ` + roleVar + `
for i in $(seq 100); do [ -S /run/wireguard/end1.sock -a -S /run/wireguard/end2.sock ] && break; sleep 0.05; done
cd /run
wg genkey > k1; wg genkey > k2
wg set end1 private-key k1 listen-port 1001 peer $(wg pubkey < k2) allowed-ips 10.9.0.0/24 endpoint 127.0.0.1:1002
wg set end2 private-key k2 listen-port 1002 peer $(wg pubkey < k1) allowed-ips 10.9.0.0/24
ip address add 10.9.0.1/24 dev end1
ip link set end1 up
ip link set end2 up
ping -c 1 -W 1 -I end1 10.9.0.2 >/dev/null 2>&1 || true
wg show end2 latest-handshakes
kill $one $two
wait $one
wait $two
ip -o link show
ls /run/wireguard
`

func TestEndsTalkAndStop(t *testing.T) {
	if os.Geteuid() != 0 {
		unable(t, errors.New("this test needs root"))
	}
	for _, tool := range []string{"unshare", "wg", "ip", "ping"} {
		if _, err := exec.LookPath(tool); err != nil {
			unable(t, err)
		}
	}
	ctx, stop := context.WithTimeout(context.Background(), 30*time.Second)
	defer stop()
	cmd := exec.CommandContext(ctx, "unshare", "-n", "-m", "--", "sh", "-c", script, os.Args[0])
	cmd.Env = append(os.Environ(), DirEnv+"=")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text := string(out)
	line, rest, _ := strings.Cut(text, "\n")
	if f := strings.Fields(line); len(f) != 2 || f[1] == "0" {
		t.Errorf("no handshake:\n%s", text)
	}
	if strings.Contains(rest, "end1") || strings.Contains(rest, "end2") {
		t.Errorf("an end left something behind:\n%s", text)
	}
}

// unable ends a test that cannot run here, which continuous integration does
// not accept.
func unable(t *testing.T, err error) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(err)
	}
	t.Skip(err)
}
