package conf

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"turnout/classifier"
)

// Limits against absurd input. A policy of 100,000 rules takes about 12 MB.
const (
	maxConfig     = 64 << 20 // bytes of a turnout.toml or wg-quick file
	maxKeyFile    = 4 << 10  // bytes of a key file or of a command's output
	maxTunnels    = 1024
	maxGroups     = 1024
	maxForwards   = 4096
	maxAccepts    = 256 // of one tunnel
	commandTime   = 10 * time.Second
	othersMayRead = 0o044
)

// read returns a whole file of at most limit bytes, and its mode.
func readFile(path string, limit int64) ([]byte, fs.FileMode, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, errors.Unwrap(err) // the caller names the path
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	if info.IsDir() {
		return nil, 0, errors.New("it is a directory")
	}
	data := bytes.NewBuffer(make([]byte, 0, min(info.Size(), limit)+bytes.MinRead))
	_, err = data.ReadFrom(io.LimitReader(f, limit+1))
	if err == nil && int64(data.Len()) > limit {
		err = fmt.Errorf("it is larger than %d bytes, which is the limit", limit)
	}
	return data.Bytes(), info.Mode(), err
}

// runCommand runs argv in dir without a shell and returns what it prints. The
// error never repeats its output, which may hold a key.
func runCommand(dir string, argv []string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), commandTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = dir
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	switch {
	case ctx.Err() != nil:
		return "", fmt.Errorf("it took longer than %s", commandTime)
	case err != nil:
		return "", err
	case len(out) > maxKeyFile:
		return "", fmt.Errorf("it printed more than %d bytes", maxKeyFile)
	}
	return strings.TrimSpace(string(out)), nil
}

// besides gives the place of a path that stands in file.
func besides(file, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(file), path)
}

// guard objects to a file that holds a key and that others may read: up
// refuses it, check warns, explain does not mind.
func (l *loader) guard(pos classifier.Pos, what, path string, mode fs.FileMode) {
	if !mode.IsRegular() || mode.Perm()&othersMayRead == 0 {
		return
	}
	say := l.warnf
	switch l.Purpose {
	case ForExplain:
		return
	case ForUp:
		say = l.failf
	}
	say(pos, "%s is in a file that others can read (mode %04o); chmod 600 %s", what, mode.Perm(), path)
}
