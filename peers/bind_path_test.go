package peers

import (
	"bytes"
	"errors"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.zx2c4.com/wireguard/conn"
)

// inNetns runs f in a network namespace of its own where only lo exists.
func inNetns(t *testing.T, mtu int, f func()) {
	t.Helper()
	needRoot(t)
	done := make(chan bool)
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with its namespace
		ns, err := netns.New()
		if err != nil {
			t.Errorf("making a network namespace: %v", err)
			return
		}
		defer ns.Close()
		lo, err := netlink.LinkByName("lo")
		if err == nil {
			err = errors.Join(netlink.LinkSetMTU(lo, mtu), netlink.LinkSetUp(lo))
		}
		if err != nil {
			t.Error(err)
			return
		}
		f()
	}()
	<-done
}

// Packets larger than the path's MTU leave in fragments: first refused as a
// group, then one by one, and not as a group again for a while. Small ones
// still leave in groups.
func TestGroupsAboveTheMTU(t *testing.T) {
	inNetns(t, 1280, func() {
		from, _, _, _, _ := openBind(t, bothWays)
		_, r, r6, at, at6 := openBind(t, bothWays)
		for _, c := range []struct {
			r  *plug
			at conn.Endpoint
		}{{r, at}, {r6, at6}, {r, at}} {
			pkts := make([][]byte, 50)
			for i := range pkts {
				pkts[i] = bytes.Repeat([]byte{byte(i)}, 1452)
			}
			if err := from.Send(pkts, c.at); err != nil {
				t.Error(err)
				return
			}
			for got := 0; got < len(pkts); {
				n, err := c.r.receive()
				if err != nil {
					t.Error(err)
					return
				}
				got += n
			}
		}
		for _, s := range []*socket{from.v4.Load(), from.v6.Load()} {
			if n := s.segmentLimit(); n != 1451 {
				t.Errorf("packets up to %d bytes leave in groups, not up to 1451", n)
			}
			s.segmentRetry.Store(time.Now().Add(-time.Second).UnixNano())
			if n := s.segmentLimit(); n != noLimit {
				t.Errorf("the limit %d is never tried again", n)
			}
		}
	})
}

// What the network refuses is an error, and nothing else ends.
func TestUnreachable(t *testing.T) {
	inNetns(t, 1500, func() {
		b, r, _, at, _ := openBind(t, bothWays)
		far, _ := b.ParseEndpoint("192.0.2.1:9")
		far6, _ := b.ParseEndpoint("[2001:db8::1]:9")
		pkts := [][]byte{make([]byte, 100), make([]byte, 100), make([]byte, 50), make([]byte, 60)}
		for _, e := range []conn.Endpoint{far, far6} {
			err := b.Send(pkts, e)
			if !errors.Is(err, syscall.ENETUNREACH) && !errors.Is(err, syscall.EADDRNOTAVAIL) {
				t.Errorf("sending to %s: %v", e.DstToString(), err)
			} else if !strings.Contains(err.Error(), e.DstToString()) {
				t.Errorf("%v does not say where to", err)
			}
		}
		if b.v4.Load().segmentLimit() != noLimit {
			t.Error("an unreachable network switched groups off")
		}
		if err := b.Send(pkts, at); err != nil {
			t.Error(err)
		}
		if n, err := r.receive(); n == 0 || err != nil {
			t.Errorf("received %d, %v", n, err)
		}
	})
}

// A send that waits in front of a slow link does not hold up the end of the
// tunnel.
func TestShutdownEndsWaitingSend(t *testing.T) {
	inNetns(t, 1500, func() {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			t.Error(err)
			return
		}
		err = netlink.QdiscAdd(&netlink.Tbf{
			QdiscAttrs: netlink.QdiscAttrs{LinkIndex: lo.Attrs().Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT},
			Rate:       1000,        // bytes a second
			Buffer:     100_000_000, // kernel ticks of 64 ns: 6,400 bytes at once
			Limit:      64 << 20,    // bytes, many times the socket's own queue
		})
		if err != nil {
			t.Errorf("making the loopback interface slow: %v", err)
			return
		}
		b, _, _, at, _ := openBind(t, offload{})
		ended := make(chan error)
		var sends atomic.Int64
		go func() {
			pkts := [][]byte{make([]byte, 1400)}
			for {
				if err := b.Send(pkts, at); err != nil {
					ended <- err
					return
				}
				sends.Add(1)
			}
		}()
		last, tries := int64(-1), 0
		for ; last != sends.Load() && tries < 50; tries++ {
			last = sends.Load()
			time.Sleep(100 * time.Millisecond)
		}
		if tries == 50 {
			t.Error("the link takes everything")
		}
		b.shutdown()
		select {
		case err := <-ended:
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("the send ended with %v", err)
			}
		case <-time.After(5 * time.Second):
			t.Error("the send still waits")
		}
		t.Logf("%d packets before the wait", sends.Load())
	})
}
