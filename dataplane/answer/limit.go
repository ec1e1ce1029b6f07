package answer

import (
	"hash/maphash"
	"sync"
	"time"

	"turnout/classifier/packet"
)

// How often the router answers: over all hosts, as often as Linux does by
// default (net.ipv4.icmp_msgs_per_sec), and one host often enough for a
// browser that opens connections to everything that policy rejects.
const (
	perSecond     = 1000
	burst         = 50
	perSecondHost = 100
	burstHost     = 50
)

// A Limiter says whether an answer may be sent. Its memory is fixed: hosts
// beyond what it holds push out the one in their row that has been quiet
// longest, which then starts with a full bucket; the global limit holds
// whatever happens. It is safe for concurrent use.
type Limiter struct {
	mu    sync.Mutex
	seed  maphash.Seed // keyed, so that nobody chooses who shares a row
	start time.Time
	all   bucket
	rows  [rows][ways]host
}

const (
	rows = 256
	ways = 4
)

type host struct {
	addr packet.Addr
	bucket
}

// NewLimiter returns a limiter whose buckets are full.
func NewLimiter() *Limiter { return &Limiter{seed: maphash.MakeSeed()} }

// Allow reports whether one answer to the host a may be sent now, and counts
// it if so.
func (l *Limiter) Allow(a packet.Addr, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.start.IsZero() {
		l.start = now
	}
	t := now.Sub(l.start)
	h := l.find(a)
	if !h.hasToken(t, perSecondHost, burstHost) || !l.all.hasToken(t, perSecond, burst) {
		return false
	}
	h.take(t, perSecondHost)
	l.all.take(t, perSecond)
	return true
}

// find returns the bucket of a host, its own or one that it takes over.
func (l *Limiter) find(a packet.Addr) *host {
	row := &l.rows[maphash.Comparable(l.seed, a)%rows]
	quiet := &row[0]
	for i := range row {
		if row[i].addr == a {
			return &row[i]
		}
		if row[i].due < quiet.due {
			quiet = &row[i]
		}
	}
	*quiet = host{addr: a}
	return quiet
}

// A bucket is a token bucket as one number, the time at which it will be full
// again (the generic cell rate algorithm, ITU-T I.371).
type bucket struct{ due time.Duration }

// hasToken reports whether a token is left at time t.
func (b *bucket) hasToken(t time.Duration, rate, burst int) bool {
	return b.due-t <= time.Second/time.Duration(rate)*time.Duration(burst-1)
}

// take removes a token.
func (b *bucket) take(t time.Duration, rate int) {
	b.due = max(b.due, t) + time.Second/time.Duration(rate)
}
