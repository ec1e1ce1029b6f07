package nat

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"turnout/classifier/packet"
)

// Some tests need a process that they can kill, or that has mounts of its own:
// the test binary itself, told so in its environment.
const childEnv = "TURNOUT_NAT_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(childEnv) {
	case "":
		os.Exit(m.Run())
	case "churn":
		churn(os.Args[1])
	case "full":
		full(os.Args[1])
	}
}

func child(mode, path string) *exec.Cmd {
	c := exec.Command("/proc/self/exe", path)
	c.Env = append(os.Environ(), childEnv+"="+mode)
	c.Stderr = os.Stderr
	return c
}

func fail(v ...any) {
	fmt.Fprintln(os.Stderr, v...)
	os.Exit(3)
}

const (
	churnFlows = 3000
	churnBatch = 64
)

// A report is what churn says of one flow: that it will change, or that it has
// this port now. Only what was reported can be demanded of the file.
type report struct {
	Flow uint16
	Kind uint8 // changing, gone, there
	_    uint8
	Port uint16
}

const (
	changing = iota
	gone
	there
)

// churnPacket is the packet of flow n: of both families, three protocols, by
// two tunnels, some of them cones.
func churnPacket(n uint16) (pkt, Pin) {
	fam := families[n%2]
	host := fam.lan1
	host.Lo += uint64(n % 7)
	port := 2000 + n/7%500
	pin := [...]Pin{fam.pin1(), fam.conePin(), fam.pin2(), {Exit: 5}}[n/2%4]
	remote := fam.remote1
	remote.Lo += uint64(n % 5)
	switch n % 3 {
	case 0:
		return tcp(host, port, remote, 443, syn, 1000, 0), pin
	case 1:
		return fam.echo(host, remote, port, fam.request), pin
	}
	return udp(host, port, remote, n), pin
}

// churn opens, uses and ends flows as fast as it can until it is killed.
func churn(path string) {
	table, _, err := OpenFile(Options{}, File{Path: path, Boot: boot, Exits: exits(3)}, 1000)
	if err != nil {
		fail(err)
	}
	out := os.Stdout
	say := func(list []report) {
		if err := binary.Write(out, binary.LittleEndian, list); err != nil {
			fail(err)
		}
	}
	look := func(n uint16) (b []byte, v packet.View, f Flow, ok bool) {
		p, _ := churnPacket(n)
		b = p.bytes()
		v.Decode(b)
		f, ok = table.Out(b, &v, LAN, 1001)
		return b, v, f, ok
	}
	var list []report
	for n := range uint16(churnFlows) {
		if _, _, f, ok := look(n); ok {
			list = append(list, report{Flow: n, Kind: there, Port: f.Port})
		} else {
			list = append(list, report{Flow: n, Kind: gone})
		}
	}
	say(list)
	list = list[:churnBatch]
	for {
		for i := range list {
			list[i] = report{Flow: uint16(rand.IntN(churnFlows)), Kind: changing}
		}
		say(list)
		for i := range list {
			n := list[i].Flow
			b, v, f, ok := look(n)
			_, pin := churnPacket(n)
			if ok && table.Drop(f) {
				list[i].Kind = gone
				continue
			}
			f, reason := table.Open(b, &v, LAN, pin, 1001)
			if reason != packet.OK {
				list[i].Kind = gone
				continue
			}
			list[i].Kind, list[i].Port = there, f.Port
			if v.Src, v.Dst = v.Dst, v.Src; f.Masquerade {
				v.Dst = f.Addr
			}
			if v.SrcPort, v.DstPort = v.DstPort, f.Port; v.Proto == packet.UDP {
				table.In(b, &v, f.Exit, 1001)
			}
		}
		say(list)
	}
}

// kill -9 at any moment: the next process finds what the dead one had said, at
// the same ports, and nothing that contradicts itself.
func TestKilledProcessLosesNothing(t *testing.T) {
	path := flowFile(t)
	known := map[uint16]report{}
	for round := range 12 {
		c := child("churn", path)
		pipe, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			in := bufio.NewReader(pipe)
			left := churnFlows + rand.IntN(20_000)
			var r report
			for binary.Read(in, binary.LittleEndian, &r) == nil {
				known[r.Flow] = r
				if left--; left == 0 {
					c.Process.Kill()
				}
			}
		}()
		timer := time.AfterFunc(time.Minute, func() { c.Process.Kill() })
		<-done
		c.Wait()
		timer.Stop()
		if s := c.ProcessState.Sys().(syscall.WaitStatus); !s.Signaled() {
			t.Fatalf("round %d: the child ended by itself: %v", round, c.ProcessState)
		}
		s, a := fileRigOf(t, Options{}, path, File{Exits: exits(3)}, 1002)
		if a.Ignored != "" || a.Damaged+a.Homeless+a.Expired+a.Crowded > 0 {
			t.Fatalf("round %d: %+v", round, a)
		}
		s.compareWith(known)
		s.Close()
	}
}

func (r *rig) compareWith(known map[uint16]report) {
	r.Helper()
	flows, seen := r.flowsByTuple(), 0
	for n, k := range known {
		p, _ := churnPacket(n)
		v := decode(r, p.bytes())
		lan, remote, _ := outPorts(v)
		f, ok := flows[modelTuple{v.Src, v.Dst, lan, remote, v.Proto, LAN}]
		if ok {
			seen++
		}
		if k.Kind != changing && ok != (k.Kind == there) || k.Kind == there && f.Port != k.Port {
			r.Fatalf("flow %d, said to be %+v: there %v, %+v", n, k, ok, f)
		}
	}
	if seen != len(flows) {
		r.Fatalf("%d flows that nobody made", len(flows)-seen)
	}
}

// A tmpfs that is full is a full table, not a SIGBUS.
func TestFullTmpfs(t *testing.T) {
	c := child("full", t.TempDir())
	c.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if out, err := c.Output(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

func full(dir string) {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		fail("making mounts private:", err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		fail("mounting a tmpfs:", err)
	}
	table, _, err := OpenFile(Options{}, File{Path: dir + "/flows", Boot: boot, Exits: exits(3)}, 1000)
	if err != nil {
		fail(err)
	}
	open := func(n int) packet.Reason {
		p := tcp(v4.lan1, uint16(1000+n), v4.remote1, 443, syn, 1000, 0)
		p.dst.Lo += uint64(n)
		b := p.bytes()
		var v packet.View
		v.Decode(b)
		_, reason := table.Open(b, &v, LAN, v4.pin1(), 1000)
		return reason
	}
	const most = 1 << 20 / 96
	n := 0
	for ; open(n) == packet.OK && table.Len() == n+1; n++ {
	}
	if n < most/3 || n > most {
		fail("it held", n, "flows")
	}
	for i := range 10_000 {
		if open(n+i) != packet.OK { // another makes room
			fail("refused in a full tmpfs")
		}
	}
	if table.Len() != n {
		fail(n, "flows became", table.Len())
	}
	if err := os.WriteFile(dir+"/more", make([]byte, 300<<10), 0o600); err == nil {
		fail("the tmpfs was not full")
	}
	table.Close()
	if _, a, err := OpenFile(Options{}, File{Path: dir + "/flows", Boot: boot, Exits: exits(3)}, 1000); err == nil {
		fail("a second file found room:", a)
	}
	if _, err := os.Stat(dir + "/flows"); err != nil {
		fail("the old file is lost:", err)
	}
}
