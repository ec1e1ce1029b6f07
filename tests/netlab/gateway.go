package netlab

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A Gateway is the machine under test.
type Gateway struct {
	*Node
	lab *Lab
}

// RunDir is where the gateway's turnout keeps its socket and state.
func (l *Lab) RunDir() string { return filepath.Join(l.Dir, "run") }

// StateDir is where it keeps what must outlive a boot.
func (l *Lab) StateDir() string { return filepath.Join(l.Dir, "state") }

// Write puts a configuration file, readable by its owner only, into the lab's
// folder and returns its path.
func (g *Gateway) Write(name, text string) (string, error) {
	path := filepath.Join(g.lab.Dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return "", fmt.Errorf("write a configuration: %w", err)
	}
	return path, nil
}

// Turnout runs a verb of the real program to its end in the gateway, with the
// lab's run folder, and returns both outputs and the exit status.
func (g *Gateway) Turnout(verb string, args ...string) (stdout, stderr string, status int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, g.lab.Options.Binary, append([]string{verb}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &errs, time.Second
	if err := g.Start(cmd); err != nil {
		return "", "", -1, err
	}
	waited := cmd.Wait()
	if cmd.ProcessState == nil || !cmd.ProcessState.Exited() {
		return out.String(), errs.String(), -1, fmt.Errorf("turnout %s: %w: %s", verb, waited, errs.String())
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode(), nil
}

// A Daemon is a running `turnout up`.
type Daemon struct {
	cmd   *exec.Cmd
	log   *logBuffer
	gone  chan struct{}
	ended error // after gone
}

// Up starts the real daemon in the gateway and waits until it says that it is ready.
func (g *Gateway) Up(file string, args ...string) (*Daemon, error) {
	d, err := g.StartUp(file, args...)
	if err != nil {
		return nil, err
	}
	return d, d.WaitReady(10 * time.Second)
}

// StartUp is Up without the waiting.
func (g *Gateway) StartUp(file string, args ...string) (*Daemon, error) {
	argv := append([]string{"up", file, "--run-dir", g.lab.RunDir(), "--state-dir", g.lab.StateDir()}, args...)
	d := &Daemon{
		cmd:  exec.Command(g.lab.Options.Binary, argv...),
		log:  &logBuffer{ready: make(chan struct{})},
		gone: make(chan struct{}),
	}
	d.cmd.Stdout, d.cmd.Stderr = d.log, d.log
	if err := g.Start(d.cmd); err != nil {
		return nil, err
	}
	go func() {
		d.ended = d.cmd.Wait()
		close(d.gone)
	}()
	g.OnClose(func() { d.Kill() })
	return d, nil
}

// WaitReady waits for the daemon's word that it is ready.
func (d *Daemon) WaitReady(limit time.Duration) error {
	select {
	case <-d.log.ready:
		return nil
	case <-d.gone:
		return fmt.Errorf("turnout up ended (%v) and said:\n%s", d.ended, d.Log())
	case <-time.After(limit):
		return fmt.Errorf("turnout up is not ready after %s and said:\n%s", limit, d.Log())
	}
}

// PID is the daemon's process.
func (d *Daemon) PID() int { return d.cmd.Process.Pid }

// Log returns all that the daemon has said so far.
func (d *Daemon) Log() string { return d.log.String() }

// Kill ends the daemon as kill -9 does, and waits for its end.
func (d *Daemon) Kill() {
	d.cmd.Process.Kill()
	<-d.gone
}

// Stop asks the daemon to end and returns its exit status.
func (d *Daemon) Stop() (int, error) {
	d.cmd.Process.Signal(syscall.SIGTERM)
	return d.Wait(10 * time.Second)
}

// Wait waits for the daemon's end and returns its exit status.
func (d *Daemon) Wait(limit time.Duration) (int, error) {
	select {
	case <-d.gone:
		return d.cmd.ProcessState.ExitCode(), nil
	case <-time.After(limit):
		return -1, fmt.Errorf("turnout up has not ended after %s and said:\n%s", limit, d.Log())
	}
}

// logBuffer keeps what a process says and watches for readiness.
type logBuffer struct {
	mu    sync.Mutex
	text  bytes.Buffer
	said  bool
	ready chan struct{}
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text.Write(p)
	if !b.said && bytes.Contains(b.text.Bytes(), []byte("msg=ready")) {
		b.said = true
		close(b.ready)
	}
	return len(p), nil
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Clone(b.text.String())
}
