package answer

import (
	"testing"
	"time"

	"turnout/classifier/packet"
)

func allowed(l *Limiter, from time.Time, d, every time.Duration, host func(i int) packet.Addr) int {
	n, i := 0, 0
	for at := time.Duration(0); at < d; at += every {
		if l.Allow(host(i), from.Add(at)) {
			n++
		}
		i++
	}
	return n
}

func TestLimiterOneHost(t *testing.T) {
	l, now := NewLimiter(), time.Unix(1000, 0)
	one := func(int) packet.Addr { return packet.Addr4(1) }
	if n := allowed(l, now, time.Millisecond, 10*time.Microsecond, one); n != burstHost {
		t.Errorf("%d answers at once, want %d", n, burstHost)
	}
	if n := allowed(l, now.Add(10*time.Second), 10*time.Second, time.Millisecond, one); n < 1000 || n > 1000+burstHost {
		t.Errorf("%d answers in 10 s to one host, want about 1000", n)
	}
	if !l.Allow(packet.Addr4(2), now.Add(20*time.Second)) {
		t.Error("one host's flood silenced another")
	}
}

func TestLimiterAllHosts(t *testing.T) {
	l, now := NewLimiter(), time.Unix(1000, 0)
	many := func(i int) packet.Addr { return packet.Addr4(uint32(i) * 2654435761) }
	if n := allowed(l, now, 2*time.Second, 20*time.Microsecond, many); n < 2000 || n > 2000+burst {
		t.Errorf("%d answers in 2 s to a spray of sources, want about 2000", n)
	}
}

// TestLimiterKeepsHosts wants hosts to keep their own buckets while others come
// and go: a flooding host must not be forgotten and start anew.
func TestLimiterKeepsHosts(t *testing.T) {
	l, now := NewLimiter(), time.Unix(1000, 0)
	flood := 0
	for i := range 20000 { // 2 s
		at := now.Add(time.Duration(i) * 100 * time.Microsecond)
		if l.Allow(packet.Addr4(1), at) {
			flood++
		}
		if i%50 == 0 {
			l.Allow(packet.Addr4(uint32(1000+i)), at)
		}
	}
	if flood > 2*perSecondHost+burstHost {
		t.Errorf("%d answers to one host in 2 s", flood)
	}
}

// TestLimiterTakesOver: a host that pushes out another one does not inherit
// its debts.
func TestLimiterTakesOver(t *testing.T) {
	l, now := NewLimiter(), time.Unix(1000, 0)
	for r := range l.rows {
		for w := range l.rows[r] {
			l.rows[r][w] = host{packet.Addr4(uint32(1 + r*ways + w)), bucket{time.Hour}}
		}
	}
	if !l.Allow(packet.Addr4(99999), now) {
		t.Error("a new host is silenced for what others did")
	}
}
