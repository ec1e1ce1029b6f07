package control

import (
	"encoding/json"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
)

// FuzzExplain sends any body to the daemon: what it passes on is valid, and
// what it answers is one JSON object.
func FuzzExplain(f *testing.F) {
	for _, s := range []string{`{"to":"8.8.8.8","proto":6,"port":443}`, `{"to":"::1","proto":58}`, `{"to":"8.8.8.8","proto":1,"from":"10.0.0.1","dscp":46}`,
		`{"to":"fe80::1%0","proto":1}`, `{"to":null}`, `[]`, `{"proto":-1}`, `{"to":"8.8.8.8","proto":1}x`, ``} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		d := &fakeDaemon{}
		s := NewServer(d, slog.New(slog.DiscardHandler))
		s.allow = func(peer) bool { return true }
		w := httptest.NewRecorder()
		s.http.Handler.ServeHTTP(w, httptest.NewRequest("POST", "/v1/explain", strings.NewReader(body)))
		if d.asked.To.IsValid() {
			if err := d.asked.Validate(); err != nil {
				t.Errorf("the daemon was asked what is not valid: %v", err)
			}
		}
		if w.Code != 200 && w.Code != 400 && w.Code != 413 || !json.Valid(w.Body.Bytes()) {
			t.Errorf("answer %d %q", w.Code, w.Body)
		}
	})
}

// FuzzFlows sends any body to be listed and to be dropped: the daemon is asked
// for valid filters only, never to drop everything unless told so, and what it
// answers is one JSON object a line.
func FuzzFlows(f *testing.F) {
	for _, s := range []string{`{"tunnel":"sweden","from":"10.0.0.0/8","to":"::/0"}`, `{"proto":"tcp","port":443,"limit":3}`, `{"all":true}`, `{"limit":-1}`,
		`{"proto":"TCP"}`, `{"from":""}`, `{"from":"::ffff:10.0.0.0/104"}`, `{"all":true,"port":1}`, `{"port":null}`, `null`, `{}`, `{}{}`, ``} {
		f.Add(s, false)
		f.Add(s, true)
	}
	f.Fuzz(func(t *testing.T, body string, drop bool) {
		d := &fakeDaemon{flows: 30, status: Status{Tunnels: []Tunnel{{Name: "sweden"}}}}
		s := NewServer(d, slog.New(slog.DiscardHandler))
		s.allow = func(peer) bool { return true }
		w := httptest.NewRecorder()
		path := "/v1/flows"
		if drop {
			path += "/drop"
		}
		s.http.Handler.ServeHTTP(w, httptest.NewRequest("POST", path, strings.NewReader(body)))
		var said DropRequest
		json.Unmarshal([]byte(body), &said)
		for _, q := range d.dropped {
			if err := q.Validate(); err != nil || !drop || q == (Filter{}) && !said.All {
				t.Errorf("%q has the daemon drop %v: %v", body, q, err)
			}
		}
		if w.Code != 200 && w.Code != 400 && w.Code != 413 {
			t.Errorf("answer %d", w.Code)
		}
		for line := range strings.Lines(w.Body.String()) {
			if !json.Valid([]byte(line)) || !strings.HasSuffix(line, "\n") {
				t.Errorf("answer %d has a line %q", w.Code, line)
			}
		}
	})
}
