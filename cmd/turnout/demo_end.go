package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"turnout/tests/netlab"
)

// killDemo ends the router as a crash would and watches the uplink while the
// LAN keeps sending, also what policy would have let go direct.
func killDemo(out io.Writer, lab *netlab.Lab, daemon *netlab.Daemon) error {
	watch, err := lab.WatchUplink()
	if err != nil {
		return err
	}
	defer watch.Close()
	daemon.Kill()
	var all sync.WaitGroup
	for _, f := range demoFlows() {
		f.flow.Wait = time.Second
		all.Go(func() { lab.Hosts[f.host].Probe(f.flow) }) // whatever comes of it, it must not leak
	}
	all.Wait()
	if err := watch.Leaks(); err != nil {
		return fmt.Errorf("after kill -9 of the router: %w", err)
	}
	fmt.Fprintln(out, "\n  ok  after kill -9 of the router the LAN sent all of this again: 0 packets on the uplink.")
	return nil
}

// printDemoCommands tells how to enter the machines from another terminal.
func printDemoCommands(out io.Writer, lab *netlab.Lab, exe, file string) {
	enter := "nsenter "
	if netlab.InUserNS() {
		enter += fmt.Sprintf("--user=/proc/%d/ns/user --preserve-credentials ", os.Getpid())
	}
	fmt.Fprintf(out, `
The network stays up until you press Ctrl-C. From another terminal:

  alice="%[1]s--net=%[2]s"
  gateway="%[1]s--net=%[3]s"

  $alice ping -c 3 198.51.100.1            # through sweden
  $alice traceroute -n 198.51.100.1
  $alice bash -c 'exec 3<>/dev/tcp/198.51.100.4/443; echo who >&3; cat <&3'
  $gateway ip rule; $gateway nft list ruleset
  $gateway tcpdump -ni eth0                # nothing but WireGuard and direct

  turnout=%[4]s
  $gateway $turnout status --run-dir %[5]s
  $gateway $turnout explain --run-dir %[5]s --to 198.51.100.2 --proto tcp --port 22
  less %[6]s/*.conf %[7]s
`, enter, lab.Hosts[0].NSPath(), lab.Gateway.NSPath(), exe, lab.RunDir(), filepath.Dir(file), file)
}
