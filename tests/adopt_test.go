package tests

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"turnout/tests/netlab"
)

// transfers is how many connections each way are under way when the router is
// killed, and size the bytes of each, sent over at least paceTime.
const (
	transfers    = 250
	transferSize = 256 << 10
	paceSteps    = 32
	paceTime     = 4 * time.Second
)

// slowly passes a reader on in steps, so that the transfer lasts paceTime.
type slowly struct{ io.Reader }

func (s slowly) Read(p []byte) (int, error) {
	time.Sleep(paceTime / paceSteps)
	return io.ReadFull(s.Reader, p[:min(len(p), transferSize/paceSteps)])
}

// slowUpload sends in steps and compares checksums with the far end.
func slowUpload(h *netlab.Host, f netlab.Flow, seed uint64, begun *sync.WaitGroup) error {
	conn, err := h.Dial(f)
	if err != nil {
		begun.Done()
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	_, err = fmt.Fprintln(conn, "sink")
	begun.Done()
	if err != nil {
		return err
	}
	sum := sha256.New()
	if _, err := io.Copy(conn, io.TeeReader(slowly{netlab.Source(transferSize, seed)}, sum)); err != nil {
		return err
	}
	if err := conn.CloseWrite(); err != nil {
		return err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return fmt.Errorf("read the checksum: %w", err)
	}
	if got, want := strings.TrimSpace(line), hex.EncodeToString(sum.Sum(nil)); got != want {
		return fmt.Errorf("the far end received other bytes: %s, sent %s", got, want)
	}
	return nil
}

// slowDownload reads in steps, behind a small window, and compares with what
// was asked for.
func slowDownload(h *netlab.Host, f netlab.Flow, seed uint64, begun *sync.WaitGroup) error {
	conn, err := h.Dial(f)
	if err != nil {
		begun.Done()
		return err
	}
	defer conn.Close()
	conn.SetReadBuffer(transferSize / paceSteps)
	conn.SetDeadline(time.Now().Add(time.Minute))
	_, err = fmt.Fprintf(conn, "source %d %d\n", transferSize, seed)
	begun.Done()
	if err != nil {
		return err
	}
	got, want := sha256.New(), sha256.New()
	n := int64(0)
	buf := make([]byte, transferSize/paceSteps)
	for err == nil {
		var k int
		time.Sleep(paceTime / paceSteps)
		k, err = io.ReadFull(conn, buf)
		got.Write(buf[:k])
		n += int64(k)
	}
	if n != transferSize {
		return fmt.Errorf("received %d of %d bytes: %w", n, transferSize, err)
	}
	io.Copy(want, netlab.Source(transferSize, seed))
	if string(got.Sum(nil)) != string(want.Sum(nil)) {
		return fmt.Errorf("received other bytes than were sent")
	}
	return nil
}

// Established connections outlive the process: the next one adopts the flow
// table, and the far ends learn where it is before the LAN speaks.
func TestConnectionsOutliveTheRouter(t *testing.T) {
	t.Parallel()
	r := world{}.up(t)
	watch := r.watch(t)
	for _, far := range r.Fars() {
		// A far end that has sent all and closed gives up soon in the lab; this
		// is what the kernel does elsewhere.
		if err := far.Sysctl("net.ipv4.tcp_orphan_retries", "8"); err != nil {
			t.Fatal(err)
		}
	}
	var mu sync.Mutex
	failed := map[string][]error{}
	var begun, ended sync.WaitGroup
	for i := range 2 * transfers {
		kind, play := "upload", slowUpload
		if i%2 == 1 {
			kind, play = "download", slowDownload
		}
		begun.Add(1)
		ended.Go(func() {
			f := netlab.Flow{Proto: "tcp", Dst: netlab.Internet[i%4], Port: 80, Wait: 10 * time.Second}
			if err := play(r.Hosts[0], f, uint64(i), &begun); err != nil {
				mu.Lock()
				failed[kind] = append(failed[kind], err)
				mu.Unlock()
			}
		})
	}
	begun.Wait()
	time.Sleep(paceTime / 4)
	r.Daemon.Kill()
	time.Sleep(300 * time.Millisecond) // as long as a service manager takes to notice
	r.up(t)
	ended.Wait()
	for kind, errs := range failed {
		t.Logf("%d of %d %ss failed, first: %v", len(errs), transfers, kind, errs[0])
		if len(errs) > transfers/100 {
			t.Errorf("%d of %d %ss did not finish; at most 1 in 100 may not", len(errs), transfers, kind)
		}
	}
	if !strings.Contains(r.Daemon.Log(), "adopted") {
		t.Error("the second run does not say that it has adopted flows")
	}
	if err := watch.Leaks(); err != nil {
		t.Error(err)
	}
}
