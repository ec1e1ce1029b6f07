package peers

import (
	"net/netip"
	"runtime"
	"testing"
	"time"

	"turnout/conf"
	"turnout/peers/peerstest"
)

// dataMessage is what looks like a message with a LAN packet.
func dataMessage() []byte {
	p := make([]byte, 100)
	p[0] = 4
	return p
}

// What wireguard-go keeps it replaces in the slice of buffers; what it drops at
// once, such as a stranger's, stays there.
func TestWindowCountsWhatIsKept(t *testing.T) {
	from, _, _, _, _ := openBind(t, offload{})
	to, r, _, at, _ := openBind(t, offload{})
	receive := func(keep bool) {
		if err := from.Send([][]byte{dataMessage(), dataMessage(), make([]byte, 100)}, at); err != nil {
			t.Fatal(err)
		}
		for got := 0; got < 3; {
			n, err := r.receive()
			if err != nil {
				t.Fatal(err)
			}
			got += n
			for i := range n {
				if keep {
					r.bufs[i] = make([]byte, 1<<16-1)
				}
			}
		}
	}
	for range windowMax {
		receive(false)
	}
	if n := to.held.held.Load(); n > 3 {
		t.Errorf("%d packets of strangers fill the window", n)
	}
	for range 10 {
		receive(true)
	}
	if n := to.held.held.Load(); n < 20 || n > 22 {
		t.Errorf("the window holds %d packets, not 20", n)
	}
	to.held.back(20)
	if n := to.held.held.Load(); n > 2 {
		t.Errorf("the window holds %d packets, not 0", n)
	}
}

func TestWindowWaitsForRoom(t *testing.T) {
	w := newWindow()
	l := newLoan(w)
	for _, c := range []struct {
		name        string
		open        func()
		least, most time.Duration
	}{
		{"nothing is delivered", func() {}, windowPatience, 5 * time.Second},
		{"all is delivered", func() { w.back(windowMax) }, 0, 5 * time.Second},
	} {
		w.held.Store(windowMax)
		begun := time.Now()
		waited := make(chan struct{})
		go func() { w.wait(l.timer); close(waited) }()
		c.open()
		<-waited
		if d := time.Since(begun); d < c.least || d > c.most {
			t.Errorf("%s: waited %v", c.name, d)
		}
		if n := w.held.Load(); n != 0 {
			t.Errorf("%s: the window holds %d", c.name, n)
		}
	}
	w.back(1) // late, after it was taken for lost
	if n := w.held.Load(); n != 0 {
		t.Errorf("the window holds %d packets", n)
	}
}

// slowTUN takes its time for each batch.
type slowTUN struct{ *peerstest.TUN }

func (s slowTUN) Write(bufs [][]byte, offset int) (int, error) {
	time.Sleep(windowPatience / 4)
	return s.TUN.Write(bufs, offset)
}

// Packets that come faster than they can be delivered wait in the socket, or
// are lost there, and not each in 64 KiB inside of wireguard-go.
func TestSlowDeliveryHoldsFewPackets(t *testing.T) {
	const packets = 30000
	ka, kb := newKey(t), newKey(t)
	peer := func(k conf.PrivateKey, e conf.Endpoint) []conf.Peer {
		return []conf.Peer{{PublicKey: k.Public(), Endpoint: e,
			AllowedIPs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}}
	}
	slow, err := Open(conf.Tunnel{Name: uniqueName(), PrivateKey: ka, Peers: peer(kb, conf.Endpoint{})},
		Options{Device: slowTUN{newTUN()}, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(slow.Close)
	at := conf.Endpoint{Host: "127.0.0.1", Port: slow.Status().ListenPort}
	fast := openEnd(t, conf.Tunnel{Name: uniqueName(), PrivateKey: kb, Peers: peer(ka, at)}, Options{})
	fast.tun.Send(ipPacket(100, 0))
	for fast.sent.Load() == 0 { // shaking hands
		time.Sleep(time.Millisecond)
	}

	heap := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, most := heap(), uint64(0)
	for i := range uint64(packets) {
		fast.tun.Send(ipPacket(1200, i))
		if i%100 == 99 {
			time.Sleep(2 * time.Millisecond)
			most = max(most, heap())
		}
	}
	if grown := int64(most-before) >> 20; grown > 300 {
		t.Errorf("the heap grew by %d MiB while %d packets came", grown, packets)
	} else {
		t.Logf("the heap grew by %d MiB", grown)
	}
}
