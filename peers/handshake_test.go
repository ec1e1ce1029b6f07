package peers

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"turnout/conf"
)

// shook waits until both ends know of a handshake.
func shook(t *testing.T, ends ...*end) {
	t.Helper()
	for _, e := range ends {
		for wait := time.Now().Add(10 * time.Second); e.Status().Peers[0].LastHandshake.IsZero(); {
			if time.Now().After(wait) {
				t.Fatalf("tunnel %s never shook hands", e.conf.Name)
			}
			time.Sleep(time.Millisecond)
		}
	}
}

// Nobody says a word, and yet the far end learns where we are.
func TestHandshake(t *testing.T) {
	book, log := newLogBook(0)
	a, b := openPair(t, "127.0.0.1", Options{Log: log})
	time.Sleep(50 * time.Millisecond)
	if s := a.Status().Peers[0]; !s.LastHandshake.IsZero() {
		t.Fatal("the tunnel shakes hands by itself")
	}
	a.Handshake() // has no endpoint, so it keeps quiet
	b.Handshake()
	b.Handshake() // the first one goes on
	shook(t, b)
	if at := a.Status().Peers[0].Endpoint; at.Port() != b.Status().ListenPort {
		t.Errorf("the far end believes us at %v", at)
	}
	if text := book.text(); text != "" {
		t.Errorf("log %s", text)
	}
	b.Close()
	b.Handshake()
}

// A name that is resolved after the call is as good.
func TestHandshakeOnceResolved(t *testing.T) {
	k := newKey(t)
	a := openEnd(t, conf.Tunnel{Name: uniqueName(), PrivateKey: newKey(t), Peers: []conf.Peer{{
		PublicKey: k.Public(), AllowedIPs: prefixes("10.0.0.0/8")}}}, Options{})
	answer := make(chan netip.Addr)
	b := named(t, a, k, Options{}, func(ctx context.Context, _ string) ([]netip.Addr, error) {
		return []netip.Addr{<-answer}, nil
	})
	b.Handshake()
	answer <- netip.MustParseAddr("127.0.0.1")
	shook(t, b)
}
