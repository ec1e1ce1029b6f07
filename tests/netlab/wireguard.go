package netlab

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"
)

// wireguard starts a standalone wireguard-go on a device of a node and waits
// until it can be configured.
func (l *Lab) wireguard(n *Node, dev string) error {
	cmd := role(l.Options.Self, "wireguard", dev)
	cmd.Stderr = os.Stderr
	if err := n.Start(cmd); err != nil {
		return err
	}
	n.OnClose(func() { cmd.Process.Kill(); cmd.Wait() })
	deadline := time.Now().Add(5 * time.Second)
	for {
		err := n.uapi(dev, "get=1\n\n")
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// PlainTunnel makes the device that a person without Turnout would have in the
// gateway for this server: up, with its address, and no routes. It must not be
// used beside a turnout that has the same tunnel.
func (l *Lab) PlainTunnel(s *Server, dev string) error {
	g := l.Gateway
	if err := l.wireguard(g.Node, dev); err != nil {
		return fmt.Errorf("plain tunnel to %s: %w", s.Name, err)
	}
	err := g.uapi(dev, fmt.Sprintf("set=1\nprivate_key=%s\npublic_key=%s\nendpoint=%s\nallowed_ip=0.0.0.0/0\n\n",
		s.ClientKey.privateHex(), s.Key.publicHex(), s.Endpoint))
	if err != nil {
		return err
	}
	if err := g.Address(dev, netip.PrefixFrom(s.Client, 24)); err != nil {
		return err
	}
	if err := g.MTU(dev, 1420); err != nil {
		return err
	}
	return g.Node.Up(dev)
}

// uapi sends one request of WireGuard's cross-platform interface to a device.
func (n *Node) uapi(dev, request string) error {
	var conn net.Conn
	var err error
	// The socket is in the node's own /run: only its home thread sees it.
	if gone := n.home(func() { conn, err = net.Dial("unix", "/var/run/wireguard/"+dev+".sock") }); gone != nil {
		return gone
	}
	if err != nil {
		return fmt.Errorf("reach wireguard-go: %w", err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := conn.Write([]byte(request)); err != nil {
		return fmt.Errorf("configure wireguard-go: %w", err)
	}
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		switch line := lines.Text(); {
		case line == "errno=0":
			return nil
		case strings.HasPrefix(line, "errno="):
			return fmt.Errorf("wireguard-go refuses the configuration: %s", line)
		}
	}
	return fmt.Errorf("wireguard-go hung up: %w", lines.Err())
}
