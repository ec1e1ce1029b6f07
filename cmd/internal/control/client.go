package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// ErrNotRunning says that no daemon answers at the control socket.
var ErrNotRunning = errors.New("turnout is not running")

// A Client speaks to the daemon of one run directory. It may be used by
// several goroutines.
type Client struct {
	path string
	http http.Client
}

// NewClient does not connect yet: each request does.
func NewClient(runDir string) *Client {
	path := filepath.Join(runDir, Socket)
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}
	return &Client{path, http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}
}

// Status asks the daemon how it is.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var s Status
	err := c.do(ctx, http.MethodGet, "/v1/status", nil, &s, 10*time.Second)
	return s, err
}

// Explain asks the daemon's live table about one packet.
func (c *Client) Explain(ctx context.Context, q Query) (Answer, error) {
	var a Answer
	err := c.do(ctx, http.MethodPost, "/v1/explain", q, &a, 10*time.Second)
	return a, err
}

// ExplainAll asks the daemon's live table about the packets of a batch.
func (c *Client) ExplainAll(ctx context.Context, b Batch) ([]Answer, error) {
	var a []Answer
	err := c.do(ctx, http.MethodPost, "/v1/explain/batch", b, &a, 30*time.Second)
	if err == nil && len(a) != len(b.Queries) {
		err = fmt.Errorf("the daemon gives %d answers to %d questions", len(a), len(b.Queries))
	}
	return a, err
}

// Reload asks the daemon to read its configuration again.
func (c *Client) Reload(ctx context.Context, q ReloadRequest) (Reloaded, error) {
	var r Reloaded
	err := c.do(ctx, http.MethodPost, "/v1/reload", q, &r, stopTime+10*time.Second)
	return r, err
}

// Stop asks the daemon to undo what it did to the host, and returns when it
// has. The process may live a moment longer.
func (c *Client) Stop(ctx context.Context, keepGuard bool) error {
	return c.do(ctx, http.MethodPost, "/v1/stop", StopRequest{keepGuard}, new(struct{}), stopTime+10*time.Second)
}

func (c *Client) do(ctx context.Context, method, path string, in, out any, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	res, err := c.send(ctx, method, path, in)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(out); err != nil {
		return brokenOff(err)
	}
	return nil
}

func brokenOff(err error) error { return fmt.Errorf("the daemon's answer breaks off: %w", err) }

// A Refusal is the daemon's answer that it does not do what it was asked.
type Refusal struct {
	Code int // HTTP's: 400 for a request that is not valid
	Text string
}

func (r Refusal) Error() string { return "the daemon says: " + r.Text }

// send asks and returns the answer, whose body the caller closes; an answer
// that is no success is a Refusal.
func (c *Client) send(ctx context.Context, method, path string, in any) (*http.Response, error) {
	var body bytes.Buffer
	if in != nil {
		if err := json.NewEncoder(&body).Encode(in); err != nil {
			return nil, fmt.Errorf("encoding the request: %w", err)
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://turnout"+path, &body)
	if err != nil {
		return nil, err
	}
	res, err := c.http.Do(req)
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("%w: nobody answers at %s", ErrNotRunning, c.path)
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("%s is not open to this user: try with sudo", c.path)
	case err != nil:
		return nil, fmt.Errorf("asking the daemon at %s: %w", c.path, errors.Unwrap(err)) // without the made-up URL
	}
	if res.StatusCode < 300 {
		return res, nil
	}
	defer res.Body.Close()
	var f failure
	if json.NewDecoder(io.LimitReader(res.Body, maxRequest)).Decode(&f) != nil || f.Error == "" {
		f.Error = res.Status
	}
	return nil, Refusal{res.StatusCode, f.Error}
}
