package main

import (
	"bufio"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"strings"

	"turnout/conf"
)

func genkey(e *env, args []string) int {
	return printKey(e, "genkey", args, func(k *[32]byte) {
		// Curve25519 clamps when it multiplies (RFC 7748, 5); doing it here
		// makes the text the same that every tool shows for this key.
		k[0] &= 248
		k[31] = k[31]&127 | 64
	})
}

func genpsk(e *env, args []string) int {
	return printKey(e, "genpsk", args, func(*[32]byte) {})
}

func printKey(e *env, verb string, args []string, shape func(*[32]byte)) int {
	fs := newFlags(e, verb)
	if _, err := fs.parse(args, 0); err != nil {
		return fs.failed(err)
	}
	if f, ok := e.stdout.(*os.File); ok {
		if st, err := f.Stat(); err == nil && st.Mode().IsRegular() && st.Mode()&0o007 != 0 {
			fmt.Fprintln(e.stderr, "Warning: everybody can read the file that this secret goes to; set umask 077 first")
		}
	}
	var k [32]byte
	rand.Read(k[:]) // never fails
	shape(&k)
	fmt.Fprintln(e.stdout, base64.StdEncoding.EncodeToString(k[:]))
	return exitOK
}

func pubkey(e *env, args []string) int {
	fs := newFlags(e, "pubkey")
	if _, err := fs.parse(args, 0); err != nil {
		return fs.failed(err)
	}
	line, err := bufio.NewReader(io.LimitReader(e.stdin, 4096)).ReadString('\n')
	if err != nil && err != io.EOF {
		return e.fail("pubkey", fmt.Errorf("reading the private key from standard input: %w", err))
	}
	key, err := conf.ParsePrivateKey(strings.TrimSpace(line))
	if err != nil {
		return e.fail("pubkey", usagef("standard input is not a private key: %w", err))
	}
	fmt.Fprintln(e.stdout, key.Public())
	return exitOK
}
