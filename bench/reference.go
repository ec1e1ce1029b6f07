package bench

import (
	"crypto/cipher"
	"math/rand/v2"

	"golang.org/x/crypto/chacha20poly1305"
)

// A chase is a ring of pointers in random order through memory of one size.
// Each load waits for the one before, so a step takes as long as that memory
// is away.
type chase struct {
	next []line
	at   uint32
}

// A line fills a cache line, so that each step touches another.
type line struct {
	next uint32
	_    [60]byte
}

func newChase(bytes int) *chase {
	c := &chase{next: make([]line, bytes/64)}
	order := rand.New(rand.NewPCG(1, 2)).Perm(len(c.next))
	for i, n := range order {
		c.next[n].next = uint32(order[(i+1)%len(order)])
	}
	return c
}

// run takes n steps.
func (c *chase) run(n int) {
	at := c.at
	for range n {
		at = c.next[at].next
	}
	c.at = at
}

// A seal encrypts a packet of 1,420 bytes as WireGuard does.
type seal struct {
	cipher.AEAD
	nonce [chacha20poly1305.NonceSize]byte
	plain [1420]byte
	out   []byte
}

func newSeal() *seal {
	aead, err := chacha20poly1305.New(make([]byte, chacha20poly1305.KeySize))
	if err != nil {
		panic(err) // the key has the right length
	}
	return &seal{AEAD: aead, out: make([]byte, 0, 1500)}
}

func (s *seal) run(n int) {
	for i := range n {
		s.nonce[0] = byte(i)
		s.Seal(s.out, s.nonce[:], s.plain[:], nil)
	}
}
