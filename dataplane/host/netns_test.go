package host

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// A node is a network namespace that lives as long as its test.
type node struct {
	t  testing.TB
	ns netns.NsHandle
}

// needHost skips on a developer's machine that lacks root or a tool; in CI a
// test that cannot run has failed.
func needHost(t testing.TB) {
	t.Helper()
	var missing []string
	if os.Geteuid() != 0 {
		missing = append(missing, "root")
	}
	for _, tool := range []string{"ip", "nft", "ping", "conntrack"} {
		if _, err := exec.LookPath(tool); err != nil {
			missing = append(missing, tool)
		}
	}
	switch {
	case len(missing) == 0:
	case os.Getenv("CI") == "true":
		t.Fatalf("this test needs %s", strings.Join(missing, ", "))
	default:
		t.Skipf("this test needs %s", strings.Join(missing, ", "))
	}
}

func newNode(t testing.TB) *node {
	t.Helper()
	needHost(t)
	n := &node{t: t, ns: netns.None()}
	// The thread is never unlocked: it ends with its goroutine, and nothing
	// else of this process ever runs in the namespace by accident.
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		var err error
		n.ns, err = netns.New()
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatalf("making a network namespace: %v", err)
	}
	t.Cleanup(func() { n.ns.Close() })
	n.run("ip", "link", "set", "lo", "up")
	return n
}

// do runs f on a thread inside the namespace.
func (n *node) do(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		if err := netns.Set(n.ns); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	return <-done
}

func (n *node) must(f func() error) {
	n.t.Helper()
	if err := n.do(f); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) try(stdin, name string, args ...string) (string, error) {
	var out []byte
	err := n.do(func() error {
		cmd := exec.Command(name, args...)
		cmd.Stdin = strings.NewReader(stdin)
		var err error
		if out, err = cmd.CombinedOutput(); err != nil {
			err = fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
		}
		return err
	})
	return string(out), err
}

func (n *node) run(name string, args ...string) string {
	n.t.Helper()
	out, err := n.try("", name, args...)
	if err != nil {
		n.t.Fatal(err)
	}
	return out
}

// ip runs one `ip` command line.
func (n *node) ip(line string) string {
	n.t.Helper()
	return n.run("ip", strings.Fields(line)...)
}

func (n *node) nft(text string) {
	n.t.Helper()
	if _, err := n.try(text, "nft", "-f", "-"); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) sysctl(key string) string {
	n.t.Helper()
	var v string
	n.must(func() (err error) { v, err = readSysctl(key); return err })
	return v
}

func (n *node) setSysctl(key, value string) {
	n.t.Helper()
	n.must(func() error { return os.WriteFile(path.Join(sysctlRoot, key), []byte(value), 0o644) })
}

// veth joins two nodes and gives each end its address.
func veth(a *node, aName, aAddr string, b *node, bName, bAddr string) {
	a.t.Helper()
	link := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: aName}, PeerName: bName, PeerNamespace: netlink.NsFd(b.ns)}
	a.must(func() error { return netlink.LinkAdd(link) })
	a.up(aName, aAddr)
	b.up(bName, bAddr)
}

func (n *node) up(name, addr string) {
	n.t.Helper()
	if addr != "" {
		n.ip("addr add " + addr + " dev " + name)
	}
	n.ip("link set " + name + " addrgenmode none") // no link-local addresses that come late
	n.ip("link set " + name + " up")
}

// Addresses of the world below.
const (
	lanHost    = "192.168.77.10"
	gatewayLAN = "192.168.77.1"
	gatewayWAN = "198.51.100.2"
	stickWAN   = "192.168.77.254" // the provider's router, on the stick's one wire
	remote     = "203.0.113.7"    // policy sends it direct
	tunneled   = "192.0.2.9"      // policy sends it into a tunnel
)

// A world is a gateway between a LAN host and the internet.
//
//	two legs:  host ── lan0 gateway wan0 ── internet
//	stick:     host ─┐
//	                 ├─ bridge in the internet node ── lan0 gateway
//	       internet ─┘
type world struct {
	t                       testing.TB
	host, gateway, internet *node
	uplink                  string
	runDir                  string
}

func newWorld(t testing.TB, stick bool) *world {
	t.Helper()
	w := &world{t: t, host: newNode(t), gateway: newNode(t), internet: newNode(t), uplink: "wan0", runDir: t.TempDir()}
	if stick {
		w.uplink = "lan0"
		w.internet.ip("link add br0 type bridge")
		veth(w.host, "eth0", lanHost+"/24", w.internet, "toHost", "")
		veth(w.gateway, "lan0", gatewayLAN+"/24", w.internet, "toGateway", "")
		w.internet.ip("link set toHost master br0")
		w.internet.ip("link set toGateway master br0")
		w.internet.up("br0", stickWAN+"/24")
		w.gateway.ip("route add default via " + stickWAN)
	} else {
		veth(w.host, "eth0", lanHost+"/24", w.gateway, "lan0", gatewayLAN+"/24")
		veth(w.gateway, "wan0", gatewayWAN+"/24", w.internet, "eth0", "198.51.100.1/24")
		w.gateway.ip("route add default via 198.51.100.1")
	}
	for _, a := range []string{remote, tunneled} {
		w.internet.ip("addr add " + a + "/32 dev lo")
	}
	w.host.ip("route add default via " + gatewayLAN)
	for _, n := range []*node{w.host, w.gateway, w.internet} {
		n.setSysctl("net/ipv4/conf/all/rp_filter", "0")
		n.setSysctl("net/ipv4/conf/default/rp_filter", "0")
		w.eventually("all links are up", func() bool { return !strings.Contains(n.ip("-4 route show table all"), "linkdown") })
	}
	return w
}

func (w *world) eventually(what string, done func() bool) {
	w.t.Helper()
	for end := time.Now().Add(10 * time.Second); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatal("waited 10 s until " + what)
		}
	}
}

// public is the address that direct traffic leaves by.
func (w *world) public() string {
	if w.uplink == "lan0" {
		return gatewayLAN
	}
	return gatewayWAN
}

func (w *world) spec() Spec {
	return Spec{
		TUN: "turnout0", MTU: 1500,
		LAN:     []LANInterface{{"lan0", []netip.Prefix{netip.MustParsePrefix("192.168.77.0/24")}}},
		Uplinks: []string{w.uplink},
		Mark:    0x50, Mask: 0x70, DirectMark: 0x70, DirectMask: 0x70,
		Table: 7077, Priority: 5000, RunDir: w.runDir,
	}
}

func (w *world) set(s Spec) *State {
	w.t.Helper()
	var st *State
	w.gateway.must(func() (err error) { st, err = Set(s); return err })
	return st
}

func (w *world) restore(keepGuard bool) {
	w.t.Helper()
	w.gateway.must(func() error { return Restore(w.runDir, keepGuard) })
}

// snapshot is all that Restore must leave byte-equal.
func (w *world) snapshot() string {
	w.t.Helper()
	var b strings.Builder
	for _, line := range []string{"-4 rule", "-6 rule", "-4 route show table all", "-6 route show table all", "-4 addr", "-br link"} {
		fmt.Fprintf(&b, "# ip %s\n%s", line, w.gateway.ip(line))
	}
	fmt.Fprintf(&b, "# nft\n%s", w.gateway.run("nft", "-s", "list", "ruleset"))
	w.gateway.must(func() error {
		names, err := confNames()
		for _, name := range names {
			for _, key := range []string{"forwarding", "rp_filter", "send_redirects", "accept_redirects", "secure_redirects", "accept_local", "arp_ignore"} {
				v, err := readSysctl(conf4 + "/" + name + "/" + key)
				if err != nil {
					return err
				}
				fmt.Fprintf(&b, "%s %s = %s\n", name, key, v)
			}
			v, err := readSysctl(conf6 + "/" + name + "/forwarding")
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, "v6 %s forwarding = %s\n", name, v)
		}
		return err
	})
	return b.String()
}

// A process stands in for the data path: it owns the TUN device and treats
// packets by their destination. Direct ones are written back as they are; for
// a tunnel it plays the far end itself and answers; those to Inside are for a
// test to take; the rest is swallowed.
type process struct {
	world  *world
	file   *os.File
	done   chan struct{}
	inside chan []byte
}

func (w *world) startProcess() *process {
	w.t.Helper()
	var file *os.File
	w.gateway.must(func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		ifr, err := unix.NewIfreq("turnout0")
		if err != nil {
			return err
		}
		ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err != nil {
			return err
		}
		if err := unix.SetNonblock(fd, true); err != nil { // so that Close ends Read
			return err
		}
		file = os.NewFile(uintptr(fd), "turnout0")
		return nil
	})
	p := &process{w, file, make(chan struct{}), make(chan []byte, 1024)}
	go p.loop()
	w.t.Cleanup(p.kill)
	return p
}

// kill is what the kernel does for a process that dies: it closes. A child that
// another test is about to start may hold the descriptor for a moment longer.
func (p *process) kill() {
	if p.file.Close() != nil {
		return // killed before
	}
	<-p.done
	p.world.eventually("the TUN device goes", func() bool {
		return !strings.Contains(p.world.gateway.ip("-br link"), "turnout0")
	})
}

func (p *process) loop() {
	defer close(p.done)
	b := make([]byte, 65536)
	for {
		n, err := p.file.Read(b)
		if err != nil {
			return
		}
		if n < 28 || b[0] != 0x45 {
			continue
		}
		switch net.IP(b[16:20]).String() {
		case remote:
		case tunneled:
			if b[9] != unix.IPPROTO_UDP {
				continue
			}
			answerUDP(b)
		case Inside.String():
			select {
			case p.inside <- append([]byte(nil), b[:n]...):
			default:
			}
			continue
		default:
			continue
		}
		p.file.Write(b[:n])
	}
}

// answerUDP turns a packet around. Swapping both pairs keeps the checksums.
func answerUDP(b []byte) {
	var addr, port [4]byte
	copy(addr[:], b[12:16])
	copy(b[12:16], b[16:20])
	copy(b[16:20], addr[:])
	copy(port[:2], b[20:22])
	copy(b[20:22], b[22:24])
	copy(b[22:24], port[:2])
}
