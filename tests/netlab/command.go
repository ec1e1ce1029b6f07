package netlab

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Start starts cmd in the node's namespaces. The kernel kills it when the node
// closes or this process dies.
func (n *Node) Start(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	var err error
	if gone := n.home(func() { err = cmd.Start() }); gone != nil {
		return gone
	}
	if err != nil {
		return fmt.Errorf("start %s in %s: %w", cmd.Path, n.Name, err)
	}
	return nil
}

// Run runs a command in the node and returns what it wrote, both streams
// together. The error holds the output too. It gives up after 30 s.
func (n *Node) Run(name string, args ...string) (string, error) {
	return n.Feed("", name, args...)
}

// Feed is Run with something to read on standard input.
func (n *Node) Feed(stdin, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &out
	cmd.WaitDelay = time.Second
	if err := n.Start(cmd); err != nil {
		return "", err
	}
	if err := cmd.Wait(); err != nil {
		return out.String(), fmt.Errorf("%s %s in %s: %w: %s", name, strings.Join(args, " "), n.Name, err, out.String())
	}
	return out.String(), nil
}

// roleVar tells a process of the lab which part it plays.
const roleVar = "TURNOUT_NETLAB_ROLE"

// role returns the command that starts self as a part of the lab.
func role(self []string, part string, args ...string) *exec.Cmd {
	argv := append(append([]string{}, self[1:]...), args...)
	cmd := exec.Command(self[0], argv...)
	cmd.Env = append(os.Environ(), roleVar+"="+part)
	return cmd
}
