package peers

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestWarningsAreLimited(t *testing.T) {
	l := newLogger(nil, "x")
	now := time.Now()
	for i, c := range []struct {
		kind   string
		after  time.Duration
		silent int
		ok     bool
	}{
		{"a", 0, 0, true},
		{"a", time.Second, 0, false},
		{"b", time.Second, 0, true},
		{"a", 9 * time.Second, 0, false},
		{"a", 10 * time.Second, 2, true},
		{"a", 11 * time.Second, 0, false},
	} {
		if silent, ok := l.due(c.kind, now.Add(c.after)); silent != c.silent || ok != c.ok {
			t.Errorf("row %d: %d, %v", i, silent, ok)
		}
	}
	for i := range 5000 {
		l.due(strings.Repeat("k", i), now)
	}
	if len(l.last) > 1100 {
		t.Errorf("%d kinds are remembered", len(l.last))
	}
}

func TestDeviceLogger(t *testing.T) {
	book, log := newLogBook(slog.LevelInfo)
	l := newLogger(log, "sweden").device()
	l.Verbosef("never %s", "seen")
	for range 100 {
		l.Errorf("%v - Failed to send data packets: %v", "peer", errors.New("network is unreachable"))
	}
	got := book.text()
	if strings.Count(got, "\n") != 1 || !strings.Contains(got, "level=WARN") ||
		!strings.Contains(got, "network is unreachable") || !strings.Contains(got, "tunnel=sweden") {
		t.Errorf("log:\n%s", got)
	}
}

func TestParseStatusTakesAnything(t *testing.T) {
	text := "private_key=00\nlisten_port=x\n\n=\nendpoint=nowhere\npublic_key=aa\nrx_bytes=-1\ntx_bytes=5\n" +
		"last_handshake_time_sec=1\nlast_handshake_time_nsec=2\nendpoint=[::1]:7\npublic_key=bb\nerrno=0\n"
	port, byKey := parseStatus(bytes.NewBufferString(text))
	if port != 0 || len(byKey) != 2 || byKey["aa"].Tx != 5 || byKey["aa"].LastHandshake != time.Unix(1, 2) ||
		byKey["aa"].Endpoint.Port() != 7 || !byKey["bb"].LastHandshake.IsZero() {
		t.Errorf("port %d, %+v", port, byKey)
	}
}
