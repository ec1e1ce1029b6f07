package netlab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A mark is a frame of the lab's own on the uplink. A watcher that has seen it
// has seen all that left before, however busy the machine is.
const (
	markType = 0x88b5 // for experiments on a local network (IEEE 802, 9.2.3)
	markText = "netlab watcher "
	markLen  = etherLen + len(markText) + 8
)

// marks numbers them for all watchers, so that another's mark, which is higher
// only if it was sent later, serves as well.
var marks atomic.Uint64

// catchUp waits until the watcher has read all that has left so far.
func (w *Watcher) catchUp() error {
	w.mu.Lock()
	closed := w.closed
	w.mu.Unlock()
	if closed {
		return nil
	}
	n := marks.Add(1)
	err := w.lab.Gateway.Do(func() error { return sendMark(UplinkInterface, n) })
	if errors.Is(err, unix.ENETDOWN) {
		time.Sleep(100 * time.Millisecond) // nothing leaves; what had left arrives
		return nil
	}
	if err != nil {
		return fmt.Errorf("mark the uplink: %w", err)
	}
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		w.mu.Lock()
		seen := w.marked >= n
		w.mu.Unlock()
		if seen {
			return nil
		}
	}
	return errors.New("the watcher does not see what leaves by the uplink: the run proves nothing")
}

func sendMark(dev string, n uint64) error {
	ifi, err := net.InterfaceByName(dev)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	frame := make([]byte, etherLen, markLen)
	for i := range 6 {
		frame[i] = 0xff
	}
	copy(frame[6:], ifi.HardwareAddr)
	binary.BigEndian.PutUint16(frame[12:], markType)
	frame = binary.BigEndian.AppendUint64(append(frame, markText...), n)
	return unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: ifi.Index, Protocol: htons(markType)})
}

func readMark(frame []byte) (uint64, bool) {
	if len(frame) < markLen || binary.BigEndian.Uint16(frame[12:]) != markType ||
		string(frame[etherLen:markLen-8]) != markText {
		return 0, false
	}
	return binary.BigEndian.Uint64(frame[markLen-8:]), true
}
