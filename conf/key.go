package conf

import (
	"crypto/ecdh"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"unique"
)

// PrivateKey is a WireGuard private or preshared key. The zero value is none.
// It compares with ==. Whatever prints, marshals or logs it gets "(hidden)".
type PrivateKey struct {
	// A handle of a handle: fmt calls no method of an unexported field and
	// follows one pointer there, so that it shows an address and no bytes.
	// Set only for a key that is not all zero.
	secret unique.Handle[unique.Handle[[32]byte]]
}

// PublicKey is a WireGuard public key. Its String is base64, as wg prints it.
type PublicKey [32]byte

// errKey says what a key is, never what was read.
var errKey = errors.New("44 characters of base64 are wanted, as wg genkey and wg pubkey print them")

func parseKey(text string) (key [32]byte, err error) {
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || len(b) != len(key) || len(text) != 44 {
		return key, errKey
	}
	copy(key[:], b)
	if key == [32]byte{} {
		return key, errors.New("an all-zero key protects nothing; " + errKey.Error())
	}
	return key, nil
}

// ParsePrivateKey reads base64 as wg genkey or wg genpsk prints it, without
// surrounding space. The error never repeats the text.
func ParsePrivateKey(text string) (PrivateKey, error) {
	b, err := parseKey(text)
	if err != nil {
		return PrivateKey{}, err
	}
	return PrivateKey{unique.Make(unique.Make(b))}, nil
}

// ParsePublicKey reads base64 as wg pubkey prints it, without surrounding
// space. The error never repeats the text, which may be a private key put in
// the wrong place.
func ParsePublicKey(text string) (PublicKey, error) {
	b, err := parseKey(text)
	return PublicKey(b), err
}

// IsZero reports whether there is no key.
func (k PrivateKey) IsZero() bool { return k == PrivateKey{} }

// Hex returns the key itself, for the UAPI and nothing else.
func (k PrivateKey) Hex() string {
	if k.IsZero() {
		return hex.EncodeToString(make([]byte, 32))
	}
	b := k.secret.Value().Value()
	return hex.EncodeToString(b[:])
}

// Public returns the public key of k (RFC 7748); the zero key has the zero one.
func (k PrivateKey) Public() (p PublicKey) {
	if k.IsZero() {
		return p
	}
	b := k.secret.Value().Value()
	key, err := ecdh.X25519().NewPrivateKey(b[:])
	if err != nil { // only a wrong length, which the type rules out
		return p
	}
	copy(p[:], key.PublicKey().Bytes())
	return p
}

// String returns "(none)" or "(hidden)".
func (k PrivateKey) String() string {
	if k.IsZero() {
		return "(none)"
	}
	return "(hidden)"
}

// GoString is String.
func (k PrivateKey) GoString() string { return k.String() }

// Format is String whatever the verb: %x and %d would reach for the bytes.
func (k PrivateKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.String()) }

// MarshalText is String, so JSON has no key either.
func (k PrivateKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// LogValue is String.
func (k PrivateKey) LogValue() slog.Value { return slog.StringValue(k.String()) }

// IsZero reports whether there is no key.
func (k PublicKey) IsZero() bool { return k == PublicKey{} }

// String returns base64.
func (k PublicKey) String() string { return base64.StdEncoding.EncodeToString(k[:]) }

// Hex returns the form that the UAPI uses.
func (k PublicKey) Hex() string { return hex.EncodeToString(k[:]) }

// MarshalText is String.
func (k PublicKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }
