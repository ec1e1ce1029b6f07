package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"turnout/tests/netlab"
)

// snapshot is everything of a host that a router may change, as text: rules,
// routes, addresses, the nftables ruleset and all sysctls of IPv4 and IPv6.
func snapshot(t *testing.T, n *netlab.Node) string {
	t.Helper()
	need(t, "ip", "nft")
	var b strings.Builder
	for _, command := range [][]string{
		{"ip", "-o", "link", "show"},
		{"ip", "-4", "-o", "addr", "show"},
		{"ip", "-4", "rule", "show"},
		{"ip", "-6", "rule", "show"},
		{"ip", "-4", "route", "show", "table", "all"},
		{"ip", "-6", "route", "show", "table", "all"},
		{"nft", "-s", "list", "ruleset"},
	} {
		fmt.Fprintf(&b, "# %s\n%s", strings.Join(command, " "), on(t, n, command[0], command[1:]...))
	}
	return b.String() + sysctls(t, n)
}

// sysctls lists the keys that a router, or the kernel because of it, changes.
func sysctls(t *testing.T, n *netlab.Node) string {
	t.Helper()
	var b strings.Builder
	err := n.Do(func() error {
		b.WriteString("# sysctls\n")
		for _, pattern := range []string{"ipv4/ip_*", "ipv4/conf/*/*", "ipv6/conf/*/*", "ipv4/icmp_*", "ipv4/tcp_mtu*"} {
			files, err := filepath.Glob("/proc/sys/net/" + pattern)
			if err != nil {
				return err
			}
			for _, f := range files {
				// Some are write-only or read as an error while unset.
				if value, err := os.ReadFile(f); err == nil {
					fmt.Fprintf(&b, "%s = %s\n", strings.TrimPrefix(f, "/proc/sys/"), strings.TrimSpace(string(value)))
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// same fails the test if the host is not as it was.
func same(t *testing.T, when, before, after string) {
	t.Helper()
	if d := cmp.Diff(strings.Split(before, "\n"), strings.Split(after, "\n")); d != "" {
		t.Errorf("%s the host is not as it was (-before +after):\n%s", when, d)
	}
}
