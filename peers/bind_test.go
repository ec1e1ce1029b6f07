package peers

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"
)

var bothWays = offload{send: true, receive: true}

// A plug is one receive function of a bind, with its buffers.
type plug struct {
	fn    conn.ReceiveFunc
	bufs  [][]byte
	sizes []int
	eps   []conn.Endpoint
}

func newPlug(fn conn.ReceiveFunc) *plug {
	p := &plug{fn: fn, bufs: make([][]byte, batchSize), sizes: make([]int, batchSize), eps: make([]conn.Endpoint, batchSize)}
	for i := range p.bufs {
		p.bufs[i] = make([]byte, 1<<16-1)
	}
	return p
}

func (p *plug) receive() (int, error) { return p.fn(p.bufs, p.sizes, p.eps) }

// aCommon is what a carrier has that nobody listens to.
func aCommon() common { return common{log: newLogger(nil, "test"), held: newWindow()} }

// openBind opens a bind without mark and returns it with the receiver of
// IPv4, the one of IPv6, and its address in either family.
func openBind(t testing.TB, use offload) (b *bind, r4, r6 *plug, at4, at6 conn.Endpoint) {
	t.Helper()
	b = newBind(aCommon(), 0, use)
	fns, port, err := b.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	if len(fns) != 2 {
		t.Fatalf("%d families; the tests need both", len(fns))
	}
	at4, _ = newEndpoint(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port))
	at6, _ = newEndpoint(netip.AddrPortFrom(netip.IPv6Loopback(), port))
	return b, newPlug(fns[0]), newPlug(fns[1]), at4, at6
}

// Batches of random sizes arrive whole and in order, whatever the kernel
// makes of them.
func TestBatches(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for _, use := range []offload{{}, {send: true}, {receive: true}, bothWays} {
		from, _, _, from4, from6 := openBind(t, use)
		to, r4, r6, at4, at6 := openBind(t, use)
		_ = to
		for round := range 60 {
			pkts := randomBatch(rng)
			at, r, source := at4, r4, from4
			if round%2 == 1 {
				at, r, source = at6, r6, from6
			}
			if err := from.Send(pkts, at); err != nil {
				t.Fatalf("%+v round %d: %v", use, round, err)
			}
			for i := 0; i < len(pkts); {
				n, err := r.receive()
				if err != nil {
					t.Fatal(err)
				}
				for j := range n {
					if !bytes.Equal(r.bufs[j][:r.sizes[j]], pkts[i+j]) {
						t.Fatalf("%+v round %d: packet %d of %d bytes came as %d", use, round, i+j, len(pkts[i+j]), r.sizes[j])
					}
					if got := r.eps[j].DstToString(); got != source.DstToString() {
						t.Fatalf("source %s, not %s", got, source.DstToString())
					}
				}
				i += n
			}
		}
	}
}

// randomBatch has runs of equal lengths, as bulk traffic has, with others
// between.
func randomBatch(rng *rand.Rand) [][]byte {
	pkts := make([][]byte, 1+rng.IntN(batchSize))
	size := 0
	for i := range pkts {
		if i == 0 || rng.IntN(20) == 0 {
			size = 1 + rng.IntN([]int{100, 1500, 9000}[rng.IntN(3)])
		}
		pkts[i] = make([]byte, size)
		for j := range pkts[i] {
			pkts[i][j] = byte(rng.Uint32())
		}
	}
	return pkts
}

// A receiver hands out a group of more datagrams than its caller has buffers
// for in several calls.
func TestReceiveIntoFewBuffers(t *testing.T) {
	from, _, _, _, _ := openBind(t, bothWays)
	_, r, _, at, _ := openBind(t, bothWays)
	pkts := make([][]byte, 100)
	for i := range pkts {
		pkts[i] = bytes.Repeat([]byte{byte(i)}, 200)
	}
	if err := from.Send(pkts, at); err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(pkts); {
		n, err := r.fn(r.bufs[:7], r.sizes[:7], r.eps[:7])
		if err != nil {
			t.Fatal(err)
		}
		for j := range n {
			if !bytes.Equal(r.bufs[j][:r.sizes[j]], pkts[i+j]) {
				t.Fatalf("packet %d is wrong", i+j)
			}
		}
		i += n
	}
}

func TestNoAllocations(t *testing.T) {
	from, _, _, _, _ := openBind(t, bothWays)
	_, r, _, at, _ := openBind(t, bothWays)
	pkts := make([][]byte, 64)
	for i := range pkts {
		pkts[i] = make([]byte, 1452)
	}
	var failed error
	once := func() {
		if err := from.Send(pkts, at); err != nil {
			failed = err
		}
		for got := 0; got < len(pkts); {
			n, err := r.receive()
			if err != nil {
				failed = err
				return
			}
			got += n
		}
	}
	once()
	// The race detector makes sync.Pool forget at random.
	if n := testing.AllocsPerRun(100, once); n >= 1 && !raceEnabled {
		t.Errorf("%v allocations for a batch of 64 sent and received", n)
	}
	if failed != nil {
		t.Error(failed)
	}
}

func TestGroup(t *testing.T) {
	sizes := func(s ...int) (pkts [][]byte) {
		for _, n := range s {
			pkts = append(pkts, make([]byte, n))
		}
		return pkts
	}
	many := make([]int, 128)
	for i := range many {
		many[i] = 100
	}
	for _, c := range []struct {
		pkts [][]byte
		want int
	}{
		{sizes(100), 1},
		{sizes(100, 100, 100), 3},
		{sizes(100, 101), 1},
		{sizes(100, 99, 99), 2},
		{sizes(100, 100, 20, 100), 3},
		{sizes(40000, 30000), 1},
		{sizes(32753, 32754), 1},
		{sizes(32754, 32753, 1), 2},
		{sizes(many...), 64},
	} {
		if got := group(c.pkts, maxPayload4); got != c.want {
			t.Errorf("%d packets from %d bytes on: group of %d, not %d", len(c.pkts), len(c.pkts[0]), got, c.want)
		}
	}
}

func TestDataMessages(t *testing.T) {
	message := func(typ byte, n int) []byte { return append([]byte{typ, 0, 0, 0}, make([]byte, n-4)...) }
	pkts := [][]byte{message(4, 32), message(4, 48), message(1, 148), message(2, 92), message(3, 64), message(4, 1452), {}, {4}}
	if n := dataMessages(pkts); n != 2 {
		t.Errorf("%d data messages, not 2", n)
	}
}

// Who bounds what is in flight hears of every send of data before it begins
// and after, also when the network refuses it.
func TestSendsAreTold(t *testing.T) {
	b, _, _, at, _ := openBind(t, bothWays)
	said := ""
	b.sending = func() { said += "sending " }
	b.sent = func(n int) { said += fmt.Sprintf("sent %d ", n) }
	nowhere, _ := b.ParseEndpoint("255.255.255.255:9")
	for _, c := range []struct {
		to   conn.Endpoint
		pkts [][]byte
		want string
	}{
		{at, [][]byte{dataMessage(), dataMessage(), make([]byte, 92)}, "sending sent 2 "},
		{at, [][]byte{make([]byte, 148)}, ""},
		{nowhere, [][]byte{dataMessage()}, "sending sent 1 "},
	} {
		said = ""
		b.Send(c.pkts, c.to)
		if said != c.want {
			t.Errorf("a send of %d packets to %s said %q, want %q", len(c.pkts), c.to.DstToString(), said, c.want)
		}
	}
}

func TestMarks(t *testing.T) {
	needRoot(t)
	b := newBind(aCommon(), 0x5000, bothWays)
	defer b.Close()
	check := func(when string, want int) {
		t.Helper()
		for _, s := range []*socket{b.v4.Load(), b.v6.Load()} {
			var got int
			var err error
			s.raw.Control(func(fd uintptr) {
				got, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK)
			})
			if err != nil || got != want {
				t.Errorf("%s: %v has mark %#x (%v), not %#x", when, s.conn.LocalAddr(), got, err, want)
			}
		}
	}
	for _, port := range []uint16{0, 0} {
		if _, _, err := b.Open(port); err != nil {
			t.Fatal(err)
		}
		check("opened", 0x5000)
		b.Close()
	}
	b.Open(0)
	if err := b.SetMark(0x6000); err != nil {
		t.Error(err)
	}
	check("marked", 0x6000)
	b.Close()
	b.Open(0)
	check("opened again", 0x6000)
}

// The whole tunnel marks its sockets after every change of the port, too.
func TestTunnelMarks(t *testing.T) {
	needRoot(t)
	a, b := openPair(t, "127.0.0.1", Options{Mark: 0x7000})
	shakeHands(t, a, b)
	c := b.conf
	c.ListenPort = freePort(t)
	if err := b.Apply(c); err != nil {
		t.Fatal(err)
	}
	if got := b.Status().ListenPort; got != c.ListenPort {
		t.Errorf("port %d, not %d", got, c.ListenPort)
	}
	for _, s := range []*socket{b.bind.(*bind).v4.Load(), b.bind.(*bind).v6.Load()} {
		s.raw.Control(func(fd uintptr) {
			if m, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK); err != nil || m != 0x7000 {
				t.Errorf("mark %#x (%v)", m, err)
			}
		})
	}
	shakeHands(t, a, b)
}

func freePort(t *testing.T) uint16 {
	t.Helper()
	b, _, _, _, _ := openBind(t, offload{})
	port := b.v4.Load().port
	b.Close()
	return port
}

func TestCloseEndsReceivers(t *testing.T) {
	b, r4, r6, _, _ := openBind(t, bothWays)
	ended := make(chan error)
	for _, r := range []*plug{r4, r6} {
		go func() {
			_, err := r.receive()
			ended <- err
		}()
	}
	time.Sleep(10 * time.Millisecond)
	b.Close()
	b.Close()
	for range 2 {
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Errorf("a receiver ended with %v", err)
		}
	}
	if _, _, err := b.Open(0); err != nil {
		t.Errorf("opening again: %v", err)
	}
	b.shutdown()
	if _, _, err := b.Open(0); !errors.Is(err, net.ErrClosed) {
		t.Errorf("opening after shutdown: %v", err)
	}
}
