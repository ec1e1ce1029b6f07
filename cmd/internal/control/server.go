package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// Socket is the name of the control socket in the run directory.
const Socket = "control.sock"

const maxRequest = 64 << 10 // bytes of a request's body; no request of ours comes near

// A Daemon answers the requests. Its methods are called from several
// goroutines at once.
type Daemon interface {
	Status() Status
	Explain(Query) Answer      // the query is valid
	ExplainAll(Batch) []Answer // the batch is valid; an answer for each query
	// Flows calls f with each flow that the filter, which is valid, selects, until
	// f returns false. f may take its time. Flows that come or go meanwhile may be
	// missed.
	Flows(filter Filter, f func(Flow) bool)
	// DropFlows forgets the flows that the filter, which is valid, selects, and
	// returns how many: their next packets are decided anew.
	DropFlows(Filter) int
	// Reload reads the configuration again and has the router decide by its
	// policy. After an error the router goes on as before.
	Reload(ReloadRequest) (Reloaded, error)
	// Stop undoes what the daemon did to the host, but for the guard when
	// keepGuard, and returns when that is done. The process ends soon after.
	Stop(keepGuard bool) error
}

// StopRequest is the body of POST /v1/stop.
type StopRequest struct {
	KeepGuard bool `json:"keep_guard"`
}

// ReloadRequest is the body of POST /v1/reload.
type ReloadRequest struct {
	// File is the configuration to read, an absolute path; empty for the one
	// that is in force. Only root and the daemon's own user may name one: a
	// configuration can name commands to run.
	File  string `json:"file,omitempty"`
	Repin bool   `json:"repin,omitempty"` // have every flow ask the new policy
}

// Reloaded says what is in force after a reload.
type Reloaded struct {
	File     string   `json:"file"`
	Lines    int      `json:"lines"` // of the policy
	Flows    int      `json:"flows"` // conversations under way
	Warnings []string `json:"warnings"`
}

// Listen makes the control socket in runDir. The caller holds the directory's
// lock: a socket that is already there is a dead daemon's.
func Listen(runDir string) (net.Listener, error) {
	path := filepath.Join(runDir, Socket)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("removing the control socket that an earlier run left: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("making the control socket: %w", err)
	}
	// Between bind and chmod the umask rules; peer credentials are asked for in
	// any case.
	if err := os.Chmod(path, 0o660); err != nil {
		l.Close()
		return nil, fmt.Errorf("setting the mode of the control socket: %w", err)
	}
	return l, nil
}

// A Server serves one Daemon.
type Server struct {
	daemon Daemon
	log    *slog.Logger
	allow  func(peer) bool // may control the daemon
	owns   func(peer) bool // may have it read any file
	pause  time.Duration   // that a caller may make in a long answer
	http   http.Server
}

// NewServer returns a server that is not yet listening.
func NewServer(d Daemon, log *slog.Logger) *Server {
	s := &Server{daemon: d, log: log, allow: allowed, owns: owner, pause: flowsPause}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", s.status)
	mux.HandleFunc("POST /v1/explain", s.explain)
	mux.HandleFunc("POST /v1/explain/batch", s.explainAll)
	mux.HandleFunc("GET /v1/flows", s.flows)
	mux.HandleFunc("POST /v1/flows", s.flows)
	mux.HandleFunc("POST /v1/flows/drop", s.dropFlows)
	mux.HandleFunc("POST /v1/reload", s.reload)
	mux.HandleFunc("POST /v1/stop", s.stop)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, http.StatusNotFound, fmt.Errorf("%s %s is not known to this version", r.Method, r.URL.Path))
	})
	s.http = http.Server{
		Handler:           s.checkPeer(mux),
		ConnContext:       withPeer,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      10 * time.Second,
		IdleTimeout:       30 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	return s
}

// Serve answers on l until Shutdown; it always returns a non-nil error, which
// is http.ErrServerClosed after Shutdown.
func (s *Server) Serve(l net.Listener) error { return s.http.Serve(l) }

// Shutdown closes the socket and waits for the requests under way, but not
// longer than ctx lasts.
func (s *Server) Shutdown(ctx context.Context) error {
	if err := s.http.Shutdown(ctx); err != nil {
		return s.http.Close()
	}
	return nil
}

func (s *Server) checkPeer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, _ := r.Context().Value(peerKey{}).(peer)
		if !s.allow(p) {
			s.log.Warn("control request refused", "uid", p.uid, "pid", p.pid, "path", r.URL.Path)
			refuse(w, http.StatusForbidden, fmt.Errorf("uid %d may not control this daemon", p.uid))
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxRequest)
		next.ServeHTTP(w, r)
	})
}

func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	reply(w, http.StatusOK, s.daemon.Status())
}

func (s *Server) explain(w http.ResponseWriter, r *http.Request) {
	var q Query
	if !decode(w, r, &q) {
		return
	}
	if err := q.Validate(); err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	reply(w, http.StatusOK, s.daemon.Explain(q))
}

func (s *Server) explainAll(w http.ResponseWriter, r *http.Request) {
	var b Batch
	if !decode(w, r, &b) {
		return
	}
	if err := b.Validate(); err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	reply(w, http.StatusOK, s.daemon.ExplainAll(b))
}

func (s *Server) reload(w http.ResponseWriter, r *http.Request) {
	var q ReloadRequest
	if !decode(w, r, &q) {
		return
	}
	if p, _ := r.Context().Value(peerKey{}).(peer); q.File != "" && !s.owns(p) {
		refuse(w, http.StatusForbidden, fmt.Errorf("uid %d may reload the configuration in force, but name no other", p.uid))
		return
	}
	c := http.NewResponseController(w)
	c.SetWriteDeadline(time.Now().Add(stopTime + 5*time.Second))
	done, err := s.daemon.Reload(q)
	if err != nil {
		refuse(w, http.StatusUnprocessableEntity, err)
		return
	}
	reply(w, http.StatusOK, done)
}

// stopTime is how long an orderly stop may take, hooks included.
const stopTime = time.Minute

func (s *Server) stop(w http.ResponseWriter, r *http.Request) {
	var q StopRequest
	if !decode(w, r, &q) {
		return
	}
	c := http.NewResponseController(w)
	c.SetWriteDeadline(time.Now().Add(stopTime + 5*time.Second)) // unix sockets always can
	if err := s.daemon.Stop(q.KeepGuard); err != nil {
		refuse(w, http.StatusInternalServerError, err)
		return
	}
	reply(w, http.StatusOK, struct{}{})
}

// decode reads the one JSON object of a request into v; on failure it has
// answered.
func decode(w http.ResponseWriter, r *http.Request, v any) bool {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		code := http.StatusBadRequest
		if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
			code = http.StatusRequestEntityTooLarge
		}
		refuse(w, code, fmt.Errorf("reading the request: %w", err))
		return false
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		refuse(w, http.StatusBadRequest, fmt.Errorf("the request is not what this version expects: %w", err))
		return false
	}
	if _, err := d.Token(); err != io.EOF {
		refuse(w, http.StatusBadRequest, errors.New("the request goes on after its JSON object"))
		return false
	}
	return true
}

func reply(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(v) // the caller may be gone: nothing to do about it
}

type failure struct {
	Error string `json:"error"`
}

func refuse(w http.ResponseWriter, code int, err error) {
	reply(w, code, failure{err.Error()})
}
