package peers

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"turnout/conf"
)

func TestTrafficBothWays(t *testing.T) {
	for _, c := range []struct {
		name, loopback string
		o              Options
	}{
		{"offload", "127.0.0.1", Options{}},
		{"offload, IPv6", "::1", Options{}},
		{"plain", "127.0.0.1", Options{NoSendOffload: true, NoReceiveOffload: true}},
		{"plain send", "127.0.0.1", Options{NoSendOffload: true}},
		{"plain receive, IPv6", "::1", Options{NoReceiveOffload: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := openPair(t, c.loopback, c.o)
			shakeHands(t, a, b)
			t.Run("up", func(t *testing.T) { flood(t, b, a, 10000) })
			t.Run("down", func(t *testing.T) { flood(t, a, b, 10000) })
			if n := a.tun.Dropped.Load() + b.tun.Dropped.Load(); n > 0 {
				t.Errorf("the test lost %d packets itself", n)
			}
			// Sent is told after the packets have left.
			for wait := time.Now().Add(5 * time.Second); a.sent.Load() < 10001 && time.Now().Before(wait); {
				time.Sleep(time.Millisecond)
			}
			if got := a.sent.Load(); got != 10001 {
				t.Errorf("Sent was told of %d data messages, not 10001", got)
			}
			if s := a.Status(); len(s.Peers) != 1 || time.Since(s.Peers[0].LastHandshake) > time.Minute ||
				s.Peers[0].Rx < 10000*100 || s.Peers[0].Tx < 10000*100 || !s.Peers[0].Endpoint.Addr().IsLoopback() ||
				s.Peers[0].PublicKey != b.conf.PrivateKey.Public() {
				t.Errorf("odd status %+v", s)
			}
		})
	}
}

// flood sends n packets of changing sizes in bursts, 20,000 a second, and
// wants each one once.
func flood(t *testing.T, from, to *end, n int) {
	size := func(i uint64) int {
		if i%5 == 0 {
			return 60 + int(i%1000)
		}
		return mtu
	}
	go func() {
		for i := range n {
			if i%100 == 99 {
				time.Sleep(5 * time.Millisecond)
			}
			from.tun.Send(ipPacket(size(uint64(i)), uint64(i)))
		}
	}()
	seen := make([]bool, n)
	timeout := time.After(30 * time.Second)
	for got := range n {
		select {
		case p := <-to.tun.Received():
			i := binary.BigEndian.Uint64(p[20:])
			if i >= uint64(n) || seen[i] || string(p) != string(ipPacket(size(i), i)) {
				t.Fatalf("packet %d came twice or changed", i)
			}
			seen[i] = true
		case <-timeout:
			t.Fatalf("%d of %d packets arrived", got, n)
		}
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	checkGoroutines(t)
	for i := range 10 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			var a, b *end
			if i%2 == 0 {
				a, b = openPair(t, "127.0.0.1", Options{Dir: dir})
			} else { // inside of another tunnel
				a, b = openInside(t, Options{Dir: dir})
			}
			shakeHands(t, a, b)
			stop := make(chan bool)
			go func() { // traffic until the device is closed
				for n := uint64(0); b.tun.Send(ipPacket(mtu, n)); n++ {
				}
				close(stop)
			}()
			time.Sleep(20 * time.Millisecond)
			start := time.Now()
			b.Close()
			a.Close()
			a.Close()
			if d := time.Since(start); d > 2*time.Second {
				t.Errorf("Close took %v", d)
			}
			<-stop
			<-a.tun.Closed()
			if s := a.Status(); s.ListenPort != 0 && len(s.Peers) != 1 {
				t.Errorf("status of a closed device: %+v", s)
			}
		})
	}
}

func TestPortInUse(t *testing.T) {
	checkGoroutines(t)
	a := openEnd(t, conf.Tunnel{Name: uniqueName(), PrivateKey: newKey(t)}, Options{})
	port := a.Status().ListenPort
	c := conf.Tunnel{Name: uniqueName(), PrivateKey: newKey(t), ListenPort: port}
	e := &end{tun: newTUN()}
	_, err := Open(c, Options{Device: e.tun, Dir: t.TempDir()})
	want := fmt.Sprintf("UDP port %d is in use by another program", port)
	if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), c.Name) {
		t.Errorf("error %v does not say %q", err, want)
	}
	select {
	case <-e.tun.Closed():
	case <-time.After(time.Second):
		t.Error("a failed Open left the tun.Device open")
	}
}

// No log line may have a key in any form, whatever happens and however much
// is logged.
func TestKeysStayOutOfLogs(t *testing.T) {
	book, log := newLogBook(slog.LevelDebug)
	a, b := openPair(t, "127.0.0.1", Options{Log: log})
	shakeHands(t, a, b)
	changed := a.conf
	changed.PrivateKey = newKey(t)
	changed.Peers = append([]conf.Peer(nil), changed.Peers...)
	changed.Peers[0].PresharedKey = newKey(t)
	if err := a.Apply(changed); err != nil {
		t.Error(err)
	}
	a.Status()
	a.Close()
	b.Close()
	text := book.text()
	if !strings.Contains(text, "tunnel="+a.conf.Name) || !strings.Contains(text, "handshake") {
		t.Errorf("the log lacks what it should have:\n%s", text)
	}
	for _, k := range []conf.PrivateKey{a.conf.PrivateKey, b.conf.PrivateKey, changed.PrivateKey,
		a.conf.Peers[0].PresharedKey, changed.Peers[0].PresharedKey} {
		raw, _ := hex.DecodeString(k.Hex())
		for _, s := range []string{k.Hex(), base64.StdEncoding.EncodeToString(raw), string(raw), fmt.Sprint(raw)} {
			if strings.Contains(text, s) {
				t.Errorf("a key is in the log")
			}
		}
	}
}
