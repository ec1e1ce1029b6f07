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
