package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"turnout/tests/netlab"
)

const demoHelp = `Plays a LAN with two hosts, a gateway that runs this very program, an uplink and
three WireGuard servers, in network namespaces of its own: nothing on this host
changes. All servers own the same internet addresses, so that only the far end can
prove which tunnel a flow took. Needs root, or user namespaces and /dev/net/tun.`

// demo shows the product at work and checks it: exit status 1 if any flow takes
// another exit than policy says.
func demo(e *env, args []string) int {
	if status, played := netlab.Child(); played {
		return status
	}
	fs := newFlags(e, "demo")
	stay := fs.Bool("stay", false, "keep the network up and print commands to play with")
	if _, err := fs.parse(args, 0); err != nil {
		return fs.failed(err)
	}
	exe, err := os.Executable()
	if err != nil {
		return e.fail("demo", fmt.Errorf("finding this program's own file: %w", err))
	}
	if netlab.NeedsUserNS() {
		status, err := netlab.EnterUserNS(append([]string{exe, "demo"}, args...))
		if err != nil {
			return e.fail("demo", err)
		}
		return status
	}
	if err := netlab.Possible(); err != nil {
		return e.fail("demo", err)
	}
	if err := playDemo(e, exe, *stay); err != nil {
		return e.fail("demo", err)
	}
	return exitOK
}

// playDemo builds the world, sends the flows, prints what they prove, and in the
// end kills the router to show that the LAN stays closed.
func playDemo(e *env, exe string, stay bool) error {
	begun := time.Now()
	fmt.Fprint(e.stdout, demoDrawing)
	lab, err := netlab.New(netlab.Options{Hosts: 2, Servers: demoServers, Self: []string{exe, "demo"}, Binary: exe})
	if err != nil {
		return fmt.Errorf("building the network: %w", err)
	}
	defer lab.Close()
	interrupted, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if !stay {
		defer context.AfterFunc(interrupted, func() {
			lab.Close()
			os.Exit(exitFailed)
		})()
	}

	file, err := writeDemoPolicy(lab)
	if err != nil {
		return err
	}
	daemon, err := lab.Gateway.Up(file)
	if err != nil {
		return err
	}
	rows := runDemoFlows(lab)
	wrong := printDemoFlows(e.stdout, rows)
	took := time.Since(begun)
	if stay {
		printDemoCommands(e.stdout, lab, exe, file)
		<-interrupted.Done()
		fmt.Fprintln(e.stdout)
	} else if err := killDemo(e.stdout, lab, daemon); err != nil {
		fmt.Fprintf(e.stdout, "  WRONG  %v\n", err)
		wrong++
	}
	if wrong > 0 {
		fmt.Fprintf(e.stdout, "\nFAIL: %d of the above differ from what policy says. The router said:\n%s", wrong, daemon.Log())
		return errors.New("the network did not do what policy says")
	}
	fmt.Fprintf(e.stdout, "\nPASS: %d flows, each by the exit that policy names, in %.1f s.\n", len(rows), took.Seconds())
	return nil
}
