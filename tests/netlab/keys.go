package netlab

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
)

// A Key is a Curve25519 key of one of the lab's throw-away machines.
type Key struct{ private *ecdh.PrivateKey }

func newKey() Key {
	k, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		panic(err) // crypto/rand never fails
	}
	return Key{k}
}

// Private returns the private key in base64, as configuration files have it.
func (k Key) Private() string { return base64.StdEncoding.EncodeToString(k.private.Bytes()) }

// Public returns the public key in base64.
func (k Key) Public() string { return base64.StdEncoding.EncodeToString(k.private.PublicKey().Bytes()) }

func (k Key) privateHex() string { return hex.EncodeToString(k.private.Bytes()) }
func (k Key) publicHex() string  { return hex.EncodeToString(k.private.PublicKey().Bytes()) }
