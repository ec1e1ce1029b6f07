package tests

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"turnout/tests/netlab"
)

// What status counts for an exit is what the exit took, and explain says of
// the running router what it says of the file.
func TestStatusAndExplainAgree(t *testing.T) {
	t.Parallel()
	r := world{Head: `
[[group]]
name = "away"
members = ["japan", "office"]
[[rule]]
to = ["198.51.100.2"]
via = "away"
[[rule]]
to = ["198.51.100.3"]
via = "drop"
[[rule]]
to = ["198.51.100.4"]
via = "reject"
`}.up(t)
	var fresh map[string]any
	askJSON(t, r, &fresh, "status", "--json", "--run-dir", r.RunDir())
	for key, value := range fresh {
		if value == nil {
			t.Errorf("%s of a fresh router is null in JSON", key)
		}
	}
	took := map[string]int{"sweden": 0, "japan": 1, netlab.Drop: 2, netlab.Reject: 3}
	for exit, to := range took {
		if err := all(everyProtocol(to), func(f netlab.Flow) error { return r.arrives(r.Hosts[0], f, exit) }); err != nil {
			t.Error(err)
		}
	}
	type exit struct {
		Name, Kind, Live string
		Packets          uint64
	}
	var s struct{ Exits []exit }
	askJSON(t, r, &s, "status", "--json", "--run-dir", r.RunDir())
	seen := map[string]exit{}
	for _, x := range s.Exits {
		seen[x.Name] = x
	}
	for exit := range took {
		if seen[exit].Packets < 3 {
			t.Errorf("exit %s took 3 flows, status counts %d packets", exit, seen[exit].Packets)
		}
	}
	if seen["office"].Packets != 0 || seen["away"].Kind != "group" || seen["away"].Live != "japan" {
		t.Errorf("office counts %d packets, away is %+v", seen["office"].Packets, seen["away"])
	}

	from := r.Hosts[0].Addr.String()
	for _, to := range []string{"198.51.100.1", "198.51.100.2", "198.51.100.3", "198.51.100.4"} {
		var live, file map[string]any
		question := []string{"--json", "--to", to, "--proto", "udp", "--port", "53", "--from", from, "--run-dir", r.RunDir()}
		askJSON(t, r, &live, "explain", question...)
		askJSON(t, r, &file, "explain", append([]string{r.File}, question...)...)
		if diff := cmp.Diff(file, live); diff != "" {
			t.Errorf("to %s the router (+) answers not as the file (-) does:\n%s", to, diff)
		}
	}
}

// askJSON runs a verb in the gateway and reads what it prints.
func askJSON(t *testing.T, r *run, into any, verb string, args ...string) {
	t.Helper()
	out, stderr, status, err := r.Gateway.Turnout(verb, args...)
	if err != nil || status != 0 {
		t.Fatalf("turnout %s %q: %v, status %d, %s", verb, args, err, status, stderr)
	}
	if err := json.Unmarshal([]byte(out), into); err != nil {
		t.Fatalf("turnout %s %q: %v\n%s", verb, args, err, out)
	}
}
