package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"turnout/conf"
)

// A run directory that cannot hold the flow table is no reason not to route.
func TestFlowTableWithoutFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, flowFile), 0o700); err != nil { // in the way
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, flowFile, "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	cfg := &conf.Config{Limits: conf.Limits{Flows: 1024, FlowsPerHost: 1024}}
	table, kept := openFlows(cfg, routerOptions{RunDir: dir, Log: slog.New(slog.NewTextHandler(&said, nil))})
	if table == nil || kept.Flows != 0 {
		t.Fatalf("table %p, adopted %+v", table, kept)
	}
	defer table.Close()
	if table.Len() != 0 || !strings.Contains(said.String(), "will not outlive") {
		t.Errorf("%d flows; the log says %q", table.Len(), said.String())
	}
}
